//! A UDP socket that reads and sends many datagrams by one system call.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
};

use mio::{Interest, Registry, Token, event::Source};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

pub(crate) struct UdpSocket {
    io: mio::net::UdpSocket,
    state: UdpSocketState,
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
}

impl UdpSocket {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket =
            socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        socket.bind(&address.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            io: mio::net::UdpSocket::from_std(socket),
            state,
            buffers: vec![vec![0; LARGEST]; BATCH_SIZE],
            metas: vec![RecvMeta::default(); BATCH_SIZE],
        })
    }

    /// Hands over each datagram that has come.
    pub(crate) fn receive(
        &mut self,
        mut handle: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<()> {
        loop {
            let mut slices: Vec<IoSliceMut<'_>> = self
                .buffers
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer))
                .collect();
            let filled =
                match self
                    .state
                    .recv(UdpSockRef::from(&self.io), &mut slices, &mut self.metas)
                {
                    Ok(filled) => filled,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                    Err(error) => return Err(error),
                };
            for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(filled) {
                let filled = buffer.get_mut(..meta.len).unwrap_or_default();
                for datagram in filled.chunks_mut(meta.stride.max(1)) {
                    handle(meta.addr, datagram);
                }
            }
            if filled < BATCH_SIZE {
                // There were no more.
                return Ok(());
            }
        }
    }

    /// What the kernel has no room for is lost.
    pub(crate) fn send_all(&self, datagrams: &[(SocketAddr, Vec<u8>)]) {
        for some in datagrams.chunks(MOST_AT_ONCE) {
            if some.len() > 1 && cfg!(target_os = "linux") {
                self.send_many(some);
                continue;
            }
            for (peer, payload) in some {
                drop(self.io.send_to(payload, *peer));
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_many(&self, _: &[(SocketAddr, Vec<u8>)]) {}

    #[cfg(target_os = "linux")]
    fn send_many(&self, datagrams: &[(SocketAddr, Vec<u8>)]) {
        use std::{io::IoSlice, os::fd::AsRawFd};

        use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

        let payloads: Vec<_> = datagrams
            .iter()
            .map(|(_, payload)| [IoSlice::new(payload)])
            .collect();
        let peers: Vec<_> = datagrams
            .iter()
            .map(|(peer, _)| Some(SockaddrStorage::from(*peer)))
            .collect();
        let mut headers = MultiHeaders::preallocate(datagrams.len(), None);
        let (socket, flags) = (self.io.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        drop(sendmmsg(socket, &mut headers, &payloads, &peers, [], flags));
    }
}

impl Source for UdpSocket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.io.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.io.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }
}

/// Datagrams that one system call sends.
const MOST_AT_ONCE: usize = 64;
const LARGEST: usize = 65_535;
const KERNEL_BUFFER: usize = 4 << 20;

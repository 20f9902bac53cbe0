//! A UDP socket that reads and sends many datagrams by one system call.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
};

use dtls_server::{MOST_AT_ONCE, send_some};
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
            drop(send_some(&self.io, some));
        }
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

const LARGEST: usize = 65_535;
const KERNEL_BUFFER: usize = 4 << 20;

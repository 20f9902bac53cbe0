//! A UDP socket that reads datagrams in batches (recvmmsg).
//!
//! It knows nothing of DTLS or CoAP; the unauthenticated CoAP port uses it as well.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;

/// A bound UDP socket of which many datagrams are read by one system call.
pub struct UdpSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl UdpSocket {
    /// Binds to `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// What the operating system says, for instance that the port is taken. Needs a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket =
            socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        // Bursts wait in the kernel while the task is busy; the system may grant less, which is fine.
        if let Err(error) = socket.set_recv_buffer_size(KERNEL_BUFFER) {
            tracing::debug!(%error, "the kernel's receive buffer keeps its size");
        }
        socket.bind(&address.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { io, state })
    }

    /// The address the socket is bound to, with the port the system chose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Waits for datagrams and reads as many as one system call gives into `batch`.
    ///
    /// Cancel safe: nothing is read if the future is dropped before it is ready.
    ///
    /// # Errors
    /// What the operating system says. An error that concerns one peer only (ICMP port unreachable) is left out.
    pub async fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.filled = 0;
        loop {
            self.io.readable().await?;
            let Batch { buffers, metas, .. } = batch;
            let mut slices: Vec<IoSliceMut<'_>> = buffers
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer))
                .collect();
            let read = self.io.try_io(Interest::READABLE, || {
                self.state
                    .recv(UdpSockRef::from(&self.io), &mut slices, metas)
            });
            match read {
                Ok(filled) => {
                    batch.filled = filled;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one datagram to `peer`, or drops it where the kernel has no room for it: to a device that is a lost datagram.
    ///
    /// Returns whether the kernel took it.
    pub fn send(&self, peer: SocketAddr, payload: &[u8]) -> bool {
        let transmit = Transmit {
            destination: peer,
            ecn: None,
            contents: payload,
            segment_size: None,
            src_ip: None,
        };
        self.io
            .try_io(Interest::WRITABLE, || {
                self.state.try_send(UdpSockRef::from(&self.io), &transmit)
            })
            .is_ok()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

/// The datagrams of one [`UdpSocket::receive`], in buffers that are used again and again.
pub struct Batch {
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
    filled: usize,
}

impl Batch {
    /// Buffers for one system call: as many as the platform reads at once, each large enough for any UDP datagram.
    pub fn new() -> Self {
        Self {
            buffers: vec![vec![0; LARGEST_DATAGRAM]; BATCH_SIZE],
            metas: vec![RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// Hands each datagram with its sender to `handle`, in the order of arrival. The bytes may be changed in place.
    pub fn for_each(&mut self, mut handle: impl FnMut(SocketAddr, &mut [u8])) {
        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(self.filled) {
            let filled = buffer.get_mut(..meta.len).unwrap_or_default();
            // The kernel may have joined datagrams of one peer (GRO); `stride` says where they part.
            for datagram in filled.chunks_mut(meta.stride.max(1)) {
                handle(meta.addr, datagram);
            }
        }
        self.filled = 0;
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

/// The largest UDP payload, in bytes; also the most that GRO joins.
const LARGEST_DATAGRAM: usize = 65_535;

/// What we ask the kernel to keep for us, in bytes.
const KERNEL_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_keep_their_borders_and_senders() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for payload in [&b"one"[..], b"two two", b""] {
            peer.send_to(payload, socket.local_address().unwrap())
                .unwrap();
        }
        let (mut batch, mut seen) = (Batch::new(), Vec::new());
        while seen.len() < 2 {
            socket.receive(&mut batch).await.unwrap();
            batch.for_each(|from, datagram| seen.push((from, datagram.to_vec())));
        }
        let from = peer.local_addr().unwrap();
        assert_eq!(seen, [(from, b"one".to_vec()), (from, b"two two".to_vec())]);
    }

    #[tokio::test]
    async fn a_datagram_reaches_the_peer() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.io.writable().await.unwrap();
        assert!(socket.send(peer.local_addr().unwrap(), b"answer"));
        let mut buffer = [0; 16];
        let (length, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from),
            (&b"answer"[..], socket.local_address().unwrap())
        );
    }
}

//! A UDP socket that reads and sends datagrams in batches (recvmmsg, sendmmsg).
//!
//! It knows nothing of DTLS or CoAP; the unauthenticated CoAP port uses it as well.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    time::{Duration, Instant},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use tokio::io::Interest;

use crate::{moderation::Moderation, send::send_some};

/// A bound UDP socket by which many datagrams are read or sent by one system call.
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
    /// Lets the runtime know when there is something to read; none while that is looked for now and then.
    watch: Option<tokio::net::UdpSocket>,
    moderation: Moderation,
}

impl UdpSocket {
    /// Binds to `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// What the operating system says, for instance that the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = open(address)?;
        socket.bind(&address.into())?;
        Self::serve(socket)
    }

    /// So many sockets with the same address, at least one. The kernel gives all datagrams from one peer address to the same of them, and
    /// spreads peers evenly (`SO_REUSEPORT`, socket(7)). The first socket is bound as if it were alone, so that a port that somebody else
    /// has is refused, even if that other one would share it.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_shards(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let first = Self::bind(address)?;
        let address = first.local_address()?;
        if count > 1 {
            socket2::SockRef::from(&first.socket).set_reuse_port(true)?;
        }
        let others = (1..count).map(|_| {
            let socket = open(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            Self::serve(socket)
        });
        let others: io::Result<Vec<_>> = others.collect();
        let mut sockets = vec![first];
        sockets.extend(others?);
        Ok(sockets)
    }

    fn serve(socket: socket2::Socket) -> io::Result<Self> {
        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            state,
            watch: None,
            moderation: Moderation::new(Instant::now()),
        })
    }

    /// Lets datagrams gather for as long as this at most, where several come in it, before they are read together; a zero duration, as at the
    /// start, reads each at once. A device waits up to that long for its answer, and a busy adapter takes a half to a third of the CPU.
    #[must_use]
    pub const fn gathering(mut self, most: Duration) -> Self {
        self.moderation.gather(most);
        self
    }

    /// Lets what comes next be read at once: somebody waits for several answers in turn.
    pub const fn hurry(&mut self) {
        self.moderation.hurry();
    }

    /// The address the socket is bound to, with the port the system chose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for datagrams and reads as many as one system call gives into `batch`. While many come, looks for them every few milliseconds
    /// ([`UdpSocket::gathering`]) and does not let itself be woken by each.
    ///
    /// Cancel safe: nothing is read if the future is dropped before it is ready.
    ///
    /// # Errors
    /// What the operating system says. An error that concerns one peer only (ICMP port unreachable) is left out.
    pub async fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.filled = 0;
        while batch.filled == 0 {
            if let Some(at) = self.moderation.next_look() {
                self.watch = None;
                // The runtime's timers end with the next whole millisecond.
                tokio::time::sleep_until(at.into()).await;
                batch.read(&self.socket, &self.state)?;
            } else {
                let watch = match &mut self.watch {
                    Some(watch) => watch,
                    none => none.insert(watched(&self.socket)?),
                };
                // One waker is enough, and cheaper than a place in the queue of those that wait for the socket.
                poll_fn(|context| watch.poll_recv_ready(context)).await?;
                // In here, so that what comes after this look is not taken for what it has seen.
                let read = watch.try_io(Interest::READABLE, || {
                    batch.read(&self.socket, &self.state)?;
                    match batch.filled {
                        BATCH_SIZE.. => Ok(()),
                        // There were no more: to say so spares a call that would find nothing.
                        _ => Err(io::ErrorKind::WouldBlock.into()),
                    }
                });
                match read {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
            self.moderation
                .looked(Instant::now(), batch.filled, BATCH_SIZE);
        }
        Ok(())
    }

    /// Sends datagrams in their order, or drops those that the kernel has no room for: to a device that is a lost datagram.
    ///
    /// Returns how many the kernel did not take.
    pub fn send_all(&self, datagrams: &[(SocketAddr, impl AsRef<[u8]>)]) -> usize {
        let mut unsent = 0;
        let mut rest = datagrams;
        while !rest.is_empty() {
            let dealt_with = match send_some(&self.socket, rest) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return unsent + rest.len();
                }
                // It concerns the first one only.
                Err(_) => {
                    unsent += 1;
                    1
                }
            };
            rest = rest.get(dealt_with.max(1)..).unwrap_or_default();
        }
        unsent
    }
}

/// The same socket once more, for the runtime. It is let go by dropping this, which is why it is not the only one.
fn watched(socket: &std::net::UdpSocket) -> io::Result<tokio::net::UdpSocket> {
    tokio::net::UdpSocket::from_std(socket.try_clone()?)
}

/// A socket that is not bound yet.
fn open(address: SocketAddr) -> io::Result<socket2::Socket> {
    let (kind, protocol) = (socket2::Type::DGRAM, socket2::Protocol::UDP);
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, kind, Some(protocol))?;
    // Bursts wait in the kernel while the task is busy; the system may grant less, which is fine.
    if let Err(error) = socket.set_recv_buffer_size(KERNEL_BUFFER) {
        tracing::debug!(%error, "the kernel's receive buffer keeps its size");
    }
    Ok(socket)
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("socket", &self.socket)
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

    /// Reads what is there, if anything is.
    fn read(&mut self, socket: &std::net::UdpSocket, state: &UdpSocketState) -> io::Result<()> {
        let mut slices: Vec<IoSliceMut<'_>> = self
            .buffers
            .iter_mut()
            .map(|buffer| IoSliceMut::new(buffer))
            .collect();
        self.filled = match state.recv(UdpSockRef::from(socket), &mut slices, &mut self.metas) {
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        Ok(())
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
    use crate::send::MOST_AT_ONCE;

    #[tokio::test]
    async fn datagrams_keep_their_borders_and_senders() {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
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
    async fn shards_have_one_address_and_each_peer_is_one_shards() {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut shards = UdpSocket::bind_shards(address, 3).unwrap();
        let address = shards[0].local_address().unwrap();
        assert!(
            shards
                .iter()
                .all(|it| it.local_address().unwrap() == address)
        );
        let peers: Vec<_> = (0..60)
            .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        for peer in peers.iter().chain(&peers) {
            peer.send_to(b"here", address).unwrap();
        }
        let (mut batch, mut taken, mut served) = (Batch::new(), 0, Vec::new());
        while taken < 2 * peers.len() {
            for (shard, socket) in shards.iter_mut().enumerate() {
                let received = socket.receive(&mut batch);
                let wait = Duration::from_millis(10);
                if tokio::time::timeout(wait, received).await.is_ok() {
                    batch.for_each(|peer, _| {
                        taken += 1;
                        served.push((peer, shard));
                    });
                }
            }
        }
        served.sort_unstable();
        served.dedup();
        assert_eq!(served.len(), peers.len(), "always the same shard");
        for shard in 0..3 {
            assert!(served.iter().any(|it| it.1 == shard), "{shard} has none");
        }
    }

    /// Whoever would share the port, or not, does not get it; nor do we get what another one has.
    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_to_shards_too() {
        let address = "127.0.0.1:0".parse().unwrap();
        for ours in [1, 2] {
            let shards = UdpSocket::bind_shards(address, ours).unwrap();
            let taken = shards[0].local_address().unwrap();
            for theirs in [1, 2] {
                let refused = UdpSocket::bind_shards(taken, theirs).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            }
        }
    }

    #[tokio::test]
    async fn datagrams_reach_their_peers_in_their_order() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peers = [(); 3].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let count = 2 * MOST_AT_ONCE + 1;
        let datagrams: Vec<_> = (0..count)
            .map(|number| {
                let peer = peers[number % 3].local_addr().unwrap();
                (peer, number.to_be_bytes())
            })
            .collect();
        assert_eq!(socket.send_all(&datagrams), 0);
        for (number, (_, payload)) in datagrams.iter().enumerate() {
            let mut buffer = [0; 16];
            let (length, from) = peers[number % 3].recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], payload[..]);
            assert_eq!(from, socket.local_address().unwrap());
        }
    }

    /// A datagram that can be sent to nobody costs no other one.
    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_is_counted_and_left_out() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        let too_large = vec![0; 70_000];
        let datagrams = [(to, vec![1]), (to, too_large.clone()), (to, vec![3])];
        assert_eq!(socket.send_all(&datagrams), 1);
        assert_eq!(socket.send_all(&[(to, too_large)]), 1);
        let mut buffer = [0; 16];
        for byte in [1, 3] {
            assert_eq!(peer.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], byte);
        }
    }
}

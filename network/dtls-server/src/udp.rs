//! A UDP socket that reads and sends datagrams in batches (recvmmsg, sendmmsg).
//!
//! It knows nothing of DTLS or CoAP; the unauthenticated CoAP port uses it as well.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    task::Poll,
    time::{Duration, Instant},
};

use dtls_proto::Path;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

use crate::{
    bound::{Bound, Options},
    moderation::Moderation,
    send::{MOST_AT_ONCE, send_some},
};

/// A UDP socket by which many datagrams are read or sent by one system call. It may be bound to
/// several addresses of one port; each datagram tells which of them it was sent to.
pub struct UdpSocket {
    /// One for each address; never empty.
    sockets: Vec<Bound>,
    /// Which of them is read first.
    turn: usize,
    moderation: Moderation,
}

impl UdpSocket {
    /// Binds to `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// What the operating system says, for instance that the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let sockets = Self::bind_all(&[address], 1).map_err(|refused| refused.source)?;
        sockets.into_iter().next().ok_or_else(no_address)
    }

    /// [`UdpSocket::bind_all`] with one address.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_shards(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        Self::bind_all(&[address], count).map_err(|refused| refused.source)
    }

    /// So many sockets, at least one, each bound to all of these addresses. The kernel gives all
    /// datagrams from one peer address to the same of them, and spreads peers evenly (`SO_REUSEPORT`,
    /// socket(7)). The first socket is bound as if it were alone, so that a port that somebody else
    /// has is refused, even if that other one would share it.
    ///
    /// Where the first address has port 0, the others with port 0 take the port that the system
    /// chooses for it. `::` serves IPv4 as well, unless there is an IPv4 address in the list.
    ///
    /// # Errors
    /// The address that was refused, and what the operating system says.
    pub fn bind_all(addresses: &[SocketAddr], count: usize) -> Result<Vec<Self>, BindError> {
        let only_v6 = addresses.iter().any(SocketAddr::is_ipv4);
        let alone = Options {
            only_v6,
            shared: false,
        };
        let mut first = Vec::with_capacity(addresses.len());
        let mut port = 0;
        for address in addresses {
            let mut address = *address;
            if address.port() == 0 {
                address.set_port(port);
            }
            let refused = |source| BindError { address, source };
            let bound = Bound::new(address, alone).map_err(refused)?;
            port = bound.address().port();
            first.push(bound);
        }
        let mut sockets = Vec::with_capacity(count.max(1));
        if count > 1 {
            for bound in &mut first {
                let address = bound.address();
                let refused = |source| BindError { address, source };
                bound.share().map_err(refused)?;
            }
        }
        let addresses: Vec<_> = first.iter().map(Bound::address).collect();
        sockets.push(Self::new(first));
        for _ in 1..count {
            let shared = Options {
                only_v6,
                shared: true,
            };
            let all = addresses.iter().map(|address| {
                Bound::new(*address, shared).map_err(|source| BindError {
                    address: *address,
                    source,
                })
            });
            sockets.push(Self::new(all.collect::<Result<_, _>>()?));
        }
        Ok(sockets)
    }

    fn new(sockets: Vec<Bound>) -> Self {
        Self {
            sockets,
            turn: 0,
            moderation: Moderation::new(Instant::now()),
        }
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

    /// The first address that the socket is bound to, with the port the system chose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.sockets
            .first()
            .map(Bound::address)
            .ok_or_else(no_address)
    }

    /// All addresses that the socket is bound to.
    pub fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.sockets.iter().map(Bound::address)
    }

    /// The sizes of the kernel's buffers for receiving and sending, as it counts them.
    #[must_use]
    pub fn buffer_sizes(&self) -> Option<(usize, usize)> {
        self.sockets.first().and_then(Bound::buffer_sizes)
    }

    /// How often receiving has failed. Each time it is tried again.
    #[must_use]
    pub fn receive_errors(&self) -> u64 {
        self.sockets.iter().map(Bound::errors).sum()
    }

    /// Waits for datagrams and reads as many as one system call gives into `batch`. While many come, looks for them every few milliseconds
    /// ([`UdpSocket::gathering`]) and does not let itself be woken by each.
    ///
    /// A failure is waited out: it is logged and counted, and reading is tried again after a moment, if need be with a new descriptor.
    /// An error that concerns one peer only (ICMP port unreachable) is left out.
    ///
    /// Cancel safe: nothing is read if the future is dropped before it is ready.
    ///
    /// # Errors
    /// The descriptor is unusable, and for a minute no other one could be bound in its place.
    pub async fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.clear();
        while batch.is_empty() {
            if let Some(at) = self.moderation.next_look() {
                self.sockets.iter_mut().for_each(Bound::unwatch);
                // The runtime's timers end with the next whole millisecond.
                tokio::time::sleep_until(at.into()).await;
            } else {
                self.ready().await;
            }
            let now = now();
            let (later, first) = self.sockets.split_at_mut(self.turn);
            for bound in first.iter_mut().chain(later) {
                bound.read(now, batch)?;
            }
            self.moderation.looked(now, batch.len(), BATCH_SIZE);
            // So that a flood at one address leaves room in the batch for the others.
            self.turn = (self.turn + 1) % self.sockets.len().max(1);
        }
        Ok(())
    }

    /// Waits until there may be something to read, or a failed attempt is to be repeated.
    async fn ready(&mut self) {
        let now = now();
        for bound in &mut self.sockets {
            bound.watch(now);
        }
        let retry = self.sockets.iter().filter_map(Bound::retry_at).min();
        let sockets = &mut self.sockets;
        // One waker is enough, and cheaper than a place in the queue of those that wait for the socket.
        let readable = poll_fn(|context| {
            let ready = sockets.iter_mut().map(|bound| bound.poll_ready(context));
            match ready.filter(Poll::is_ready).count() {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        });
        match retry {
            None => readable.await,
            Some(at) => {
                // Too late is no error here.
                drop(tokio::time::timeout_at(at.into(), readable).await);
            }
        }
    }

    /// Whether less than half of the kernel's room for what is to be sent is in use. Beyond that, answers to peers that have proved
    /// nothing are better left out, so that there is room for the others.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sockets.iter().all(Bound::has_room)
    }

    /// Sends datagrams in their order, each from the local address of its path. What the kernel has no room for is not sent: to a device
    /// that is a lost datagram, unless the caller tries again.
    pub fn send_all<P: Copy + Into<Path>>(&self, datagrams: &[(P, impl AsRef<[u8]>)]) -> Sent {
        let mut sent = Sent::default();
        let mut rest = datagrams;
        while let Some((path, payload)) = rest.first() {
            let path = (*path).into();
            let (socket, source) = self.choose(path);
            let result = match (socket, source) {
                (None, _) => Err(io::ErrorKind::NotConnected.into()),
                (Some(bound), Some(source)) => bound
                    .send_from(source, path.remote, payload.as_ref())
                    .map(|()| 1),
                (Some(bound), None) => bound
                    .socket()
                    .and_then(|socket| send_some(socket, self.run(rest))),
            };
            let dealt_with = match result {
                Ok(count) => count,
                Err(error) if is_no_room(&error) => {
                    sent.no_room = rest.len();
                    return sent;
                }
                // It concerns the first one only.
                Err(error) => {
                    sent.lost += 1;
                    if is_too_large(&error) {
                        sent.too_large.push(path.remote);
                    }
                    1
                }
            };
            rest = rest.get(dealt_with.max(1)..).unwrap_or_default();
        }
        sent
    }

    /// The descriptor that a datagram leaves by, and the source that it must name.
    fn choose(&self, path: Path) -> (Option<&Bound>, Option<IpAddr>) {
        let bound = match self.sockets.as_slice() {
            [one] => Some(one),
            several => several
                .iter()
                .filter(|bound| bound.carries(path.remote.ip()))
                // The exact address comes before a wildcard.
                .max_by_key(|bound| path.local == Some(bound.address().ip())),
        };
        let source = path
            .local
            .filter(|local| bound.is_some_and(|bound| bound.needs_source(*local)));
        (bound, source)
    }

    /// The datagrams from the first on that leave by the same descriptor and need not name their source.
    fn run<'a, P: Copy + Into<Path>, B>(&self, datagrams: &'a [(P, B)]) -> &'a [(P, B)] {
        let mut alike = datagrams
            .iter()
            .map(|(path, _)| self.choose((*path).into()));
        let Some((Some(first), None)) = alike.next() else {
            return datagrams.get(..1).unwrap_or_default();
        };
        let more = alike
            .take(MOST_AT_ONCE)
            .take_while(|(bound, source)| {
                source.is_none() && bound.is_some_and(|bound| std::ptr::eq(bound, first))
            })
            .count();
        datagrams.get(..=more).unwrap_or(datagrams)
    }
}

/// What became of datagrams that were to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "what was not sent is to be counted"]
pub struct Sent {
    /// How many at the end the kernel had no room for.
    pub no_room: usize,
    /// How many of the others it did not take.
    pub lost: usize,
    /// The peers of those that were lost because they are larger than what the way there carries.
    pub too_large: Vec<SocketAddr>,
}

impl Sent {
    /// How many the kernel did not take.
    #[must_use]
    pub const fn unsent(&self) -> usize {
        self.no_room.saturating_add(self.lost)
    }
}

/// What a socket could not do, counted from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Datagrams that were not sent.
    pub unsent: u64,
    /// Failures to receive; each time it is tried again.
    pub receive_errors: u64,
}

/// An address could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot bind {}", self.address)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The time by the runtime's clock, which tests may let run ahead.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is no address to bind")
}

/// The send buffer, or the queue of the network device, is full.
fn is_no_room(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("sockets", &self.sockets)
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

    /// Reads what is there, behind what was read before.
    ///
    /// # Errors
    /// What the operating system says; `WouldBlock` if there is nothing.
    pub(crate) fn read(
        &mut self,
        socket: &std::net::UdpSocket,
        state: &UdpSocketState,
    ) -> io::Result<()> {
        let free = self.buffers.get_mut(self.filled..).unwrap_or_default();
        let mut slices: Vec<IoSliceMut<'_>> = free
            .iter_mut()
            .map(|buffer| IoSliceMut::new(buffer))
            .collect();
        let metas = self.metas.get_mut(self.filled..).unwrap_or_default();
        let read = state.recv(UdpSockRef::from(socket), &mut slices, metas)?;
        self.filled = self.filled.saturating_add(read);
        Ok(())
    }

    pub(crate) const fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.filled >= BATCH_SIZE
    }

    /// Hands each datagram with its path to `handle`, in the order of arrival. The bytes may be changed in place. Addresses are canonical:
    /// an IPv4 peer of an IPv6 socket has its IPv4 address.
    pub fn for_each(&mut self, mut handle: impl FnMut(Path, &mut [u8])) {
        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(self.filled) {
            let filled = buffer.get_mut(..meta.len).unwrap_or_default();
            let path = Path {
                remote: canonical(meta.addr),
                local: meta.dst_ip.and_then(local),
            };
            // The kernel may have joined datagrams of one peer (GRO); `stride` says where they part.
            for datagram in filled.chunks_mut(meta.stride.max(1)) {
                handle(path, datagram);
            }
        }
        self.filled = 0;
    }
}

/// An IPv4 address in an IPv6 one is that IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mapped) => match mapped.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), mapped.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// The address that an answer may leave from: none if a datagram was sent to many hosts at once.
fn local(destination: IpAddr) -> Option<IpAddr> {
    let address = destination.to_canonical();
    let of_many = match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    (!of_many).then_some(address)
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
            batch.for_each(|path, datagram| seen.push((path.remote, datagram.to_vec())));
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
                    batch.for_each(|path, _| {
                        taken += 1;
                        served.push((path.remote, shard));
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
        assert_eq!(socket.send_all(&datagrams).unsent(), 0);
        for (number, (_, payload)) in datagrams.iter().enumerate() {
            let mut buffer = [0; 16];
            let (length, from) = peers[number % 3].recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], payload[..]);
            assert_eq!(from, socket.local_address().unwrap());
        }
    }

    /// RFC 7252 §5.3.2: answers left from the address that the routing table prefers, so a client that had
    /// connected its socket to another address of the host never heard them.
    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for (bound, asked) in [
            ("0.0.0.0:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.2"),
            ("[::]:0", "127.0.0.3"),
            ("[::]:0", "::1"),
            ("127.0.0.4:0", "127.0.0.4"),
        ] {
            let mut socket = UdpSocket::bind(bound.parse().unwrap()).unwrap();
            let asked: IpAddr = asked.parse().unwrap();
            let any: SocketAddr = match asked {
                IpAddr::V4(_) => "127.0.0.1:0".parse().unwrap(),
                IpAddr::V6(_) => "[::1]:0".parse().unwrap(),
            };
            // What is not from there, a connected socket does not take.
            let client = std::net::UdpSocket::bind(any).unwrap();
            let port = socket.local_address().unwrap().port();
            client.connect((asked, port)).unwrap();
            client.send(b"question").unwrap();
            let mut batch = Batch::new();
            socket.receive(&mut batch).await.unwrap();
            let mut paths = Vec::new();
            batch.for_each(|path, _| paths.push(path));
            let path = Path {
                remote: client.local_addr().unwrap(),
                local: Some(asked),
            };
            assert_eq!(paths, [path], "{bound} {asked}");
            // One by one and several at once are sent by different system calls.
            assert_eq!(socket.send_all(&[(path, b"one")]), Sent::default());
            assert_eq!(
                socket.send_all(&[(path, b"two"), (path, b"six")]).unsent(),
                0
            );
            client
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut buffer = [0; 16];
            for expected in [b"one", b"two", b"six"] {
                assert_eq!(client.recv(&mut buffer).unwrap(), 3, "{bound} {asked}");
                assert_eq!(&buffer[..3], expected);
            }
        }
    }

    /// Only one address could be bound. With `::` beside an IPv4 address, both kinds have a socket.
    #[tokio::test]
    async fn several_addresses_are_served_by_each_shard() {
        let addresses = ["127.0.0.1:0", "127.0.0.2:0", "[::]:0"].map(|it| it.parse().unwrap());
        let mut shards = UdpSocket::bind_all(&addresses, 2).unwrap();
        let bound: Vec<_> = shards[0].local_addresses().collect();
        assert!(
            bound
                .iter()
                .all(|it| it.port() == bound[0].port() && it.port() != 0)
        );
        let clients: Vec<_> = ["127.0.0.1", "127.0.0.2", "::1"]
            .into_iter()
            .map(|to| {
                let to: IpAddr = to.parse().unwrap();
                let client = std::net::UdpSocket::bind((to, 0)).unwrap();
                client.connect((to, bound[0].port())).unwrap();
                client.send(b"here").unwrap();
                client
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
                client
            })
            .collect();
        let (mut batch, mut answered) = (Batch::new(), 0);
        while answered < clients.len() {
            for socket in &mut shards {
                let received = socket.receive(&mut batch);
                drop(tokio::time::timeout(Duration::from_millis(10), received).await);
                let mut paths = Vec::new();
                batch.for_each(|path, _| paths.push((path, b"you")));
                answered += paths.len();
                assert_eq!(socket.send_all(&paths).unsent(), 0);
            }
        }
        for client in &clients {
            assert_eq!(client.recv(&mut [0; 16]).unwrap(), 3);
        }
    }

    /// A full table of file descriptors, and any other failure of the socket, ended the port for good.
    #[tokio::test(start_paused = true)]
    async fn a_socket_that_fails_is_replaced() {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_address().unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new();
        // Read by itself, and by being woken.
        for gather in [Duration::ZERO, Duration::from_millis(4)] {
            socket = socket.gathering(gather);
            socket.sockets[0].spoil();
            let errors = socket.receive_errors();
            let receiving = socket.receive(&mut batch);
            let sending = async {
                loop {
                    drop(peer.send_to(b"here", address));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                received = receiving => received.unwrap(),
                () = sending => {}
            }
            assert!(socket.receive_errors() > errors);
            assert_eq!(socket.local_address().unwrap(), address);
        }
    }

    /// A port that cannot be bound again must not stay silent for ever: its task ends, and liveness with it.
    #[tokio::test(start_paused = true)]
    async fn a_socket_that_cannot_be_replaced_ends_the_port() {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_address().unwrap();
        socket.sockets[0].spoil();
        let _other = std::net::UdpSocket::bind(address).unwrap();
        let ended = socket.receive(&mut Batch::new()).await.unwrap_err();
        assert!(ended.to_string().contains("could not be bound"), "{ended}");
    }

    /// A datagram that can be sent to nobody costs no other one.
    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_is_counted_and_left_out() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        let too_large = vec![0; 70_000];
        let datagrams = [(to, vec![1]), (to, too_large.clone()), (to, vec![3])];
        assert_eq!(socket.send_all(&datagrams).lost, 1);
        assert_eq!(socket.send_all(&[(to, too_large)]).too_large, [to]);
        let mut buffer = [0; 16];
        for byte in [1, 3] {
            assert_eq!(peer.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], byte);
        }
    }
}

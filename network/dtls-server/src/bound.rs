//! One bound descriptor of a [`crate::UdpSocket`]: its options, its readiness, and what happens when
//! it fails. An error never ends it at once: a full table of file descriptors, missing kernel memory
//! or a packet filter that refuses are waited out, and a descriptor that is unusable is replaced.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    },
};
use tokio::io::Interest;

use crate::udp::Batch;

/// A descriptor that is bound to one address.
pub(crate) struct Bound {
    address: SocketAddr,
    options: Options,
    /// `None` after it failed, until it is replaced.
    io: Option<Io>,
    /// Registration with the runtime; `None` while the socket is read now and then.
    watch: Option<tokio::net::UdpSocket>,
    /// The second descriptor that `watch` owns while there is one. It is kept for life, as a full table
    /// of file descriptors would have none to give later.
    spare: Option<std::net::UdpSocket>,
    trouble: Option<Trouble>,
    errors: u64,
}

struct Io {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
}

/// How an address is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether `::` leaves IPv4 to another socket.
    pub(crate) only_v6: bool,
    /// Whether other sockets of this process have the same address (`SO_REUSEPORT`).
    pub(crate) shared: bool,
}

/// A failure that lasts.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    with: Step,
    since: Instant,
    pause: Duration,
    retry_at: Instant,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Receiving, or binding the address again. It waits for the next attempt.
    Receive,
    /// Registering with the runtime. Until it works, the socket is read now and then.
    Register,
}

impl Bound {
    pub(crate) fn new(address: SocketAddr, options: Options) -> io::Result<Self> {
        let io = open(address, options)?;
        let address = io.socket.local_addr()?;
        let spare = io.socket.try_clone()?;
        Ok(Self {
            address,
            options,
            io: Some(io),
            watch: None,
            spare: Some(spare),
            trouble: None,
            errors: 0,
        })
    }

    /// The bound address, with the port that the system chose.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often receiving has failed.
    pub(crate) const fn errors(&self) -> u64 {
        self.errors
    }

    /// Lets further sockets bind to the same address.
    pub(crate) fn share(&mut self) -> io::Result<()> {
        if let Some(io) = &self.io {
            socket2::SockRef::from(&io.socket).set_reuse_port(true)?;
        }
        self.options.shared = true;
        Ok(())
    }

    /// The sizes of the kernel's buffers for receiving and sending, as it counts them.
    pub(crate) fn buffer_sizes(&self) -> Option<(usize, usize)> {
        let socket = socket2::SockRef::from(&self.io.as_ref()?.socket);
        Some((
            socket.recv_buffer_size().ok()?,
            socket.send_buffer_size().ok()?,
        ))
    }

    /// Registers the socket with the runtime, and replaces it if it is due. A failure is waited out.
    pub(crate) fn watch(&mut self, now: Instant) {
        if self.waits(now) {
            return;
        }
        if self.io.is_none() {
            match open(self.address, self.options) {
                Ok(io) => self.io = Some(io),
                Err(error) => return self.fail(now, Step::Receive, &error),
            }
        }
        if let (None, Some(io)) = (&self.watch, &self.io) {
            let spare = match self.spare.take() {
                Some(spare) => Ok(spare),
                None => io.socket.try_clone(),
            };
            match spare.and_then(tokio::net::UdpSocket::from_std) {
                Ok(watch) => {
                    self.watch = Some(watch);
                    self.recover(Step::Register);
                }
                Err(error) => self.fail(now, Step::Register, &error),
            }
        }
    }

    /// Takes the socket from the runtime, so that no datagram wakes the task.
    pub(crate) fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.spare = watch.into_std().ok();
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &self.watch {
            Some(watch) => watch.poll_recv_ready(context).map(drop),
            None => Poll::Pending,
        }
    }

    /// When to look again because the last attempt failed.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.trouble.map(|trouble| trouble.retry_at)
    }

    /// Reads what is there into `batch`; nothing if reading fails.
    ///
    /// # Errors
    /// The socket is unusable and could not be replaced for [`GIVE_UP`].
    pub(crate) fn read(&mut self, now: Instant, batch: &mut Batch) -> io::Result<()> {
        let Some(io) = &self.io else {
            return self.give_up(now);
        };
        if self.waits(now) && !self.fails_to(Step::Register) {
            return Ok(());
        }
        if batch.is_full() {
            return Ok(());
        }
        let result = match &self.watch {
            // In here, so that what comes after this look is not taken for what it has seen.
            Some(watch) => watch.try_io(Interest::READABLE, || {
                batch.read(&io.socket, &io.state)?;
                match batch.is_full() {
                    true => Ok(()),
                    // There were no more: to say so spares a call that would find nothing.
                    false => Err(io::ErrorKind::WouldBlock.into()),
                }
            }),
            None => batch.read(&io.socket, &io.state),
        };
        match result {
            Ok(()) => self.recover(Step::Receive),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.recover(Step::Receive);
            }
            // It concerns one peer, or nobody.
            Err(error) if is_of_one_peer(&error) => self.errors = self.errors.saturating_add(1),
            Err(error) => {
                if !is_transient(&error) {
                    (self.watch, self.spare, self.io) = (None, None, None);
                }
                self.fail(now, Step::Receive, &error);
            }
        }
        Ok(())
    }

    /// Whether less than half of the send buffer is in use: then the kernel calls a UDP socket
    /// writable (`sock_writeable`).
    pub(crate) fn has_room(&self) -> bool {
        let Some(io) = &self.io else {
            return false;
        };
        let mut fds = [PollFd::new(&io.socket, PollFlags::OUT)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => fds.iter().all(|fd| fd.revents().contains(PollFlags::OUT)),
            Err(_) => true,
        }
    }

    /// The descriptor to send from.
    ///
    /// # Errors
    /// The socket is being replaced.
    pub(crate) fn socket(&self) -> io::Result<&std::net::UdpSocket> {
        match &self.io {
            Some(io) => Ok(&io.socket),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends one datagram from one of the addresses that the socket is bound to. If that address is
    /// gone by now, the system chooses another one.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn send_from(
        &self,
        source: IpAddr,
        destination: SocketAddr,
        contents: &[u8],
    ) -> io::Result<()> {
        let Some(io) = &self.io else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: Some(source),
        };
        let socket = || UdpSockRef::from(&io.socket);
        match io.state.try_send(socket(), &transmit) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                transmit.src_ip = None;
                io.state.try_send(socket(), &transmit)
            }
            result => result,
        }
    }

    /// Whether a datagram must name its source so that it leaves from `local`.
    pub(crate) fn needs_source(&self, local: IpAddr) -> bool {
        self.address.ip() != local
    }

    /// Whether datagrams to or from an address of this kind may pass.
    pub(crate) fn carries(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (SocketAddr::V4(_), IpAddr::V4(_)) | (SocketAddr::V6(_), IpAddr::V6(_)) => true,
            (SocketAddr::V6(bound), IpAddr::V4(_)) => {
                bound.ip().is_unspecified() && !self.options.only_v6
            }
            (SocketAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }

    fn waits(&self, now: Instant) -> bool {
        self.trouble.is_some_and(|trouble| now < trouble.retry_at)
    }

    fn fails_to(&self, step: Step) -> bool {
        self.trouble.is_some_and(|trouble| trouble.with == step)
    }

    fn fail(&mut self, now: Instant, with: Step, error: &io::Error) {
        self.errors = self.errors.saturating_add(1);
        if self.trouble.is_none() {
            tracing::error!(
                address = %self.address,
                %error,
                "cannot receive datagrams; retrying"
            );
        }
        let (since, pause) = match self.trouble {
            Some(trouble) if with == Step::Receive => {
                (trouble.since, (trouble.pause * 2).min(MAX_PAUSE))
            }
            Some(trouble) => (trouble.since, trouble.pause),
            None => (now, MIN_PAUSE),
        };
        self.trouble = Some(Trouble {
            with,
            since,
            pause,
            retry_at: now + pause,
        });
    }

    fn recover(&mut self, step: Step) {
        if self.fails_to(step) {
            self.trouble = None;
            tracing::info!(address = %self.address, "receiving datagrams again");
        }
    }

    fn give_up(&self, now: Instant) -> io::Result<()> {
        match self.trouble {
            Some(trouble) if now.saturating_duration_since(trouble.since) > GIVE_UP => Err(
                io::Error::other(format!("{} could not be bound again", self.address)),
            ),
            _ => Ok(()),
        }
    }

    /// Makes the descriptor unusable, for tests.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self) {
        let null = std::fs::File::open("/dev/null").unwrap();
        if let Some(io) = &mut self.io {
            io.socket = std::os::fd::OwnedFd::from(null).into();
            io.socket.set_nonblocking(true).unwrap();
        }
        (self.watch, self.spare) = (None, None);
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A bound socket.
fn open(address: SocketAddr, options: Options) -> io::Result<Io> {
    let (kind, protocol) = (socket2::Type::DGRAM, socket2::Protocol::UDP);
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, kind, Some(protocol))?;
    // Bursts wait in the kernel while the task is busy; the system may grant less, which is fine.
    if let Err(error) = socket.set_recv_buffer_size(KERNEL_BUFFER) {
        tracing::debug!(%error, "cannot set the size of the kernel's receive buffer");
    }
    // Packets that wait for the link-layer address of a vanished neighbour count as well.
    if let Err(error) = socket.set_send_buffer_size(KERNEL_BUFFER) {
        tracing::debug!(%error, "cannot set the size of the kernel's send buffer");
    }
    if address.is_ipv6() {
        // Explicitly, as net.ipv6.bindv6only may be set.
        socket.set_only_v6(options.only_v6)?;
    }
    if options.shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    let socket: std::net::UdpSocket = socket.into();
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    allow_fragments(&socket, address);
    socket.set_nonblocking(true)?;
    Ok(Io { socket, state })
}

/// Lets routers (IPv4) and the kernel fragment what is too large for a path: there is no path MTU
/// discovery for datagrams of this size, so a forbidden fragment is a lost answer. `quinn_udp` forbids
/// fragments, for QUIC finds the size of its packets by probing.
fn allow_fragments(socket: &std::net::UdpSocket, address: SocketAddr) {
    // IPv4 also on IPv6 sockets, which carry it as well. OMIT: what ICMP says about the path's MTU is
    // passed over, as anybody may have sent that.
    let mut result = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT);
    if address.is_ipv6() {
        result = result.and(set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT));
    }
    if let Err(error) = result {
        tracing::warn!(%error, "large datagrams are sent with the don't-fragment flag");
    }
}

/// Errors of one destination that the kernel reports with another call (ICMP).
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::Interrupted
    )
}

/// Whether a descriptor with this error may work again: everything but a descriptor that is none.
fn is_transient(error: &io::Error) -> bool {
    use rustix::io::Errno;
    !matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::BADF | Errno::NOTSOCK | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTCONN)
    )
}

/// What we ask the kernel to keep for us, in bytes.
const KERNEL_BUFFER: usize = 4 << 20;

/// Delay after a first failure, and the longest one.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How long a socket may stay unusable before its port is given up.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(60);

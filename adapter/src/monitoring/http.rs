//! The HTTP server of the probes and of the operator's port. Idle or slow clients cost nothing: the
//! number of connections is bounded in total and per source, and each has deadlines. A newcomer beyond
//! the bound displaces the oldest idle connection of the source that holds most, so that probes are
//! answered whoever else is connected.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Bounds of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) connections: usize,
    /// Connections at a time from one IPv4 address or one /64 of IPv6.
    pub(super) per_source: usize,
    /// How long a client may take for the head of a request, and be idle between two.
    pub(super) head: Duration,
    /// How long a connection may last.
    pub(super) lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            per_source: 64,
            head: Duration::from_secs(10),
            lifetime: Duration::from_secs(60),
        }
    }
}

/// Serves within the bounds of `table` until `stop`, then lets running answers finish. `purpose` is for the log.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    purpose: &'static str,
    table: Arc<Table>,
    stop: CancellationToken,
) {
    let limits = table.limits;
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if failing {
                        failing = false;
                        tracing::info!(purpose, "accepting HTTP connections again");
                    }
                    let place = Table::admit(&table, Instant::now(), peer.ip());
                    connections.spawn(connection(stream, router.clone(), place, limits, stop.clone()));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !failing {
                        failing = true;
                        tracing::error!(%error, purpose, "cannot accept HTTP connections; retrying");
                    }
                    // The error stays until a descriptor or memory is free: no busy loop meanwhile.
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    router: Router,
    place: Place,
    limits: Limits,
    stop: CancellationToken,
) {
    let running = Arc::clone(&place.running);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let busy = Busy::new(&running);
        let response = router.call(request);
        async move {
            let response = response.await;
            drop(busy);
            response
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = async {
        tokio::select! {
            // A client that breaks off is none of our errors.
            ended = connection.as_mut() => return drop(ended),
            () = place.displaced.cancelled() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        drop(connection.as_mut().await);
    };
    // What takes longer is cut off.
    drop(timeout(limits.lifetime, served).await);
}

/// A request that is being answered.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Table {
    limits: Limits,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    open: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    source: IpAddr,
    since: Instant,
    running: Arc<AtomicUsize>,
    displaced: CancellationToken,
}

/// The place of one connection in the table, until it is dropped.
#[derive(Debug)]
struct Place {
    table: Arc<Table>,
    number: u64,
    running: Arc<AtomicUsize>,
    displaced: CancellationToken,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Mutex::default(),
        }
    }

    /// Number of open connections.
    pub(super) fn open(&self) -> usize {
        self.entries().open.len()
    }

    /// Gives a newcomer a place, if need be that of another connection.
    fn admit(table: &Arc<Self>, now: Instant, peer: IpAddr) -> Place {
        let source = source(peer);
        let mut entries = table.entries();
        if entries.held_by(source) >= table.limits.per_source {
            entries.displace(source);
        } else if entries.open.len() >= table.limits.connections
            && let Some(largest) = entries.largest()
        {
            entries.displace(largest);
        }
        let (running, displaced) = (Arc::default(), CancellationToken::new());
        let number = entries.next;
        entries.next = number.wrapping_add(1);
        entries.open.insert(
            number,
            Entry {
                source,
                since: now,
                running: Arc::clone(&running),
                displaced: displaced.clone(),
            },
        );
        drop(entries);
        Place {
            table: Arc::clone(table),
            number,
            running,
            displaced,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn held_by(&self, source: IpAddr) -> usize {
        self.open
            .values()
            .filter(|entry| entry.source == source)
            .count()
    }

    /// The source with the most connections; of several, the one with the oldest connection.
    fn largest(&self) -> Option<IpAddr> {
        let mut sources: HashMap<IpAddr, (usize, Instant)> = HashMap::new();
        for entry in self.open.values() {
            let (count, oldest) = sources.entry(entry.source).or_insert((0, entry.since));
            *count += 1;
            *oldest = (*oldest).min(entry.since);
        }
        sources
            .into_iter()
            .max_by_key(|(_, (count, oldest))| (*count, std::cmp::Reverse(*oldest)))
            .map(|(source, _)| source)
    }

    /// Ends the oldest connection of a source, one without a running request first.
    fn displace(&mut self, source: IpAddr) {
        let of_source = self.open.iter().filter(|(_, it)| it.source == source);
        let least = of_source
            .min_by_key(|(_, it)| (it.running.load(Ordering::Relaxed) > 0, it.since))
            .map(|(number, _)| *number);
        if let Some(entry) = least.and_then(|number| self.open.remove(&number)) {
            entry.displaced.cancel();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.entries().open.remove(&self.number);
    }
}

/// What counts as one source: an IPv4 address, or a /64 of IPv6.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            std::net::Ipv6Addr::from_bits(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Errors of a connection that was broken off before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Delay after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 6,
        per_source: 4,
        head: Duration::from_secs(600),
        lifetime: Duration::from_secs(600),
    };

    async fn start(limits: Limits) -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "well"));
        let stop = CancellationToken::new();
        let table = Arc::new(Table::new(limits));
        tokio::spawn(serve(listener, router, "test", table, stop.clone()));
        (address, stop)
    }

    /// Idle connections took a file descriptor each for as long as their clients liked, until there was
    /// none left for anything else in the process.
    #[tokio::test]
    async fn idle_connections_are_displaced_and_probes_answered() {
        let (address, stop) = start(LIMITS).await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        probe.write_all(request).await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        // The first ones were closed: reading ends at once.
        for stream in idle.iter_mut().take(20 - LIMITS.per_source) {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
        stop.cancel();
    }

    /// A client that never finishes the head of its request kept its connection for good.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_disconnected() {
        let (address, _stop) = start(Limits::default()).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
        let mut rest = Vec::new();
        drop(slow.read_to_end(&mut rest).await);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }

    #[test]
    fn the_newcomer_displaces_the_source_that_holds_most() {
        let table = Arc::new(Table::new(LIMITS));
        let start = Instant::now();
        let at = |seconds, ip: &str| {
            let now = start + Duration::from_secs(seconds);
            Table::admit(&table, now, ip.parse().unwrap())
        };
        let other = at(0, "192.0.2.9");
        let many: Vec<_> = (1..5).map(|second| at(second, "192.0.2.1")).collect();
        let sixth = at(5, "2001:db8::1");
        let busy = Busy::new(&many[0].running);
        // All places are taken: the oldest idle one of 192.0.2.1 goes.
        let newcomer = at(6, "192.0.2.7");
        let gone = |place: &Place| place.displaced.is_cancelled();
        assert_eq!(
            many.iter().map(gone).collect::<Vec<_>>(),
            [false, true, false, false]
        );
        drop(busy);
        assert!(!gone(&other) && !gone(&sixth) && !gone(&newcomer));
        // A /64 is one source; once it holds most it displaces itself.
        let more: Vec<_> = ["2001:db8::2", "2001:db8::3", "2001:db8::4"]
            .into_iter()
            .map(|ip| at(7, ip))
            .collect();
        assert!(gone(&sixth) && !gone(&other) && !gone(&newcomer));
        let network = source("2001:db8::9".parse().unwrap());
        assert_eq!(table.entries().held_by(network), 3);
        drop((other, many, sixth, newcomer, more));
        assert!(table.entries().open.is_empty());
    }
}

//! What is counted, under the names that dashboards for Hono know (spec: metrics-health §1, §2), and what the protocols count
//! by themselves.
//!
//! ```text
//! Upload, Command ──> Metrics (by tenant) ──┐
//! deliveries ───────>    forget_idle        │
//! reasons of failures ─> counters ──────────┼─> render ─> /prometheus
//! Statistics of the cores ─> snapshots ─────┤
//! parts of the adapter ─> gauges ───────────┘       descriptions ─> docs/metrics.md
//! ```
//!
//! Nothing here is global; each adapter has its own numbers. Label values are bounded: there is no device among them. A tenant has
//! a label once it is known to exist; until then, and while as many others are active as there is room for, it is counted as
//! `UNKNOWN`.

mod labels;
mod distribution;
mod series;
mod cores;
mod operation;
mod reasons;
mod gauges;
mod catalogue;
mod description;
mod page;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    net::{Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use prometheus::{Registry, TextEncoder, core::Collector, core::Desc, proto::MetricFamily};

pub use self::catalogue::{descriptions, table};
pub use self::description::{Description, Kind};
pub use self::gauges::Gauge;
pub use self::labels::{
    BudgetOf, Direction, Disposition, Link, Qos, Reloaded, Spent, Status, Transport, Ttd,
    UploadKind,
};
use self::{
    cores::{Cores, Dtls},
    gauges::{Gauges, Source},
    operation::Operation,
    page::{Meter, Page},
    reasons::Reasons,
    series::Series,
};
use super::reason::{Reason, Stage};

/// All meters of an adapter. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    meters: Arc<Meters>,
    registry: Registry,
    /// Who tells, where there are several of the same kind.
    shard: usize,
}

/// A telemetry message or event that has been answered.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// Telemetry or event.
    pub kind: UploadKind,
    /// Whose device sent it; may be empty if that is not known.
    pub tenant: &'a str,
    /// What became of it.
    pub status: Status,
    /// Whether it was confirmable.
    pub qos: Qos,
    /// What became of waiting for a command.
    pub ttd: Ttd,
    /// The payload's size in bytes rounded up to the minimum message size.
    pub payload: u64,
    /// From the request to the response.
    pub duration: Duration,
}

/// A command or command response that has been dealt with.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// Whence and whether an answer is wanted.
    pub direction: Direction,
    /// Whose device it is for or from; may be empty if that is not known.
    pub tenant: &'a str,
    /// What became of it.
    pub status: Status,
    /// The payload's size in bytes rounded up to the minimum message size.
    pub payload: u64,
    /// From its arrival at the adapter to its end.
    pub duration: Duration,
}

impl Metrics {
    /// Meters of the adapter on `host`; [`host_name`] tells which that is.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self::bounded(host, MAX_TENANTS)
    }

    /// As [`Metrics::new`], with labels of their own for so many tenants.
    #[must_use]
    pub fn bounded(host: &str, tenants: usize) -> Self {
        let meters = Arc::new(Meters::new(host, tenants));
        let memory = Source::Read(Box::new(gauges::resident_memory));
        meters.gauges().put(Gauge::ResidentMemory, "", memory);
        let registry = Registry::new();
        if let Err(error) = registry.register(Box::new(Shared(Arc::clone(&meters)))) {
            tracing::error!(%error, "cannot register metrics");
        }
        Self {
            meters,
            registry,
            shard: 0,
        }
    }

    /// Gives labels only to tenants for which `is_known` is true; all others are counted as
    /// `UNKNOWN`. It is asked when a tenant without a label is counted, and the first one stays.
    pub fn only_known_tenants(&self, is_known: impl Fn(&str) -> bool + Send + Sync + 'static) {
        drop(self.meters.is_known.set(Box::new(is_known)));
    }

    /// The same meters, told by one of several shards of a port: what cores have counted and what tables hold is added up.
    #[must_use]
    pub fn of_shard(&self, shard: usize) -> Self {
        Self {
            shard,
            ..self.clone()
        }
    }

    /// Counts a telemetry message or event.
    pub fn upload(&self, upload: &Upload<'_>) {
        let now = Instant::now();
        self.meters
            .record(upload.tenant, |series| series.upload(upload, now));
    }

    /// Counts a command or command response.
    pub fn command(&self, command: &Command<'_>) {
        let now = Instant::now();
        self.meters
            .record(command.tenant, |series| series.command(command, now));
    }

    /// Counts what became of a message that was sent by AMQP, or of the attempt.
    pub fn sent(
        &self,
        link: Link,
        tenant: &str,
        result: Result<&amqp_client::Outcome, &amqp_client::SendError>,
        duration: Duration,
    ) {
        use amqp_client::SendError;

        let disposition = match result {
            Ok(outcome) => Disposition::of(outcome),
            Err(SendError::NoCredit) => {
                return self.meters.record(tenant, |series| series.no_credit(link));
            }
            Err(SendError::TimedOut) => {
                return self.meters.record(tenant, |series| series.timed_out(link));
            }
            Err(SendError::LinkLost) => Disposition::Aborted,
            Err(_) => return,
        };
        self.meters.record(tenant, |series| {
            series.delivery(link, disposition, duration, Instant::now());
        });
    }

    /// Counts a handshake that came to nothing.
    pub fn handshake_failed(&self, reason: Reason) {
        self.meters.reasons.count(Stage::Handshake, reason);
    }

    /// Counts a request that was not served.
    pub fn request_refused(&self, reason: Reason) {
        self.meters.reasons.count(Stage::Request, reason);
    }

    /// Takes what the DTLS server counted since its start, and what it holds now; the last word counts.
    pub fn observe_dtls(
        &self,
        statistics: &dtls_server::Statistics,
        gauges: dtls_server::Gauges,
        passed_on: dtls_server::PassedOn,
    ) {
        let told = Dtls {
            statistics: *statistics,
            gauges,
            passed_on,
        };
        self.meters.cores().dtls.insert(self.shard, told);
    }

    /// Takes what a port's socket could not do since its start; the last word counts.
    pub fn observe_socket(&self, transport: Transport, socket: dtls_server::SocketStatistics) {
        let mut cores = self.meters.cores();
        let shards = cores.sockets.entry(transport).or_default();
        shards.insert(self.shard, socket);
    }

    /// Takes what the message layer of a port counted since its start; the last word counts.
    pub fn observe_coap(&self, transport: Transport, statistics: &coap_proto::Statistics) {
        let mut cores = self.meters.cores();
        let shards = cores.coap.entry(transport).or_default();
        shards.insert(self.shard, *statistics);
    }

    /// Counts what was refused as a budget was used up.
    pub fn over_budget(&self, of: BudgetOf, what: Spent) {
        self.meters.operation().over_budget(of, what);
    }

    /// Counts that a request blocked later ones of its device for so long that they went ahead.
    pub fn turn_expired(&self) {
        self.meters.operation().turn_expired();
    }

    /// Counts that a wait for a command ended early to make room for another.
    pub fn wait_displaced(&self) {
        self.meters.operation().wait_displaced();
    }

    /// Counts that a file changed, and whether what it says now is used.
    pub fn reloaded(&self, what: Reloaded, used: bool) {
        self.meters.operation().reloaded(what, used);
    }

    /// Takes the last word on a quantity. `label` is the value of the gauge's own label; empty if it has none.
    pub fn set(&self, gauge: Gauge, label: &'static str, value: f64) {
        self.meters.gauges().tell(gauge, label, self.shard, value);
    }

    /// Asks `read` for a quantity whenever the page is written; it must answer at once, and may have nothing to say.
    pub fn watch(
        &self,
        gauge: Gauge,
        label: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let source = Source::Read(Box::new(read));
        self.meters.gauges().put(gauge, label, source);
    }

    /// Takes how many entries a table has, and how many bytes they take if that is known.
    pub fn observe_table(&self, table: &'static str, entries: usize, bytes: Option<usize>) {
        self.set(Gauge::TableEntries, table, count_of(entries));
        if let Some(bytes) = bytes {
            self.set(Gauge::TableBytes, table, count_of(bytes));
        }
    }

    /// Takes how many entries a table may have at most.
    pub fn observe_bound(&self, table: &'static str, bound: usize) {
        self.set(Gauge::TableBound, table, count_of(bound));
    }

    /// Takes until when the server's certificate is valid; none if there is none, or it does not tell.
    pub fn observe_certificate(&self, expiry: Option<SystemTime>) {
        let (gauge, label) = (Gauge::CertificateExpiry, "server");
        match expiry.and_then(|expiry| expiry.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            Some(since) => self.set(gauge, label, since.as_secs_f64()),
            None => self.meters.gauges().remove(gauge, label),
        }
    }

    /// How many tenants have labels of their own.
    #[must_use]
    pub fn tenants(&self) -> usize {
        let tenants = self.meters.tenants.read();
        tenants.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Drops everything that was counted for tenants without a message or command for that long, and tells which they are
    /// (spec: metrics-health §2, `tenantIdleTimeout`).
    #[must_use]
    pub fn forget_idle(&self, now: Instant, timeout: Duration) -> Vec<String> {
        let mut tenants = self.meters.tenants_mut();
        let gone = tenants.extract_if(|_, series| {
            let series = series.lock().unwrap_or_else(PoisonError::into_inner);
            series.is_idle(now, timeout)
        });
        gone.map(|(tenant, _)| tenant).collect()
    }

    /// The page that Prometheus scrapes, in its text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "the metrics page is incomplete");
        }
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What metrics name as `host`: `HOSTNAME` of the environment, else the address by which this machine reaches others, else
/// `localhost` (spec: metrics-health §1).
#[must_use]
pub fn host_name(environment: Option<String>) -> String {
    let set = environment.filter(|name| !name.is_empty());
    set.or_else(own_address)
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Nothing is sent: to connect a UDP socket only chooses an address.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((DOCUMENTATION, DISCARD)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then(|| address.to_string())
}

struct Meters {
    host: String,
    max_tenants: usize,
    /// Whether a tenant is known to exist. Unless set, all are.
    is_known: OnceLock<Box<IsKnown>>,
    /// When tenants were last looked through for some that are idle.
    evicted: Mutex<Option<Instant>>,
    tenants: RwLock<HashMap<String, Arc<Mutex<Series>>>>,
    cores: Mutex<Cores>,
    operation: Mutex<Operation>,
    gauges: Mutex<Gauges>,
    reasons: Reasons,
}

impl Meters {
    fn new(host: &str, max_tenants: usize) -> Self {
        Self {
            host: host.to_owned(),
            max_tenants,
            is_known: OnceLock::new(),
            evicted: Mutex::default(),
            tenants: RwLock::default(),
            cores: Mutex::default(),
            operation: Mutex::default(),
            gauges: Mutex::default(),
            reasons: Reasons::default(),
        }
    }

    fn record(&self, tenant: &str, record: impl FnOnce(&mut Series)) {
        let series = self.series(label(tenant));
        record(&mut series.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn series(&self, tenant: &str) -> Arc<Mutex<Series>> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(tenant) {
            return Arc::clone(series);
        }
        let is_full = known.len() >= self.max_tenants;
        drop(known);
        let is_known = self.is_known.get().is_none_or(|is_known| is_known(tenant));
        let has_label = is_known && (!is_full || self.evict(Instant::now()));
        let label = if has_label { tenant } else { UNKNOWN };
        let mut tenants = self.tenants_mut();
        Arc::clone(
            tenants
                .entry(label.to_owned())
                .or_insert_with(|| Arc::new(Mutex::new(Series::new(Instant::now())))),
        )
    }

    /// Removes the series of the tenants that were not heard of for the longest, and for
    /// [`EVICTABLE_AFTER`] at least. True if there is room for another now.
    fn evict(&self, now: Instant) -> bool {
        let mut evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        if evicted.is_some_and(|at| now.saturating_duration_since(at) < EVICTION_PERIOD) {
            return false;
        }
        *evicted = Some(now);
        drop(evicted);
        let heard = |series: &Mutex<Series>| {
            let series = series.lock().unwrap_or_else(PoisonError::into_inner);
            series.heard()
        };
        let mut idle: Vec<_> = self
            .all_series()
            .into_iter()
            .filter(|(tenant, _)| tenant != UNKNOWN)
            .map(|(tenant, series)| (heard(&series), tenant))
            .filter(|(heard, _)| now.saturating_duration_since(*heard) >= EVICTABLE_AFTER)
            .collect();
        idle.sort_unstable();
        idle.truncate(self.max_tenants.div_ceil(EVICTED_PART));
        let mut tenants = self.tenants_mut();
        for (_, tenant) in &idle {
            tenants.remove(tenant);
        }
        !idle.is_empty()
    }

    /// A copy, so that nobody waits while a page is written.
    fn all_series(&self) -> Vec<(String, Arc<Mutex<Series>>)> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let tenants = tenants.iter();
        tenants
            .map(|(tenant, series)| (tenant.clone(), Arc::clone(series)))
            .collect()
    }

    fn tenants_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<Mutex<Series>>>> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn cores(&self) -> MutexGuard<'_, Cores> {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self) -> MutexGuard<'_, Operation> {
        self.operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, now: Instant) -> Page {
        let mut page = Page::new(&[
            ("component_name", crate::COMPONENT),
            ("component_type", "adapter"),
            ("host", &self.host),
        ]);
        let (name, help) = UNAUTHENTICATED;
        // Connections that are not authenticated are not counted by this adapter (spec: metrics-health §2).
        page.gauge(name, help, &[], 0.0);
        for (tenant, series) in self.all_series() {
            let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
            series.write(&mut page, &tenant, now);
        }
        let cores = self.cores();
        cores.write(&mut page);
        self.reasons.write(&mut page, cores.handshakes());
        drop(cores);
        self.operation().write(&mut page);
        self.gauges().write(&mut page);
        page
    }
}

/// Hands the meters to the registry. They describe themselves when they are collected: which there are is not known before.
struct Shared(Arc<Meters>);

impl Collector for Shared {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.page(Instant::now()).into_families()
    }
}

/// Metrics are floating point numbers.
#[must_use]
pub fn count_of(number: usize) -> f64 {
    page::approximate(u64::try_from(number).unwrap_or(u64::MAX))
}

/// The label of a tenant.
fn label(tenant: &str) -> &str {
    if tenant.is_empty() { UNKNOWN } else { tenant }
}

const UNKNOWN: &str = "UNKNOWN";

const UNAUTHENTICATED: Meter = (
    "hono_connections_unauthenticated",
    "Connections without authentication.",
);

type IsKnown = dyn Fn(&str) -> bool + Send + Sync;

/// A tenant that was heard of within this time keeps its series, even if another needs the room.
const EVICTABLE_AFTER: Duration = Duration::from_secs(60);

/// The table is looked through for idle tenants this often at most.
const EVICTION_PERIOD: Duration = Duration::from_secs(1);

/// At most this part of the table is evicted at once.
const EVICTED_PART: usize = 16;

/// Maximum number of tenants with a label of their own.
const MAX_TENANTS: usize = 10_000;

/// TEST-NET-1 (RFC 5737), which is no host's.
const DOCUMENTATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DISCARD: u16 = 9;

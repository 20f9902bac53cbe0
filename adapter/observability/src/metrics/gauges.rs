//! What there is at the moment: told by who has it, or asked for when the page is written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use super::page::Page;

macro_rules! gauges {
    ($($(#[doc = $doc:literal])+ $gauge:ident = $name:literal $([$label:literal])?,)+) => {
        /// A quantity that goes up and down. Each has one label of its own at most, with a few fixed values.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Gauge {
            $($(#[doc = $doc])+ $gauge,)+
        }

        impl Gauge {
            /// Every gauge.
            pub const ALL: &'static [Self] = &[$(Self::$gauge,)+];

            /// Its name on the page.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$gauge => $name,)+ }
            }

            /// The label of its own.
            #[must_use]
            pub const fn label(self) -> &'static [&'static str] {
                match self { $(Self::$gauge => &[$($label)?],)+ }
            }

            /// What it tells.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$gauge => concat!($($doc),+).trim_ascii_start(),)+ }
            }
        }
    };
}

gauges! {
    /// 1 while all AMQP connections of this role are established, otherwise 0.
    AmqpConnected = "coap_adapter_amqp_connected"["role"],
    /// Unused credit granted by applications, summed over all tenants.
    AmqpCredit = "coap_adapter_amqp_credit"["type"],
    /// Messages sent over AMQP and not yet settled.
    AmqpInFlight = "coap_adapter_amqp_deliveries_in_flight"["role"],
    /// AMQP links to tenant addresses.
    AmqpLinks = "coap_adapter_amqp_links"["type"],
    /// Expiry time of a certificate, in seconds since 1970.
    CertificateExpiry = "coap_adapter_certificate_expiry_timestamp_seconds"["certificate"],
    /// Open HTTP connections.
    HttpConnections = "coap_adapter_http_connections"["port"],
    /// Lookups in progress: of tenants not known to exist, of registrations, and at OCSP responders.
    Lookups = "coap_adapter_lookups_in_progress"["kind"],
    /// Requests waiting for a command (hono-ttd).
    ParkedRequests = "coap_adapter_parked_requests",
    /// Length of an internal queue.
    QueueDepth = "coap_adapter_queue_depth"["queue"],
    /// Requests in progress, including those waiting for a command.
    RequestsInProgress = "coap_adapter_requests_in_progress",
    /// Maximum number of entries of a table, or of bytes for a table of bytes.
    TableBound = "coap_adapter_table_bound"["table"],
    /// Bytes used by the entries of a table, where known.
    TableBytes = "coap_adapter_table_bytes"["table"],
    /// Current number of entries of a table.
    TableEntries = "coap_adapter_table_entries"["table"],
    /// Resident memory of the process.
    ResidentMemory = "process_resident_memory_bytes",
}

/// All gauges that have a value, by the value of their label; empty if they have none.
#[derive(Default)]
pub(super) struct Gauges(BTreeMap<(Gauge, &'static str), Source>);

pub(super) enum Source {
    /// Told last, by each shard; their sum counts.
    Values(BTreeMap<usize, f64>),
    /// Asked for.
    Read(Box<dyn Fn() -> Option<f64> + Send + Sync>),
}

impl Gauges {
    pub(super) fn put(&mut self, gauge: Gauge, label: &'static str, source: Source) {
        self.0.insert((gauge, label), source);
    }

    /// Takes the last word of a shard.
    pub(super) fn tell(&mut self, gauge: Gauge, label: &'static str, shard: usize, value: f64) {
        let place = self.0.entry((gauge, label));
        match place.or_insert_with(|| Source::Values(BTreeMap::new())) {
            Source::Values(values) => {
                values.insert(shard, value);
            }
            Source::Read(_) => {}
        }
    }

    pub(super) fn remove(&mut self, gauge: Gauge, label: &'static str) {
        self.0.remove(&(gauge, label));
    }

    pub(super) fn write(&self, page: &mut Page) {
        for ((gauge, value), source) in &self.0 {
            let number = match source {
                Source::Values(values) => Some(values.values().sum()),
                Source::Read(read) => read(),
            };
            let labels: Vec<_> = gauge.label().iter().map(|name| (*name, *value)).collect();
            if let Some(number) = number {
                page.gauge(gauge.name(), gauge.help(), &labels, number);
            }
        }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

/// What the kernel says of this process (proc(5), `VmRSS`); nothing where it does not.
pub(super) fn resident_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

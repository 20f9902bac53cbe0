//! What the protocols count by themselves: every counter and gauge of theirs, under its own name.

use std::collections::BTreeMap;

use super::description::{Description, Kind, described};
use super::{count_of, labels::Transport, page::Page, reasons::Handshakes};

/// The last word of each core, by the shard it serves; on the page all shards are added up.
#[derive(Debug, Default)]
pub(super) struct Cores {
    pub(super) dtls: BTreeMap<usize, Dtls>,
    pub(super) coap: BTreeMap<Transport, BTreeMap<usize, coap_proto::Statistics>>,
    pub(super) sockets: BTreeMap<Transport, BTreeMap<usize, dtls_server::SocketStatistics>>,
}

/// What a DTLS listener tells.
#[derive(Debug)]
pub(super) struct Dtls {
    pub(super) statistics: dtls_server::Statistics,
    pub(super) gauges: dtls_server::Gauges,
    pub(super) passed_on: dtls_server::PassedOn,
}

impl Cores {
    /// What the DTLS server counted of handshakes.
    pub(super) fn handshakes(&self) -> Handshakes {
        let sum = |field: fn(&dtls_server::Statistics) -> u64| {
            self.dtls.values().map(|of| field(&of.statistics)).sum()
        };
        Handshakes {
            established: sum(|counted| counted.handshakes_established),
            resumed: sum(|counted| counted.resumptions_established),
            bad_cookies: sum(|counted| counted.bad_cookies),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let all = self.dtls.values();
        for (field, value) in summed(all.clone().map(|of| of.statistics.iter())) {
            let help = help_of(dtls_server::Statistics::DESCRIPTIONS, field);
            let name = format!("{}_total", name_of("dtls", field));
            page.counter(&name, help, &[], value);
        }
        let passed_on = all.clone().map(|of| {
            let values = [of.passed_on.datagrams, of.passed_on.lost];
            PASSED_ON.map(|(field, _)| field).into_iter().zip(values)
        });
        for (field, value) in summed(passed_on) {
            let name = format!("{}_total", name_of("dtls", field));
            page.counter(&name, help_of(&PASSED_ON, field), &[], value);
        }
        let gauges = all.map(|of| {
            let values = [of.gauges.sessions, of.gauges.handshakes, of.gauges.lookups];
            DTLS_GAUGES.map(|(field, _)| field).into_iter().zip(values)
        });
        for (field, value) in summed(gauges) {
            let help = help_of(&DTLS_GAUGES, field);
            page.gauge(&name_of("dtls", field), help, &[], count_of(value));
        }
        for transport in Transport::ALL {
            let shards = self.sockets.get(transport);
            let counted = shards.into_iter().flat_map(BTreeMap::values).map(|of| {
                let values = [of.unsent, of.receive_errors];
                SOCKET.map(|(field, _)| field).into_iter().zip(values)
            });
            for (field, value) in summed(counted) {
                let name = format!("{}_total", name_of(transport.as_str(), field));
                page.counter(&name, help_of(&SOCKET, field), &[], value);
            }
        }
        for (transport, shards) in &self.coap {
            let labels = [("transport", transport.as_str())];
            for (field, value) in summed(shards.values().map(coap_proto::Statistics::iter)) {
                let help = help_of(coap_proto::Statistics::DESCRIPTIONS, field);
                let name = format!("{}_total", name_of("coap", field));
                page.counter(&name, help, &labels, value);
            }
        }
    }
}

/// Each field with the sum of its values, in the order in which all have them.
fn summed<N: std::ops::AddAssign>(
    all: impl Iterator<Item = impl Iterator<Item = (&'static str, N)>>,
) -> Vec<(&'static str, N)> {
    let mut sums: Vec<(&'static str, N)> = Vec::new();
    for fields in all {
        for (place, (field, value)) in fields.enumerate() {
            match sums.get_mut(place) {
                Some((_, sum)) => *sum += value,
                None => sums.push((field, value)),
            }
        }
    }
    sums
}

/// What a field is called on the page.
fn name_of(core: &str, field: &str) -> String {
    format!("coap_adapter_{core}_{field}")
}

/// The help of a core's counter.
fn help_of(counters: &[(&'static str, &'static str)], field: &str) -> &'static str {
    let found = counters.iter().find(|(name, _)| *name == field);
    found.map_or("", |(_, help)| help.trim_ascii_start())
}

/// Every metric of the cores.
pub(super) fn descriptions() -> impl Iterator<Item = Description> {
    let counters = |core: &'static str,
                    counters: &'static [(&'static str, &'static str)],
                    labels: &'static [&'static str]| {
        counters.iter().map(move |(field, help)| {
            let name = format!("{}_total", name_of(core, field));
            described(&name, Kind::Counter, labels, help.trim_ascii_start())
        })
    };
    let dtls = counters("dtls", dtls_server::Statistics::DESCRIPTIONS, &[]);
    let passed_on = counters("dtls", &PASSED_ON, &[]);
    let coap = counters("coap", coap_proto::Statistics::DESCRIPTIONS, &["transport"]);
    let gauges = DTLS_GAUGES
        .iter()
        .map(|(field, help)| described(&name_of("dtls", field), Kind::Gauge, &[], help));
    let sockets = Transport::ALL
        .iter()
        .flat_map(move |transport| counters(transport.as_str(), &SOCKET, &[]));
    dtls.chain(passed_on)
        .chain(coap)
        .chain(gauges)
        .chain(sockets)
}

const SOCKET: [(&str, &str); 2] = [
    (
        "datagrams_unsent",
        "Datagrams not sent because the kernel's buffer was full or the kernel refused them.",
    ),
    (
        "receive_errors",
        "Errors while receiving datagrams; each is followed by a retry.",
    ),
];

const PASSED_ON: [(&str, &str); 2] = [
    (
        "datagrams_passed_on",
        "Datagrams forwarded to the shard that owns their session.",
    ),
    (
        "datagrams_not_passed_on",
        "Datagrams for another shard that were dropped because its mailbox was full.",
    ),
];

const DTLS_GAUGES: [(&str, &str); 3] = [
    ("sessions", "Established DTLS sessions."),
    ("handshakes", "DTLS handshakes in progress."),
    (
        "lookups",
        "Lookups of keys and certificates, running and queued.",
    ),
];

//! What the protocols count by themselves: every counter and gauge of theirs, under its own name.

use std::collections::BTreeMap;

use super::catalogue::{Description, Kind, described};
use super::{count_of, labels::Transport, page::Page, reasons::Handshakes};

/// The last word of each core.
#[derive(Debug, Default)]
pub(super) struct Cores {
    pub(super) dtls: Option<(dtls_server::Statistics, dtls_server::Gauges)>,
    pub(super) coap: BTreeMap<Transport, coap_proto::Statistics>,
}

impl Cores {
    /// What the DTLS server counted of handshakes.
    pub(super) fn handshakes(&self) -> Handshakes {
        let counted = self.dtls.as_ref().map(|(counted, _)| Handshakes {
            established: counted.handshakes_established,
            resumed: counted.resumptions_established,
            bad_cookies: counted.bad_cookies,
        });
        counted.unwrap_or_default()
    }

    pub(super) fn write(&self, page: &mut Page) {
        if let Some((statistics, gauges)) = &self.dtls {
            for (field, value) in statistics.iter() {
                let help = help_of(dtls_server::Statistics::DESCRIPTIONS, field);
                page.counter(
                    &format!("{}_total", name_of("dtls", field)),
                    help,
                    &[],
                    value,
                );
            }
            let values = [gauges.sessions, gauges.handshakes, gauges.lookups];
            for ((field, help), value) in DTLS_GAUGES.iter().zip(values) {
                page.gauge(&name_of("dtls", field), help, &[], count_of(value));
            }
        }
        for (transport, statistics) in &self.coap {
            for (field, value) in statistics.iter() {
                let help = help_of(coap_proto::Statistics::DESCRIPTIONS, field);
                let labels = [("transport", transport.as_str())];
                page.counter(
                    &format!("{}_total", name_of("coap", field)),
                    help,
                    &labels,
                    value,
                );
            }
        }
    }
}

/// What a field is called on the page.
fn name_of(core: &str, field: &str) -> String {
    format!("coap_adapter_{core}_{field}")
}

/// The help of a core's counter.
fn help_of(counters: &'static [(&'static str, &'static str)], field: &str) -> &'static str {
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
    let coap = counters("coap", coap_proto::Statistics::DESCRIPTIONS, &["transport"]);
    let gauges = DTLS_GAUGES
        .iter()
        .map(|(field, help)| described(&name_of("dtls", field), Kind::Gauge, &[], help));
    dtls.chain(coap).chain(gauges)
}

const DTLS_GAUGES: [(&str, &str); 3] = [
    ("sessions", "DTLS sessions that are established."),
    ("handshakes", "DTLS handshakes under way."),
    (
        "lookups",
        "Look-ups of keys and certificates that run or wait for their turn.",
    ),
];

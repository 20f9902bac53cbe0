//! What the protocols count by themselves: every counter and gauge of theirs, under its own name.

use std::collections::BTreeMap;

use super::{labels::Transport, page::Page, series::approximate};

/// The last word of each core.
#[derive(Debug, Default)]
pub(super) struct Cores {
    pub(super) dtls: Option<(dtls_server::Statistics, dtls_server::Gauges)>,
    pub(super) coap: BTreeMap<Transport, coap_proto::Statistics>,
}

impl Cores {
    pub(super) fn write(&self, page: &mut Page) {
        if let Some((statistics, gauges)) = &self.dtls {
            for (name, value) in statistics.iter() {
                let (name, help) = described("dtls", name);
                page.counter(&format!("{name}_total"), &help, &[], value);
            }
            for (name, value) in [
                ("sessions", gauges.sessions),
                ("handshakes", gauges.handshakes),
                ("lookups", gauges.lookups),
            ] {
                let (name, help) = described("dtls", name);
                let value = approximate(u64::try_from(value).unwrap_or(u64::MAX));
                page.gauge(&name, &help, &[], value);
            }
        }
        for (transport, statistics) in &self.coap {
            for (name, value) in statistics.iter() {
                let (name, help) = described("coap", name);
                let labels = [("transport", transport.as_str())];
                page.counter(&format!("{name}_total"), &help, &labels, value);
            }
        }
    }
}

/// Name and help by the name of a field.
fn described(core: &str, field: &str) -> (String, String) {
    let words = field.replace('_', " ");
    let help = format!("{}: {words}.", core.to_uppercase());
    (format!("coap_adapter_{core}_{field}"), help)
}

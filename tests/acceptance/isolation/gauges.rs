//! What the metrics say when an attack is over: nothing is left of what lives as long as a request,
//! and no table has more than its bound.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use acceptance::stand::{Stand, page};
use tokio::time::sleep;

use super::Setting;

/// Gauges that are zero while nobody sends anything.
const TRANSIENT: &[&str] = &[
    "coap_adapter_requests_in_progress",
    "coap_adapter_parked_requests",
    "coap_adapter_amqp_deliveries_in_flight",
    "coap_adapter_dtls_lookups",
    "coap_adapter_lookups_in_progress",
    "coap_adapter_queue_depth",
    "coap_adapter_table_entries{table=\"requests\"}",
    "coap_adapter_table_entries{table=\"request_bytes\"}",
    "coap_adapter_table_entries{table=\"parked_requests\"}",
];

/// Asserts that transient gauges return to zero once nobody sends any more, and that each table is
/// within its bound.
pub(super) async fn assert_return(stand: &Stand, setting: Setting) {
    let health = stand.app().health_address();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let gauges = Gauges::read(health).await;
        gauges.assert_within_bounds(setting);
        let left = gauges.transient();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{setting:?}: still {left:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Values by name and own label, as `name{label="value"}`.
struct Gauges(BTreeMap<String, f64>);

impl Gauges {
    /// Reads the page, again if it is not answered.
    async fn read(health: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok((200, page)) = page(health, "/prometheus").await {
                return Self::parse(&page);
            }
            assert!(Instant::now() < deadline, "no metrics");
        }
    }

    fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{')?;
            let own: Vec<_> = labels
                .trim_end_matches('}')
                .split(',')
                .filter(|label| !COMMON.iter().any(|common| label.starts_with(common)))
                .collect();
            let series = match own.as_slice() {
                [] => name.to_owned(),
                own => format!("{name}{{{}}}", own.join(",")),
            };
            Some((series, value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// Transient gauges that are not zero.
    fn transient(&self) -> Vec<(&str, f64)> {
        let is_transient = |series: &str| {
            let mut names = TRANSIENT.iter();
            names.any(|name| series == *name || series.split('{').next() == Some(name))
        };
        let values = self.0.iter();
        let mut seen = 0;
        let left = values
            .filter(|(series, _)| is_transient(series))
            .inspect(|_| seen += 1)
            .filter(|(_, value)| **value > 0.0)
            .map(|(series, value)| (series.as_str(), *value))
            .collect();
        assert!(seen >= TRANSIENT.len(), "only {seen} transient gauges");
        left
    }

    fn assert_within_bounds(&self, setting: Setting) {
        let mut compared = 0;
        for (series, bound) in &self.0 {
            let Some(table) = series
                .strip_prefix("coap_adapter_table_bound{table=\"")
                .and_then(|rest| rest.strip_suffix("\"}"))
            else {
                continue;
            };
            // Some tables are reported by each port.
            let entries: Vec<_> = ["", "_udp", "_dtls"]
                .map(|port| format!("coap_adapter_table_entries{{table=\"{table}{port}\"}}"))
                .into_iter()
                .filter_map(|series| self.0.get(&series))
                .collect();
            compared += usize::from(!entries.is_empty());
            let entries: f64 = entries.into_iter().sum();
            assert!(
                entries <= *bound,
                "{setting:?}, {table}: {entries} of {bound}"
            );
        }
        assert!(compared >= 8, "only {compared} tables compared");
    }
}

/// Labels that every series has.
const COMMON: [&str; 3] = ["component_name=", "component_type=", "host="];

/// Much longer than any request lives, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

//! Every metric there is, for the page of documentation and for who checks dashboards.

use super::description::{Description, Kind, described};
use super::gauges::Gauge;
use super::page::greatest;
use super::{UNAUTHENTICATED, cores, operation, reasons, series};

/// All metrics, by name.
#[must_use]
pub fn descriptions() -> Vec<Description> {
    let mut all = Vec::new();
    for ((name, help), labels) in series::DISTRIBUTIONS {
        all.push(described(name, Kind::Summary, labels, help));
        let (name, help) = greatest(name, help);
        all.push(described(&name, Kind::Gauge, labels, &help));
    }
    for ((name, help), labels) in series::COUNTERS {
        all.push(described(name, Kind::Counter, labels, help));
    }
    let (name, help) = UNAUTHENTICATED;
    all.push(described(name, Kind::Gauge, &[], help));
    for ((name, help), labels) in [
        reasons::HANDSHAKES_TOTAL,
        reasons::REFUSED_TOTAL,
        operation::RELOADS_TOTAL,
        operation::OVER_BUDGET_TOTAL,
        operation::TURNS_EXPIRED_TOTAL,
        operation::WAITS_DISPLACED_TOTAL,
    ] {
        all.push(described(name, Kind::Counter, labels, help));
    }
    for gauge in Gauge::ALL {
        let help = gauge.help();
        all.push(described(gauge.name(), Kind::Gauge, gauge.label(), help));
    }
    all.extend(cores::descriptions());
    all.sort();
    all
}

/// As a table in Markdown, for the page of documentation.
#[must_use]
pub fn table() -> String {
    let mut table = "| Metric | Kind | Labels | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in descriptions() {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        table += &format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        );
    }
    table
}

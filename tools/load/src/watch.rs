//! What the adapter tells of itself while a run goes on: its memory and all its gauges, every few seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{http, process::Usage};

/// Looks at an adapter.
pub(crate) struct Watch {
    health: SocketAddr,
    process: u32,
    begun: Instant,
    due: Instant,
    samples: Vec<Sample>,
}

/// A moment of it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sample {
    /// Seconds since the beginning.
    second: f64,
    /// Kilobytes.
    resident: u64,
    /// By name and labels.
    gauges: BTreeMap<String, f64>,
}

/// Whether something grew that should not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Steadiness {
    /// Kilobytes that the memory grew by in a minute, in the second half of the time under load.
    pub(crate) growth: f64,
    /// Kilobytes at the middle of the time under load, and at its end.
    pub(crate) middle: u64,
    pub(crate) end: u64,
    /// Gauges of what is under way, remembered or waited for that are higher after the load than before it.
    pub(crate) drifted: Vec<Drift>,
    /// How many such gauges there are.
    pub(crate) gauges: usize,
}

/// A gauge that did not go back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drift {
    pub(crate) gauge: String,
    pub(crate) before: f64,
    pub(crate) most: f64,
    pub(crate) after: f64,
}

impl Watch {
    pub(crate) fn new(health: SocketAddr, process: u32) -> Self {
        let now = Instant::now();
        Self {
            health,
            process,
            begun: now,
            due: now,
            samples: Vec::new(),
        }
    }

    /// Looks if it is time to; an adapter that does not answer in time is left out.
    pub(crate) fn look_when_due(&mut self) {
        if self.due <= Instant::now() {
            self.look();
        }
    }

    /// Looks now, and tells which look it was.
    pub(crate) fn look(&mut self) -> usize {
        let now = Instant::now();
        self.due = now + EVERY;
        if let (Ok(text), Some(usage)) = (
            http::get(self.health, "/prometheus"),
            Usage::of(self.process),
        ) {
            self.samples.push(Sample {
                second: (now - self.begun).as_secs_f64(),
                resident: usage.resident,
                gauges: gauges(&text),
            });
        }
        self.samples.len().saturating_sub(1)
    }

    /// A line for each look, a column for each gauge.
    pub(crate) fn to_csv(&self) -> String {
        let names: BTreeSet<&String> = self
            .samples
            .iter()
            .flat_map(|it| it.gauges.keys())
            .collect();
        let mut text = "second,rss_kb".to_owned();
        for name in &names {
            // Labels have quotes and commas.
            text.extend([",\"", &name.replace('"', "\"\""), "\""]);
        }
        text.push('\n');
        for sample in &self.samples {
            text += &format!("{:.1},{}", sample.second, sample.resident);
            for name in &names {
                match sample.gauges.get(*name) {
                    Some(value) => text += &format!(",{value}"),
                    None => text.push(','),
                }
            }
            text.push('\n');
        }
        text
    }

    /// What the looks from before the load to its end, and after the rest that followed, tell.
    pub(crate) fn steadiness(&self, before: usize, end: usize) -> Option<Steadiness> {
        let load = self.samples.get(before..=end)?;
        let second_half = load.get(load.len() / 2..)?;
        let (middle, last) = (second_half.first()?, second_half.last()?);
        let (first, rested) = (load.first()?, self.samples.last()?);
        let held = rested.gauges.iter().filter(|(name, _)| is_held(name));
        let mut drifted = Vec::new();
        for (name, after) in held.clone() {
            let of = |sample: &Sample| sample.gauges.get(name).copied().unwrap_or(0.0);
            let before = of(first);
            if *after > before + (before * 0.01).max(1.0) {
                drifted.push(Drift {
                    gauge: name.clone(),
                    before,
                    most: load.iter().map(of).fold(before, f64::max),
                    after: *after,
                });
            }
        }
        Some(Steadiness {
            growth: slope(second_half) * 60.0,
            middle: middle.resident,
            end: last.resident,
            drifted,
            gauges: held.count(),
        })
    }
}

impl Steadiness {
    /// Nothing grew that should not: neither gauges, nor memory by more than a fiftieth in the second half.
    #[expect(clippy::cast_precision_loss, reason = "kilobytes are far from 2^53")]
    pub(crate) fn holds(&self) -> bool {
        let grown = self.end.saturating_sub(self.middle) as f64;
        self.drifted.is_empty() && grown <= self.middle as f64 / 50.0
    }
}

/// The least squares' line through the memory, in kilobytes a second.
#[expect(clippy::cast_precision_loss, reason = "kilobytes are far from 2^53")]
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / count;
    let (second, resident) = (mean(|it| it.second), mean(|it| it.resident as f64));
    let (mut both, mut square) = (0.0, 0.0);
    for sample in samples {
        let from = sample.second - second;
        both += from * (sample.resident as f64 - resident);
        square += from * from;
    }
    if square > 0.0 { both / square } else { 0.0 }
}

/// Whether a gauge counts something that has to be given back when the work is done.
fn is_held(name: &str) -> bool {
    HELD.iter().any(|held| name.starts_with(held)) && !KEPT.iter().any(|kept| name.contains(kept))
}

/// The gauges of a page in Prometheus' text format, without the labels that all have.
fn gauges(page: &str) -> BTreeMap<String, f64> {
    let mut kind = "";
    let mut gauges = BTreeMap::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            kind = typed.rsplit(' ').next().unwrap_or_default();
        } else if kind == "gauge"
            && !line.starts_with('#')
            && let Some((name, value)) = line.rsplit_once(' ')
            && let Ok(value) = value.parse()
        {
            gauges.insert(own_labels(name), value);
        }
    }
    gauges
}

fn own_labels(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let own: Vec<_> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !COMMON.iter().any(|common| label.starts_with(common)))
        .collect();
    match own.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", own.join(",")),
    }
}

const EVERY: Duration = Duration::from_secs(5);
/// How old a gauge may be when it is read: the adapter's ports tell theirs every second.
pub(crate) const GAUGES_LAG: Duration = Duration::from_secs(2);
const COMMON: [&str; 3] = ["host=", "component_type=", "component_name="];
/// What is under way, remembered or waited for.
const HELD: [&str; 9] = [
    "coap_adapter_amqp_deliveries_in_flight",
    "coap_adapter_dtls_handshakes",
    "coap_adapter_dtls_lookups",
    "coap_adapter_dtls_sessions",
    "coap_adapter_parked_requests",
    "coap_adapter_queue_depth",
    "coap_adapter_requests_in_progress",
    "coap_adapter_table_bytes",
    "coap_adapter_table_entries",
];
/// Caches are full or not, up to their bounds, whatever is under way.
const KEPT: [&str; 3] = ["kept_", "recent_devices", "dtls_resumable"];

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Sample, Watch, gauges};

    #[test]
    fn gauges_are_read_and_counters_left() {
        let page = "# HELP a words\n# TYPE a counter\na 1\n# TYPE b gauge\nb{host=\"h\",table=\"x y\"} 2\nb{host=\"h\"} 3.5\n";
        let read: Vec<_> = gauges(page).into_iter().collect();
        let wanted = [("b", 3.5), ("b{table=\"x y\"}", 2.0)];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value)));
    }

    fn watch(samples: &[(u64, f64)]) -> Watch {
        let now = Instant::now();
        let sample = |(second, (resident, entries)): (u32, &(u64, f64))| Sample {
            second: f64::from(second) * 5.0,
            resident: *resident,
            gauges: [
                ("coap_adapter_table_entries".to_owned(), *entries),
                ("coap_adapter_amqp_credit".to_owned(), f64::from(second)),
            ]
            .into(),
        };
        Watch {
            health: "127.0.0.1:1".parse().unwrap(),
            process: 0,
            begun: now,
            due: now,
            samples: (0..).zip(samples).map(sample).collect(),
        }
    }

    #[test]
    fn what_is_kept_to_spare_work_need_not_be_given_back() {
        let entries = |table| format!("coap_adapter_table_entries{{table=\"{table}\"}}");
        assert!(super::is_held(&entries("dtls_sessions")));
        assert!(!super::is_held(&entries("kept_registrations")));
        assert!(!super::is_held("coap_adapter_amqp_credit"));
    }

    #[test]
    fn what_goes_back_after_the_load_has_not_drifted() {
        let steady = watch(&[
            (100, 5.0),
            (900, 80.0),
            (1000, 90.0),
            (1000, 90.0),
            (1000, 5.0),
        ]);
        let reported = steady.steadiness(0, 3).unwrap();
        assert!(
            reported.holds() && reported.growth.abs() < 1e-9,
            "{reported:?}"
        );
        let drifting = watch(&[
            (100, 5.0),
            (900, 80.0),
            (1000, 90.0),
            (1100, 90.0),
            (1000, 50.0),
        ]);
        let reported = drifting.steadiness(0, 3).unwrap();
        // 100 kB in 5 s.
        assert!((reported.growth - 1_200.0).abs() < 1e-6, "{reported:?}");
        assert!(
            reported.drifted.len() == 1 && !reported.holds(),
            "{reported:?}"
        );
        let csv = steady.to_csv();
        assert_eq!(csv.lines().count(), 6);
        assert!(csv.lines().nth(2).unwrap().starts_with("5.0,900,1,80"));
    }
}

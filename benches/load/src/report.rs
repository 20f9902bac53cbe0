//! What came out: a table for people, JSON for programs.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::{application::Arrived, coap, process::Usage, scenario::Scenario, worker::Tally};

pub(crate) struct Report {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) tally: Tally,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) cost: Option<Cost>,
}

/// What devices were told, held against what the application got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) arrived: u64,
    /// Answered 2.04, and not received.
    pub(crate) lost: u64,
    /// Received more than once.
    pub(crate) duplicates: u64,
}

impl Delivery {
    pub(crate) fn of(acknowledged: &[(u32, u32)], arrived: &Arrived) -> Self {
        let lost = acknowledged.iter().filter(|it| !arrived.contains_key(it));
        let twice = arrived.values().filter(|count| **count > 1);
        Self {
            arrived: arrived.len() as u64,
            lost: lost.count() as u64,
            duplicates: twice.count() as u64,
        }
    }
}

/// What the server process took.
pub(crate) struct Cost {
    /// With all sessions, before the first request.
    pub(crate) before: Usage,
    pub(crate) after: Usage,
    /// The most that was seen meanwhile, in kilobytes.
    pub(crate) peak: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts are far from 2^53")]
impl Report {
    fn answered(&self) -> u64 {
        self.tally.latencies.count()
    }

    /// Answers a second.
    fn rate(&self) -> f64 {
        self.answered() as f64 / self.tally.lasted.as_secs_f64().max(0.001)
    }

    /// Answers a second of the server's CPU.
    fn per_cpu_second(&self) -> Option<f64> {
        let cost = self.cost.as_ref()?;
        let spent = cost.after.cpu - cost.before.cpu;
        (spent > 0.0).then(|| self.answered() as f64 / spent)
    }

    /// Whether nothing failed, was lost or came twice.
    pub(crate) fn is_clean(&self) -> bool {
        let good = self.tally.codes.keys().all(|code| *code == coap::CHANGED);
        let delivered = self.delivery.is_none_or(|it| it.lost + it.duplicates == 0);
        good && delivered && self.tally.gave_up == 0
    }

    pub(crate) fn to_json(&self) -> Value {
        let tally = &self.tally;
        let latencies: serde_json::Map<String, Value> = PERCENTILES
            .iter()
            .map(|(name, percent)| {
                (
                    (*name).to_owned(),
                    json!(tally.latencies.percentile(*percent)),
                )
            })
            .collect();
        let codes: serde_json::Map<String, Value> = tally
            .codes
            .iter()
            .map(|(code, count)| (words(*code), json!(count)))
            .collect();
        let seconds: Vec<Value> = tally
            .seconds
            .iter()
            .map(|second| {
                let [p50, p99] = [50.0, 99.0].map(|percent| second.latencies.percentile(percent));
                json!({"good": second.good, "bad": second.bad, "p50": p50, "p99": p99})
            })
            .collect();
        json!({
            "operation": format!("{:?}", self.scenario.operation).to_lowercase(),
            "devices": self.scenario.devices, "rate": self.scenario.rate, "seed": self.seed,
            "duration": self.scenario.duration.as_secs_f64(), "loss": self.scenario.loss,
            "intended": tally.intended, "answered": self.answered(), "answered_per_second": self.rate(),
            "set_up_seconds": tally.set_up.as_secs_f64(),
            "latency_ms": latencies, "codes": codes, "handshakes": tally.established,
            "unanswered": tally.gave_up, "sent_again": tally.repeated,
            "arrived": self.delivery.map(|it| it.arrived), "lost": self.delivery.map(|it| it.lost),
            "duplicates": self.delivery.map(|it| it.duplicates),
            "answered_per_cpu_second": self.per_cpu_second(),
            "rss_kb": self.cost.as_ref().map(|cost| {
                json!({"before": cost.before.resident, "peak": cost.peak, "after": cost.after.resident})
            }),
            "seconds": seconds,
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f, "meant         {:>12}", tally.intended)?;
        writeln!(
            f,
            "answered      {:>12}  {:.0}/s",
            self.answered(),
            self.rate()
        )?;
        for (code, count) in &tally.codes {
            writeln!(f, "  {:<11} {count:>12}", words(*code))?;
        }
        if tally.established > 0 {
            writeln!(f, "  handshakes  {:>12}", tally.established)?;
        }
        writeln!(f, "unanswered    {:>12}", tally.gave_up)?;
        writeln!(f, "sent again    {:>12}", tally.repeated)?;
        if let Some(delivery) = &self.delivery {
            writeln!(f, "arrived       {:>12}", delivery.arrived)?;
            writeln!(f, "  lost        {:>12}", delivery.lost)?;
            writeln!(f, "  twice       {:>12}", delivery.duplicates)?;
        }
        for (name, percent) in PERCENTILES {
            let value = tally.latencies.percentile(percent);
            writeln!(f, "{name:<13} {value:>12.2} ms")?;
        }
        if let Some(cost) = &self.cost {
            let spent = cost.after.cpu - cost.before.cpu;
            writeln!(f, "server CPU    {spent:>12.2} s")?;
            if let Some(rate) = self.per_cpu_second() {
                writeln!(f, "  a CPU-s     {rate:>12.0}")?;
            }
            writeln!(
                f,
                "server RSS    {:>12} kB before, {} at most, {} after",
                cost.before.resident, cost.peak, cost.after.resident
            )?;
        }
        Ok(())
    }
}

/// A code as RFC 7252 writes it; a Reset has none.
fn words(code: u8) -> String {
    match code {
        0 => "reset".to_owned(),
        code => format!("{}.{:02}", code >> 5, code & 31),
    }
}

const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p95", 95.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

#[cfg(test)]
mod tests {
    use super::{Arrived, Delivery, words};

    #[test]
    fn what_was_answered_and_did_not_arrive_is_lost() {
        let arrived = Arrived::from([((1, 0), 1), ((1, 1), 2), ((2, 0), 1)]);
        let delivery = Delivery::of(&[(1, 0), (1, 1), (3, 0)], &arrived);
        let wanted = Delivery {
            arrived: 3,
            lost: 1,
            duplicates: 1,
        };
        assert_eq!(delivery, wanted);
    }

    #[test]
    fn codes_are_written_as_everybody_does() {
        assert_eq!([0x44, 0xA3, 0].map(words), ["2.04", "5.03", "reset"]);
    }
}

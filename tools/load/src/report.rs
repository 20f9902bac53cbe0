//! What came out: a table for people, JSON for programs.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
};

use serde_json::{Value, json};

use crate::{
    application::Arrived,
    coap,
    histogram::Histogram,
    process::Usage,
    scenario::{Operation, Scenario},
    tally::{StormTally, Tally},
    watch::Steadiness,
};

pub(crate) struct Report {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    pub(crate) tally: Tally,
    /// None if nobody listened.
    pub(crate) north: Option<North>,
    pub(crate) cost: Option<Cost>,
    /// How often the network was killed and started again.
    pub(crate) restarts: u32,
    /// None if nobody watched.
    pub(crate) steadiness: Option<Steadiness>,
}

/// What the application saw.
pub(crate) struct North {
    pub(crate) messages: Delivery,
    pub(crate) responses: Delivery,
    /// Commands that it sent, and that were accepted.
    pub(crate) commands: u64,
    pub(crate) accepted: u64,
}

impl North {
    pub(crate) fn of(tally: &Tally, arrived: &Arrived) -> Self {
        Self {
            messages: Delivery::of(&tally.acknowledged, &arrived.messages),
            responses: Delivery::of(&tally.responded, &arrived.responses),
            commands: arrived.commands,
            accepted: arrived.accepted,
        }
    }
}

/// Responses to devices, compared with the messages of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) arrived: u64,
    /// Answered 2.04, and not received.
    pub(crate) lost: u64,
    /// Received more than once.
    pub(crate) duplicates: u64,
}

impl Delivery {
    pub(crate) fn of(acknowledged: &[(u32, u32)], arrived: &HashMap<(u32, u32), u32>) -> Self {
        let lost = acknowledged.iter().filter(|it| !arrived.contains_key(it));
        let twice = arrived.values().filter(|count| **count > 1);
        Self {
            arrived: arrived.len() as u64,
            lost: lost.count() as u64,
            duplicates: twice.count() as u64,
        }
    }
}

impl Delivery {
    fn to_json(self) -> Value {
        json!({"arrived": self.arrived, "lost": self.lost, "duplicates": self.duplicates})
    }

    fn write(self, f: &mut Formatter<'_>, name: &str) -> fmt::Result {
        writeln!(f, "{name:<13} {:>12}", self.arrived)?;
        writeln!(f, "  lost        {:>12}", self.lost)?;
        writeln!(f, "  twice       {:>12}", self.duplicates)
    }
}

/// What the server process took.
pub(crate) struct Cost {
    /// Before there were sessions.
    pub(crate) start: Usage,
    /// With all sessions, before the first request.
    pub(crate) before: Usage,
    pub(crate) after: Usage,
    /// The most that was seen meanwhile, in kilobytes.
    pub(crate) peak: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts are far from 2^53")]
impl Report {
    fn answered(&self) -> u64 {
        self.tally.latencies.values().map(Histogram::count).sum()
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

    /// What the sessions of the start added to the server's memory, each.
    fn bytes_a_session(&self) -> Option<f64> {
        let cost = self.cost.as_ref().filter(|_| self.scenario.sets_up())?;
        let added = cost.before.resident.checked_sub(cost.start.resident)?;
        Some(added as f64 * 1024.0 / f64::from(self.scenario.devices))
    }

    /// Whether the server stayed within its memory limit.
    fn is_within_memory(&self) -> bool {
        let bound = self.scenario.max_memory.zip(self.cost.as_ref());
        bound.is_none_or(|(mebibytes, cost)| cost.peak <= u64::from(mebibytes) * 1024)
    }

    /// Whether nothing failed, was lost, came twice, was not given back, or took too much. During
    /// an outage of the network, devices may get 5.03;
    /// whose datagrams were lost at every try needs no answer.
    pub(crate) fn is_clean(&self) -> bool {
        let mut codes = self.tally.codes.keys();
        let good = codes.all(|code| match *code {
            coap::CHANGED => true,
            coap::SERVICE_UNAVAILABLE => self.restarts > 0,
            _ => false,
        });
        let delivered = self.north.as_ref().is_none_or(|north| {
            let both = [&north.messages, &north.responses];
            both.iter().all(|it| it.lost + it.duplicates == 0)
        });
        let commanded = self.tally.no_command == 0 || self.restarts > 0;
        let steady = self.steadiness.as_ref().is_none_or(Steadiness::holds);
        good && delivered
            && self.is_within_memory()
            && commanded
            && steady
            && self.tally.gave_up == self.tally.all_lost
            && self.tally.executed_twice() == 0
    }

    pub(crate) fn to_json(&self) -> Value {
        let tally = &self.tally;
        let latencies: serde_json::Map<String, Value> = tally
            .latencies
            .iter()
            .map(|(operation, histogram)| (operation.name().to_owned(), percentiles(histogram)))
            .collect();
        let rates: serde_json::Map<String, Value> = Operation::ALL
            .into_iter()
            .filter(|it| self.scenario.rates.of(*it) > 0.0)
            .map(|it| (it.name().to_owned(), json!(self.scenario.rates.of(it))))
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
            "devices": self.scenario.devices, "rates": rates, "seed": self.seed,
            "duration": self.scenario.duration.as_secs_f64(), "loss": self.scenario.loss,
            "connection_ids": self.scenario.connection_ids, "rebind": self.scenario.rebind,
            "certificates": self.scenario.certificates,
            "intended": tally.intended, "answered": self.answered(), "answered_per_second": self.rate(),
            "set_up_seconds": tally.set_up.as_secs_f64(),
            "latency_ms": latencies, "codes": codes, "handshakes": tally.established,
            "unanswered": tally.gave_up, "all_tries_lost": tally.all_lost, "sent_again": tally.repeated,
            "without_command": tally.no_command, "reconnected": tally.reconnected, "moved": tally.moved,
            "messages": self.north.as_ref().map(|it| it.messages.to_json()),
            "responses": self.north.as_ref().map(|it| it.responses.to_json()),
            "commands": self.north.as_ref().map(|it| json!({"sent": it.commands, "accepted": it.accepted})),
            "commands_executed": tally.executed.len(), "commands_executed_twice": tally.executed_twice(),
            "network_restarts": self.restarts, "steadiness": self.steadiness.as_ref().map(steadiness_to_json),
            "storm": tally.storm.as_ref().map(storm_to_json),
            "answered_per_cpu_second": self.per_cpu_second(),
            "rss_kb": self.cost.as_ref().map(|cost| {
                json!({"start": cost.start.resident, "before": cost.before.resident, "peak": cost.peak, "after": cost.after.resident})
            }),
            "rss_bytes_a_session": self.bytes_a_session(),
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
        if tally.all_lost > 0 {
            writeln!(f, "  all lost    {:>12}", tally.all_lost)?;
        }
        writeln!(f, "sent again    {:>12}", tally.repeated)?;
        for (name, count) in [
            ("no command", tally.no_command),
            ("reconnected", tally.reconnected),
            ("moved", tally.moved),
        ] {
            if count > 0 {
                writeln!(f, "{name:<13} {count:>12}")?;
            }
        }
        if let Some(north) = &self.north {
            north.messages.write(f, "arrived")?;
            if north.commands > 0 {
                writeln!(f, "commands sent {:>12}", north.commands)?;
                writeln!(f, "  accepted    {:>12}", north.accepted)?;
                writeln!(f, "  executed    {:>12}", tally.executed.len())?;
                writeln!(f, "  twice       {:>12}", tally.executed_twice())?;
                north.responses.write(f, "responses")?;
            }
        }
        write!(f, "{:<13}", "latency, ms")?;
        for (name, _) in PERCENTILES {
            write!(f, " {name:>9}")?;
        }
        writeln!(f)?;
        for (operation, histogram) in &tally.latencies {
            write!(f, "  {:<11}", operation.name())?;
            for (_, percent) in PERCENTILES {
                write!(f, " {:>9.2}", histogram.percentile(percent))?;
            }
            writeln!(f)?;
        }
        if let Some(storm) = &tally.storm {
            write_storm(f, storm)?;
        }
        if let Some(cost) = &self.cost {
            let spent = cost.after.cpu - cost.before.cpu;
            writeln!(f, "server CPU    {spent:>12.2} s")?;
            if let Some(rate) = self.per_cpu_second() {
                writeln!(f, "  a CPU-s     {rate:>12.0}")?;
            }
            for (name, kilobytes) in [
                ("start", cost.start.resident),
                ("sessions", cost.before.resident),
                ("at most", cost.peak),
                ("end", cost.after.resident),
            ] {
                writeln!(f, "  RSS {name:<8}{kilobytes:>12} kB")?;
            }
            if let Some(bytes) = self.bytes_a_session() {
                writeln!(f, "  a session   {bytes:>12.0} bytes of RSS")?;
            }
        }
        if self.restarts > 0 {
            writeln!(f, "network killed{:>12} times", self.restarts)?;
        }
        match &self.steadiness {
            Some(steadiness) => write_steadiness(f, steadiness),
            None => Ok(()),
        }
    }
}

fn write_steadiness(f: &mut Formatter<'_>, steadiness: &Steadiness) -> fmt::Result {
    writeln!(
        f,
        "RSS grew      {:>12.1} kB a minute in the second half: {} kB to {}",
        steadiness.growth, steadiness.middle, steadiness.end
    )?;
    let count = steadiness.drifted.len();
    writeln!(
        f,
        "gauges higher {count:>12} of {} after the load than before",
        steadiness.gauges
    )?;
    for it in &steadiness.drifted {
        let (before, most, after) = (it.before, it.most, it.after);
        writeln!(
            f,
            "  {}: {before} before, {most} at most, {after} after",
            it.gauge
        )?;
    }
    Ok(())
}

fn steadiness_to_json(steadiness: &Steadiness) -> Value {
    let drifted = steadiness.drifted.iter().map(
        |it| json!({"gauge": it.gauge, "before": it.before, "most": it.most, "after": it.after}),
    );
    json!({
        "rss_kb_a_minute": steadiness.growth, "rss_kb_middle": steadiness.middle, "rss_kb_end": steadiness.end,
        "gauges": steadiness.gauges, "drifted": drifted.collect::<Vec<_>>(),
    })
}

fn write_storm(f: &mut Formatter<'_>, storm: &StormTally) -> fmt::Result {
    let drained = storm.drained.as_secs_f64();
    writeln!(f, "storm drained {drained:>12.1} s after its beginning")?;
    let [none, one, two, more] = storm.timeouts;
    for (name, count) in [
        ("no timeout", none),
        ("1 timeout", one),
        ("2 timeouts", two),
        ("more", more),
        ("no session", storm.without),
    ] {
        writeln!(f, "  {name:<11} {count:>12}")?;
    }
    writeln!(f, "  at most     {:>12}", storm.most_timeouts)?;
    writeln!(f, "others' latency, ms        p50       p99     p99.9")?;
    for (name, histogram) in [("before", &storm.before), ("meanwhile", &storm.during)] {
        let [p50, p99, rare] = [50.0, 99.0, 99.9].map(|it| histogram.percentile(it));
        writeln!(f, "  {name:<17} {p50:>9.2} {p99:>9.2} {rare:>9.2}")?;
    }
    Ok(())
}

fn storm_to_json(storm: &StormTally) -> Value {
    json!({
        "drained_seconds": storm.drained.as_secs_f64(), "timeouts": storm.timeouts,
        "most_timeouts": storm.most_timeouts, "without_session": storm.without,
        "others_before_ms": percentiles(&storm.before), "others_meanwhile_ms": percentiles(&storm.during),
    })
}

fn percentiles(histogram: &Histogram) -> Value {
    let value =
        |(name, percent): (&str, f64)| (name.to_owned(), json!(histogram.percentile(percent)));
    Value::Object(PERCENTILES.into_iter().map(value).collect())
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
    use std::collections::HashMap;

    use super::{Delivery, words};

    #[test]
    fn what_was_answered_and_did_not_arrive_is_lost() {
        let arrived = HashMap::from([((1, 0), 1), ((1, 1), 2), ((2, 0), 1)]);
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

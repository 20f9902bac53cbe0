//! What devices saw in a run.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use crate::{
    histogram::Histogram,
    scenario::{Operation, Scenario},
};

/// What its devices saw.
pub(crate) struct Tally {
    pub(crate) intended: u64,
    pub(crate) latencies: BTreeMap<Operation, Histogram>,
    /// By code; handshakes are not in it.
    pub(crate) codes: BTreeMap<u8, u64>,
    pub(crate) established: u64,
    /// Sessions that were lost and re-established although the scenario does not intend it.
    pub(crate) reconnected: u64,
    /// How often a device with a connection id got another address.
    pub(crate) moved: u64,
    pub(crate) gave_up: u64,
    /// Of these, those that nobody could have answered: all tries were lost on the way.
    pub(crate) all_lost: u64,
    /// None without a storm.
    pub(crate) storm: Option<StormTally>,
    pub(crate) repeated: u64,
    /// Device and sequence number of the messages that were answered 2.04.
    pub(crate) acknowledged: Vec<(u32, u32)>,
    /// Likewise of responses to commands.
    pub(crate) responded: Vec<(u32, u32)>,
    /// The messages whose commands were executed, as often as they were.
    pub(crate) executed: Vec<(u32, u32)>,
    /// Events that were to bring a command, and did not.
    pub(crate) no_command: u64,
    /// By second since the start: what went well, what did not, and how long it took.
    pub(crate) seconds: Vec<Second>,
    /// From the start to the last answer.
    pub(crate) lasted: Duration,
    /// How long all its sessions took, before the start.
    pub(crate) set_up: Duration,
}

/// How those that came all together fared, and what the others felt of it.
#[derive(Clone)]
pub(crate) struct StormTally {
    /// Devices with a session, by how often a flight of theirs went unanswered; the last place is for all that had it more often.
    pub(crate) timeouts: [u64; 4],
    /// The most that one device had.
    pub(crate) most_timeouts: u32,
    /// Devices that gave up, or had no session at the end.
    pub(crate) without: u64,
    /// From the beginning of the storm to the last session.
    pub(crate) drained: Duration,
    /// What the others' requests took that were meant to be sent before the storm, and in it, until it had drained.
    pub(crate) before: Histogram,
    pub(crate) during: Histogram,
}

pub(crate) struct Second {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) latencies: Histogram,
}

impl StormTally {
    pub(crate) fn new() -> Self {
        Self {
            timeouts: [0; 4],
            most_timeouts: 0,
            without: 0,
            drained: Duration::ZERO,
            before: Histogram::new(),
            during: Histogram::new(),
        }
    }

    fn add(&mut self, other: &Self) {
        for (count, more) in self.timeouts.iter_mut().zip(other.timeouts) {
            *count += more;
        }
        self.most_timeouts = self.most_timeouts.max(other.most_timeouts);
        self.without += other.without;
        self.drained = self.drained.max(other.drained);
        self.before.add(&other.before);
        self.during.add(&other.during);
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            intended: 0,
            latencies: BTreeMap::new(),
            codes: BTreeMap::new(),
            established: 0,
            reconnected: 0,
            moved: 0,
            gave_up: 0,
            all_lost: 0,
            storm: None,
            repeated: 0,
            acknowledged: Vec::new(),
            responded: Vec::new(),
            executed: Vec::new(),
            no_command: 0,
            seconds: Vec::new(),
            lasted: Duration::ZERO,
            set_up: Duration::ZERO,
        }
    }

    /// Notes that something was answered, so long after it was meant to be done, and so long after the start.
    pub(crate) fn record(
        &mut self,
        operation: Operation,
        latency: Duration,
        since: Duration,
        good: bool,
    ) {
        self.latencies
            .entry(operation)
            .or_insert_with(Histogram::new)
            .record(latency);
        self.lasted = since;
        let second = self.second(since);
        second.latencies.record(latency);
        if good {
            second.good += 1;
        } else {
            second.bad += 1;
        }
    }

    /// Notes how long a request took that was meant to be sent so long after the start, if it tells of the storm, which had `drained` so
    /// long after its beginning.
    pub(crate) fn feel_storm(
        &mut self,
        scenario: &Scenario,
        sent: Duration,
        latency: Duration,
        drained: Option<Duration>,
    ) {
        if let (Some(storm), Some(plan)) = (&mut self.storm, scenario.storm) {
            if sent < plan.after {
                storm.before.record(latency);
            } else if drained.is_none_or(|drained| sent < plan.after + drained) {
                storm.during.record(latency);
            }
        }
    }

    pub(crate) fn second(&mut self, since: Duration) -> &mut Second {
        let place = usize::try_from(since.as_secs()).unwrap_or(0);
        if self.seconds.len() <= place {
            self.seconds.resize_with(place + 1, Second::new);
        }
        &mut self.seconds[place]
    }

    /// Commands that were executed once more.
    pub(crate) fn executed_twice(&self) -> u64 {
        let once: HashSet<_> = self.executed.iter().collect();
        (self.executed.len() - once.len()) as u64
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.intended += other.intended;
        for (operation, histogram) in &other.latencies {
            self.latencies
                .entry(*operation)
                .or_insert_with(Histogram::new)
                .add(histogram);
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.established += other.established;
        self.reconnected += other.reconnected;
        self.moved += other.moved;
        self.no_command += other.no_command;
        self.responded.extend(other.responded);
        self.executed.extend(other.executed);
        self.gave_up += other.gave_up;
        self.all_lost += other.all_lost;
        match (&mut self.storm, other.storm) {
            (Some(storm), Some(more)) => storm.add(&more),
            (storm @ None, more) => *storm = more,
            (Some(_), None) => {}
        }
        self.repeated += other.repeated;
        self.acknowledged.extend(other.acknowledged);
        let length = self.seconds.len().max(other.seconds.len());
        self.seconds.resize_with(length, Second::new);
        for (second, more) in self.seconds.iter_mut().zip(other.seconds) {
            second.good += more.good;
            second.bad += more.bad;
            second.latencies.add(&more.latencies);
        }
        self.lasted = self.lasted.max(other.lasted);
        self.set_up = self.set_up.max(other.set_up);
    }
}

impl Second {
    fn new() -> Self {
        Self {
            good: 0,
            bad: 0,
            latencies: Histogram::new(),
        }
    }
}

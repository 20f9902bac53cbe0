//! What is known while devices are at work, for a line that tells of it.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use crate::scenario::Scenario;

#[derive(Debug)]
pub(crate) struct Progress {
    sessions: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    /// Workers whose devices have their sessions.
    prepared: AtomicUsize,
    begun: Instant,
    /// Milliseconds from `begun` to the first request; 0 before.
    playing: AtomicU64,
    /// Sessions to be made first.
    wanted: u64,
    /// Seconds.
    duration: f64,
}

impl Progress {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            sessions: AtomicU64::default(),
            good: AtomicU64::default(),
            bad: AtomicU64::default(),
            prepared: AtomicUsize::default(),
            begun: Instant::now(),
            playing: AtomicU64::default(),
            wanted: scenario.devices.into(),
            duration: scenario.duration.as_secs_f64(),
        }
    }

    pub(crate) fn established(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    pub(crate) fn good(&self) {
        self.good.fetch_add(1, Relaxed);
    }

    pub(crate) fn bad(&self) {
        self.bad.fetch_add(1, Relaxed);
    }

    pub(crate) fn prepared(&self) {
        self.prepared.fetch_add(1, Relaxed);
    }

    /// Whether so many workers are done with their sessions, or cannot be.
    pub(crate) fn are_prepared(&self, workers: usize) -> bool {
        self.prepared.load(Relaxed) >= workers
    }

    /// All have their sessions.
    pub(crate) fn play(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.playing.store(now.max(1), Relaxed);
    }

    /// One line, which takes the place of the one before.
    #[expect(clippy::cast_precision_loss, reason = "counts are far from 2^53")]
    pub(crate) fn line(&self) -> String {
        let [sessions, good, bad, playing] =
            [&self.sessions, &self.good, &self.bad, &self.playing].map(|it| it.load(Relaxed));
        if playing == 0 {
            let bar = bar(sessions as f64 / self.wanted.max(1) as f64);
            return format!("\r[{bar}] {sessions} of {} sessions ", self.wanted);
        }
        let seconds = self.begun.elapsed().as_secs_f64() - playing as f64 / 1_000.0;
        let bar = bar(seconds / self.duration.max(0.001));
        let of = self.duration;
        format!("\r[{bar}] {seconds:.0} of {of:.0} s: {good} answered well, {bad} badly or not ")
    }
}

/// So much of it is full.
fn bar(share: f64) -> String {
    (0..WIDTH)
        .map(|place| {
            let full = (f64::from(place) + 0.5) / f64::from(WIDTH) <= share;
            if full { '#' } else { '-' }
        })
        .collect()
}

const WIDTH: u32 = 20;

#[cfg(test)]
mod tests {
    #[test]
    fn a_bar_is_as_full_as_it_should_be() {
        for (share, bar) in [
            (0.0, "--------------------"),
            (0.5, "##########----------"),
            (7.0, "####################"),
        ] {
            assert_eq!(super::bar(share), bar);
        }
    }
}

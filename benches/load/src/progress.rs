//! What is known while devices are at work, for a line that tells of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub(crate) struct Progress {
    sessions: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
}

impl Progress {
    pub(crate) fn established(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    pub(crate) fn good(&self) {
        self.good.fetch_add(1, Relaxed);
    }

    pub(crate) fn bad(&self) {
        self.bad.fetch_add(1, Relaxed);
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let [sessions, good, bad] =
            [&self.sessions, &self.good, &self.bad].map(|count| count.load(Relaxed));
        format!("{sessions} sessions, {good} answered, {bad} failed")
    }
}

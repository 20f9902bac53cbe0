//! Signs of life of the ports, which the liveness probe watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a task last gave a sign of life.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
    over: AtomicBool,
}

impl Pulse {
    /// How often a task should give a sign of life.
    pub const PERIOD: Duration = Duration::from_millis(500);

    /// Starts with a sign of life.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Gives a sign of life.
    pub fn beat(&self) {
        self.last.store(self.milliseconds(), Ordering::Relaxed);
    }

    /// There will be no more signs of life.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn age(&self) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        Duration::from_millis(self.milliseconds().saturating_sub(last))
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

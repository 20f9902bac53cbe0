//! How many lines about single devices a log gets, so that a million devices with a wrong key do not fill a disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A budget of lines: a burst, then some a second. What goes beyond is counted.
#[derive(Debug)]
pub(super) struct Lines(Mutex<Budget>);

#[derive(Debug)]
struct Budget {
    left: u32,
    refilled: Instant,
    unsaid: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self(Mutex::new(Budget::new(Instant::now())))
    }
}

impl Lines {
    /// Takes a line and tells how many were left out since the last one; `None` if this one is to be left out.
    pub(super) fn take(&self) -> Option<u64> {
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(Instant::now())
    }
}

impl Budget {
    const fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled: now,
            unsaid: 0,
        }
    }

    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.refilled).as_millis();
        let earned = u32::try_from(passed / PERIOD.as_millis()).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        if self.left == 0 {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Lines at once.
const BURST: u32 = 50;

/// How long it takes to earn one more.
const PERIOD: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_the_budget_is_counted() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let said = (0..BURST + 7)
            .filter(|_| budget.take(start).is_some())
            .count();
        assert_eq!(u32::try_from(said), Ok(BURST));
        assert_eq!(budget.take(start + PERIOD), Some(7));
        assert_eq!(budget.take(start + PERIOD), None);
        assert_eq!(budget.take(start + PERIOD * 1000), Some(1));
    }
}

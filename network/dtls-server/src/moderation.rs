//! When to look for datagrams. To be woken costs more than a datagram, so where many come they gather for a moment and are read together, as
//! network cards and their drivers do under load (interrupt moderation, NAPI).

use std::time::{Duration, Instant};

/// How fast datagrams come at a socket.
#[derive(Debug)]
pub(crate) struct Moderation {
    last_look: Instant,
    /// The time from one datagram to the next, smoothed.
    gap: Duration,
    /// How long datagrams may gather.
    most: Duration,
    hurried: bool,
    /// Whether the last look did not take all.
    more: bool,
}

impl Moderation {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_look: now,
            gap: SILENCE,
            most: Duration::ZERO,
            hurried: false,
            more: false,
        }
    }

    /// Lets datagrams gather for as long as this at most.
    pub(crate) const fn gather(&mut self, most: Duration) {
        self.most = most;
    }

    /// So many datagrams were there, of as many as could be read at once.
    pub(crate) fn looked(&mut self, now: Instant, datagrams: usize, capacity: usize) {
        let since = now.saturating_duration_since(self.last_look);
        let count = u32::try_from(datagrams).unwrap_or(u32::MAX);
        let gap = since.checked_div(count).unwrap_or(SILENCE);
        self.gap = (self.gap * (WEIGHT - 1) + gap.min(SILENCE)) / WEIGHT;
        self.last_look = now;
        self.hurried = false;
        self.more = datagrams >= capacity;
    }

    /// What was read is of somebody who waits for several answers in turn, so that what comes next is to be read at once.
    pub(crate) const fn hurry(&mut self) {
        self.hurried = true;
    }

    /// When to look again; none if that is when the kernel says so, as datagrams come seldom or somebody is in a hurry.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let several = self.gap * 2 <= self.most;
        let pause = match self.more {
            // What is left has gathered long enough, but everybody else is to have a turn.
            true => Duration::ZERO,
            false => (self.gap * TOGETHER).min(self.most),
        };
        (several && !self.hurried).then(|| self.last_look + pause)
    }
}

/// So many together are enough.
const TOGETHER: u32 = 16;
/// What a look in vain, or a long pause, counts as: a few of them, and the next datagram is read at once.
const SILENCE: Duration = Duration::from_millis(20);
/// How many looks the smoothed gap is made of, about.
const WEIGHT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_millis(4);
    const CAPACITY: usize = 32;

    /// How long to wait after these looks, each so many microseconds after the one before, with so many datagrams; none to be woken.
    fn after(looks: &[(u64, usize)], most: Duration) -> Option<u128> {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        moderation.gather(most);
        for (micros, datagrams) in looks {
            now += Duration::from_micros(*micros);
            moderation.looked(now, *datagrams, CAPACITY);
        }
        let next = moderation.next_look()?;
        // The smoothed gap comes near the true one only.
        Some(next.saturating_duration_since(now).as_micros() / 10 * 10)
    }

    #[test]
    fn only_where_several_come_in_time_they_gather() {
        let seldom = [(2_500, 1); 100];
        let often = [(500, 1); 100];
        let fast = [(100, 1); 100];
        let together = [(1_600, 16); 100];
        let in_vain = [together.as_slice(), &[(1_600, 0)]].concat();
        let behind = [together.as_slice(), &[(4_000, CAPACITY)]].concat();
        for (line, looks, most, waits) in [
            ("nothing was read", [].as_slice(), GATHER, None),
            ("400 a second", &seldom, GATHER, None),
            ("2000 a second", &often, GATHER, Some(4_000)),
            ("10,000 a second", &fast, GATHER, Some(1_600)),
            ("10,000, read together", &together, GATHER, Some(1_600)),
            ("more than can be read at once", &behind, GATHER, Some(0)),
            ("a burst alone", &[(1_000_000, 20)], GATHER, None),
            ("a look in vain", &in_vain, GATHER, None),
            ("not wanted", &together, Duration::ZERO, None),
        ] {
            assert_eq!(after(looks, most), waits, "{line}");
        }
    }

    #[test]
    fn who_is_in_a_hurry_is_read_at_once_the_next_time() {
        let (mut now, pause) = (Instant::now(), Duration::from_millis(1));
        let mut moderation = Moderation::new(now);
        moderation.gather(GATHER);
        for _ in 0..100 {
            now += pause;
            moderation.looked(now, 16, CAPACITY);
        }
        moderation.hurry();
        assert_eq!(moderation.next_look(), None);
        moderation.looked(now + pause, 16, CAPACITY);
        assert!(moderation.next_look().is_some());
    }
}

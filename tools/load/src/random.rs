//! Numbers that look random and are the same for the same seed (`SplitMix64`).

use std::time::Duration;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream number `stream` of a seed; different streams do not go along with each other.
    pub(crate) const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to but without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `0..count`; `count` is not 0.
    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }

    /// `0..count` in any order (Fisher and Yates).
    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for place in (1..count).rev() {
            order.swap(place, self.below(place + 1));
        }
        order
    }

    /// The time to the next arrival of a Poisson process.
    pub(crate) fn gap(&mut self, per_second: f64) -> Duration {
        Duration::try_from_secs_f64(-(1.0 - self.fraction()).ln() / per_second)
            .unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_tells_all_and_arrivals_keep_their_rate() {
        let (mut one, mut same, mut other) =
            (Random::new(1, 0), Random::new(1, 0), Random::new(1, 1));
        assert_eq!(one.next(), same.next());
        assert_ne!(one.next(), other.next());
        let mut order = other.shuffled(100);
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq(0..100));
        let total: f64 = (0..100_000).map(|_| one.gap(50.0).as_secs_f64()).sum();
        assert!((1_900.0..2_100.0).contains(&total), "{total}");
    }
}

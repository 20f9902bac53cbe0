//! How often which latency was seen, within 1.6 %, in constant memory.

use std::time::Duration;

/// Counts of microseconds in classes that grow with the value.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: Vec::new(),
            total: 0,
            largest: 0,
        }
    }

    pub(crate) fn record(&mut self, value: Duration) {
        let value = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let class = class_of(value);
        self.make_room(class + 1);
        self.counts[class] += 1;
        self.total += 1;
        self.largest = self.largest.max(value);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.make_room(other.counts.len());
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.largest = self.largest.max(other.largest);
    }

    fn make_room(&mut self, classes: usize) {
        if self.counts.len() < classes {
            self.counts.resize(classes, 0);
        }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.total
    }

    /// Milliseconds that `percent` of all values do not exceed; 100 gives the largest.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far from 2^53"
    )]
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let wanted = ((self.total as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return top_of(class).min(self.largest) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

/// Below 128 each value has its class; above, each power of two has 64.
fn class_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    let class = (u64::from(shift) << BITS) + (value >> shift);
    usize::try_from(class).unwrap_or(usize::MAX)
}

/// The largest value of a class.
const fn top_of(class: usize) -> u64 {
    let class = class as u64;
    let shift = (class >> BITS).saturating_sub(1);
    let low = class - (shift << BITS);
    (low << shift) + ((1 << shift) - 1)
}

const BITS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::{Duration, Histogram, class_of, top_of};

    #[test]
    fn a_class_holds_what_is_within_a_64th_of_it() {
        for value in (0..10_000).chain([123_456_789, u64::MAX / 3, u64::MAX]) {
            let top = top_of(class_of(value));
            assert!(top >= value && top - value <= value / 64, "{value} {top}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(twice.count(), 200);
        for (percent, value) in [(1.0, 0.001), (50.0, 0.05), (99.0, 0.099), (100.0, 0.1)] {
            assert!(
                (twice.percentile(percent) - value).abs() < 1e-9,
                "{percent}"
            );
        }
    }
}

//! Which traces are exported where the tenant does not decide it (`otel.traces.sampler`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::TraceId;

/// Decides which traces are exported. All traces begin in the adapter, so that a sampler based on
/// the parent is the same as its root sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Every trace.
    AlwaysOn,
    /// No trace.
    AlwaysOff,
    /// This ratio of traces, from 0 to 1.
    Ratio(f64),
    /// This number of traces per second.
    RateLimiting(u32),
}

impl Sampler {
    /// The same for all spans of a trace; ids are random in their last eight bytes.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio needs no more precision"
    )]
    pub fn keeps(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::Ratio(ratio) => (random as f64) < ratio * u64::MAX as f64,
            Self::RateLimiting(rate) => {
                let mut limiter = LIMITER.lock().unwrap_or_else(PoisonError::into_inner);
                limiter.keeps(rate, trace, Instant::now())
            }
        }
    }
}

/// Counts the traces of this process, which has one exporter.
static LIMITER: Mutex<RateLimiter> = Mutex::new(RateLimiter::new());

/// Token bucket of one second. A trace is asked about several times, by its messages and when it
/// ends, and takes one token.
#[derive(Debug)]
struct RateLimiter {
    tokens: f64,
    refilled: Option<Instant>,
    /// Traces that got a token lately, oldest first.
    kept: VecDeque<TraceId>,
}

impl RateLimiter {
    const fn new() -> Self {
        Self {
            tokens: 0.0,
            refilled: None,
            kept: VecDeque::new(),
        }
    }

    fn keeps(&mut self, rate: u32, trace: TraceId, now: Instant) -> bool {
        if self.kept.contains(&trace) {
            return true;
        }
        let elapsed = match self.refilled.replace(now) {
            Some(before) => now.saturating_duration_since(before),
            None => Duration::from_secs(1),
        };
        let rate = f64::from(rate);
        self.tokens = (self.tokens + rate * elapsed.as_secs_f64()).min(rate);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        if self.kept.len() == MAX_REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back(trace);
        true
    }
}

/// A trace that is pushed out before it ends may take a second token.
const MAX_REMEMBERED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: u128) -> TraceId {
        TraceId::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    #[test]
    fn a_ratio_is_the_share_of_traces_that_are_kept() {
        let rows = [
            (Sampler::AlwaysOn, 1000..=1000),
            (Sampler::AlwaysOff, 0..=0),
            (Sampler::Ratio(0.25), 200..=300),
            (Sampler::Ratio(1.0), 1000..=1000),
            (Sampler::Ratio(0.0), 0..=0),
        ];
        for (sampler, share) in rows {
            let kept = (0..1000).filter(|number| sampler.keeps(trace(*number)));
            let kept = kept.count();
            assert!(share.contains(&kept), "{sampler:?}: {kept}");
        }
    }

    #[test]
    fn a_rate_limit_keeps_so_many_traces_a_second_and_whole_ones() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new();
        let mut kept = |from: u128, now: Instant| -> Vec<u128> {
            let all = from..from + 10;
            all.filter(|number| limiter.keeps(2, trace(*number), now))
                .collect()
        };
        assert_eq!(kept(0, start), [0, 1]);
        // Asked about once more, a trace that was kept still is, and takes nothing from others.
        assert_eq!(kept(0, start), [0, 1]);
        assert_eq!(kept(10, start + Duration::from_millis(500)), [10]);
        assert_eq!(kept(20, start + Duration::from_secs(60)), [20, 21]);
        let mut none = RateLimiter::new();
        assert!(!none.keeps(0, trace(1), start));
    }
}

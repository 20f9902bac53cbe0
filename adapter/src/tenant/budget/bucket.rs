//! A bucket that holds what may be used in a minute and fills up evenly. All it knows is when it will be full.

use std::time::{Duration, Instant};

/// What is left of a budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) const fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// When it is full again.
    pub(super) const fn full_at(self) -> Instant {
        self.full_at
    }

    /// Gives back what was taken.
    pub(super) fn refund(&mut self, now: Instant, per_minute: u64, cost: u64) {
        if let Some(price) = price(per_minute, cost) {
            let before = self.full_at.checked_sub(price);
            self.full_at = before.map_or(now, |before| before.max(now));
        }
    }

    /// Takes `cost` of a budget of `per_minute`, which is none if it is 0. How long to wait until there is as much, and nothing
    /// was taken; zero if it was. What costs more than a minute's worth takes all of it.
    pub(super) fn spend(&mut self, now: Instant, per_minute: u64, cost: u64) -> Duration {
        let Some(price) = price(per_minute, cost) else {
            return Duration::ZERO;
        };
        let after = self.full_at.max(now) + price;
        let wait = after.saturating_duration_since(now + MINUTE);
        if wait.is_zero() {
            self.full_at = after;
        }
        wait
    }
}

/// How long it takes until that much has flown back in; none where nothing is limited or taken.
fn price(per_minute: u64, cost: u64) -> Option<Duration> {
    let cost = u128::from(cost.min(per_minute));
    let nanoseconds = (MINUTE.as_nanos() * cost).checked_div(u128::from(per_minute))?;
    let price = Duration::from_nanos(u64::try_from(nanoseconds).ok()?);
    (!price.is_zero()).then_some(price)
}

const MINUTE: Duration = Duration::from_secs(60);

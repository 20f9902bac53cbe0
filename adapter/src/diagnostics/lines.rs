//! How many lines about single devices a log gets, so that a million devices with a wrong key do not
//! fill a disk, and none of them hides what happens to the others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fair_share::Holder;
use fair_table::FairTable;

/// Budgets of lines, one for each [`Topic`], and in it for each group and member of those that the
/// lines are about. What goes beyond is counted.
#[derive(Debug, Default)]
pub(super) struct Lines {
    handshakes: Mutex<Budget>,
    sessions: Mutex<Budget>,
    strangers: Mutex<Budget>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// A handshake that failed; the line counts for the peer's source prefix and address.
    Handshake,
    /// A request in a session; the line counts for the tenant and the device.
    Session,
    /// A request of a peer that has proved nothing; the line counts as for a handshake.
    Stranger,
}

#[derive(Debug)]
struct Budget {
    total: Bucket,
    groups: FairTable<u64, Bucket>,
    members: FairTable<Holder, Bucket>,
    suppressed: u64,
}

/// Tokens, of which one is earned in a while.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    refilled: Instant,
}

/// How many tokens a bucket holds, and how long it takes to earn one.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u32,
    period: Duration,
}

impl Lines {
    /// Takes a line about `holder`, and tells how many on the topic were suppressed since the last
    /// one; `None` if this one is to be.
    pub(super) fn take(&self, topic: Topic, holder: Holder) -> Option<u64> {
        let budget = match topic {
            Topic::Handshake => &self.handshakes,
            Topic::Session => &self.sessions,
            Topic::Stranger => &self.strangers,
        };
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.take(Instant::now(), holder)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            total: Bucket::full(TOTAL, Instant::now()),
            groups: FairTable::new(MAX_HOLDERS),
            members: FairTable::new(MAX_HOLDERS),
            suppressed: 0,
        }
    }
}

impl Budget {
    fn take(&mut self, now: Instant, holder: Holder) -> Option<u64> {
        let group = self.groups.get(&holder.group(), now).copied();
        let mut group = group.unwrap_or(Bucket::full(GROUP, now));
        let member = self.members.get(&holder, now).copied();
        let mut member = member.unwrap_or(Bucket::full(MEMBER, now));
        group.refill(GROUP, now);
        member.refill(MEMBER, now);
        self.total.refill(TOTAL, now);
        if group.left == 0 || member.left == 0 || self.total.left == 0 {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        for bucket in [&mut group, &mut member, &mut self.total] {
            bucket.left = bucket.left.saturating_sub(1);
        }
        // A bucket that is full by then need not be remembered.
        let (expires, members_expire) = (now + GROUP.time(), now + MEMBER.time());
        let id = holder.group();
        self.groups.insert(id, group, holder, now, Some(expires));
        self.members
            .insert(holder, member, holder, now, Some(members_expire));
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Rate {
    /// How long it takes to fill a bucket.
    const fn time(self) -> Duration {
        self.period.saturating_mul(self.burst)
    }
}

impl Bucket {
    const fn full(rate: Rate, now: Instant) -> Self {
        Self {
            left: rate.burst,
            refilled: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_millis();
        let earned = passed.checked_div(rate.period.as_millis()).unwrap_or(0);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(rate.burst);
            self.refilled = now;
        }
    }
}

/// All lines on a topic.
const TOTAL: Rate = Rate {
    burst: 200,
    period: Duration::from_millis(100),
};

/// The lines about a source prefix or a tenant.
const GROUP: Rate = Rate {
    burst: 25,
    period: Duration::from_millis(500),
};

/// The lines about an address or a device.
const MEMBER: Rate = Rate {
    burst: 10,
    period: Duration::from_secs(1),
};

/// Number of groups, and of members, whose lines are counted.
const MAX_HOLDERS: usize = 1_024;

#[cfg(test)]
mod tests {
    use fair_share::HolderHasher;

    use super::*;

    #[test]
    fn what_goes_beyond_the_budget_is_counted() {
        let (hasher, start) = (HolderHasher::default(), Instant::now());
        let (mut budget, holder) = (Budget::default(), hasher.holder(&1, &1));
        let said = (0..MEMBER.burst + 7).filter(|_| budget.take(start, holder).is_some());
        assert_eq!(u32::try_from(said.count()), Ok(MEMBER.burst));
        assert_eq!(budget.take(start + MEMBER.period, holder), Some(7));
        assert_eq!(budget.take(start + MEMBER.period, holder), None);
        assert_eq!(budget.take(start + MEMBER.period * 1000, holder), Some(1));
    }

    /// Symptom: a peer whose handshakes fail by the thousand hid the lines about all other devices.
    /// Cause: one budget for all lines.
    #[test]
    fn one_address_or_prefix_hides_no_other() {
        let (hasher, start) = (HolderHasher::default(), Instant::now());
        let mut budget = Budget::default();
        for number in 0..10_000 {
            budget.take(start, hasher.holder(&1, &number));
            budget.take(start, hasher.holder(&2, &0));
        }
        assert!(budget.take(start, hasher.holder(&3, &0)).is_some());
        let lines = Lines::default();
        for _ in 0..1000 {
            lines.take(Topic::Stranger, hasher.holder(&1, &1));
        }
        let same_source = hasher.holder(&1, &1);
        assert!(lines.take(Topic::Handshake, same_source).is_some());
        assert!(lines.take(Topic::Session, same_source).is_some());
    }
}

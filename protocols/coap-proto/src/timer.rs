//! Deadlines of all exchanges, made for very many of them.
//!
//! Each exchange has at most one deadline for a timer and takes it out when it no longer counts, so that there are never more
//! deadlines than exchanges and no call has to clear up what others left.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::exchange::ExchangeId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// When to send a separate response again because no ACK came.
    Retransmit,
    /// When to forget an exchange, so that its message ids may be used anew (`EXCHANGE_LIFETIME`, `NON_LIFETIME`).
    Forget,
}

/// When a timer of an exchange runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) exchange: ExchangeId,
}

#[derive(Debug)]
pub(crate) struct Timers {
    retransmit: BTreeSet<Deadline>,
    forget: BTreeSet<Deadline>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            retransmit: BTreeSet::new(),
            forget: BTreeSet::new(),
        }
    }

    pub(crate) fn start(&mut self, timer: Timer, deadline: Deadline) {
        self.deadlines_mut(timer).insert(deadline);
    }

    pub(crate) fn stop(&mut self, timer: Timer, deadline: Deadline) {
        self.deadlines_mut(timer).remove(&deadline);
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        TIMERS
            .into_iter()
            .filter_map(|timer| self.deadlines(timer).first())
            .map(|deadline| deadline.at)
            .min()
    }

    /// Takes a deadline that has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Deadline)> {
        let timer = TIMERS.into_iter().find(|timer| {
            self.deadlines(*timer)
                .first()
                .is_some_and(|deadline| deadline.at <= now)
        })?;
        let deadline = self.deadlines_mut(timer).pop_first();
        deadline.map(|deadline| (timer, deadline))
    }

    /// The exchanges whose lifetimes end first.
    pub(crate) fn oldest(&self, limit: usize) -> impl Iterator<Item = ExchangeId> {
        let forget = self.forget.iter().take(limit);
        forget.map(|deadline| deadline.exchange)
    }

    const fn deadlines(&self, timer: Timer) -> &BTreeSet<Deadline> {
        match timer {
            Timer::Retransmit => &self.retransmit,
            Timer::Forget => &self.forget,
        }
    }

    const fn deadlines_mut(&mut self, timer: Timer) -> &mut BTreeSet<Deadline> {
        match timer {
            Timer::Retransmit => &mut self.retransmit,
            Timer::Forget => &mut self.forget,
        }
    }
}

const TIMERS: [Timer; 2] = [Timer::Retransmit, Timer::Forget];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_come_due_on_time_whatever_their_kind_and_order() {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time must begin somewhere"
        )]
        let start = Instant::now();
        let deadline = |seconds| Deadline {
            at: start + Duration::from_secs(seconds),
            exchange: ExchangeId(seconds),
        };
        let mut timers = Timers::new();
        timers.start(Timer::Forget, deadline(3));
        timers.start(Timer::Forget, deadline(1));
        timers.start(Timer::Retransmit, deadline(2));
        timers.start(Timer::Retransmit, deadline(0));
        timers.start(Timer::Forget, deadline(4));
        timers.stop(Timer::Forget, deadline(3));
        timers.stop(Timer::Retransmit, deadline(4));
        assert_eq!(timers.next(), Some(start));
        assert_eq!(
            timers.oldest(2).collect::<Vec<_>>(),
            [ExchangeId(1), ExchangeId(4)]
        );
        assert_eq!(
            timers.pop_due(start),
            Some((Timer::Retransmit, deadline(0)))
        );
        assert_eq!(timers.pop_due(start), None);
        let late = start + Duration::from_secs(3);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(late)).collect();
        assert_eq!(
            due,
            [
                (Timer::Retransmit, deadline(2)),
                (Timer::Forget, deadline(1))
            ]
        );
        assert_eq!(timers.next(), Some(deadline(4).at));
    }
}

//! Deadlines of all exchanges, made for very many of them.
//!
//! Lifetimes are constant, so that a queue keeps them in order; retransmissions are few and go to a heap. A deadline that no
//! longer counts is not searched for but passed over when its turn comes, and swept out when such make up half of the table.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use crate::exchange::ExchangeId;
use crate::request::Reliability;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// When to send a separate response again because no ACK came.
    Retransmit,
    /// When to forget an exchange, so that its message ids may be used anew (`EXCHANGE_LIFETIME`, `NON_LIFETIME`).
    Forget(Reliability),
}

/// One entry; it counts as long as its exchange still has this deadline for the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) exchange: ExchangeId,
}

#[derive(Debug)]
pub(crate) struct Timers {
    retransmit: BinaryHeap<Reverse<Deadline>>,
    forget_confirmable: VecDeque<Deadline>,
    forget_non_confirmable: VecDeque<Deadline>,
    /// At how many entries in all to sweep next.
    sweep_at: usize,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            retransmit: BinaryHeap::new(),
            forget_confirmable: VecDeque::new(),
            forget_non_confirmable: VecDeque::new(),
            sweep_at: SMALLEST_SWEEP,
        }
    }

    pub(crate) fn start(&mut self, timer: Timer, deadline: Deadline) {
        match timer {
            Timer::Retransmit => self.retransmit.push(Reverse(deadline)),
            Timer::Forget(reliability) => self.queue_mut(reliability).push_back(deadline),
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        TIMERS
            .into_iter()
            .filter_map(|timer| self.first(timer))
            .map(|deadline| deadline.at)
            .min()
    }

    /// Takes a deadline that has come, whether it counts or not.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Deadline)> {
        let timer = TIMERS.into_iter().find(|timer| {
            self.first(*timer)
                .is_some_and(|deadline| deadline.at <= now)
        })?;
        self.pop(timer).map(|deadline| (timer, deadline))
    }

    /// Drops deadlines that do not count: those next in turn at once, the others now and then.
    pub(crate) fn prune(&mut self, counts: impl Fn(Timer, Deadline) -> bool) {
        for timer in TIMERS {
            while self
                .first(timer)
                .is_some_and(|deadline| !counts(timer, deadline))
            {
                self.pop(timer);
            }
        }
        if self.len() >= self.sweep_at {
            self.retransmit
                .retain(|Reverse(deadline)| counts(Timer::Retransmit, *deadline));
            for reliability in [Reliability::Confirmable, Reliability::NonConfirmable] {
                self.queue_mut(reliability)
                    .retain(|deadline| counts(Timer::Forget(reliability), *deadline));
            }
            self.sweep_at = self.len().saturating_mul(2).max(SMALLEST_SWEEP);
        }
    }

    /// The lifetimes that end first, in no order between confirmable and not.
    pub(crate) fn oldest(&self, limit: usize) -> impl Iterator<Item = ExchangeId> {
        let confirmable = self.forget_confirmable.iter().take(limit);
        confirmable
            .chain(self.forget_non_confirmable.iter().take(limit))
            .map(|deadline| deadline.exchange)
    }

    fn first(&self, timer: Timer) -> Option<Deadline> {
        match timer {
            Timer::Retransmit => self.retransmit.peek().map(|Reverse(deadline)| *deadline),
            Timer::Forget(Reliability::Confirmable) => self.forget_confirmable.front().copied(),
            Timer::Forget(Reliability::NonConfirmable) => {
                self.forget_non_confirmable.front().copied()
            }
        }
    }

    fn pop(&mut self, timer: Timer) -> Option<Deadline> {
        match timer {
            Timer::Retransmit => self.retransmit.pop().map(|Reverse(deadline)| deadline),
            Timer::Forget(reliability) => self.queue_mut(reliability).pop_front(),
        }
    }

    const fn queue_mut(&mut self, reliability: Reliability) -> &mut VecDeque<Deadline> {
        match reliability {
            Reliability::Confirmable => &mut self.forget_confirmable,
            Reliability::NonConfirmable => &mut self.forget_non_confirmable,
        }
    }

    fn len(&self) -> usize {
        let lifetimes = self
            .forget_confirmable
            .len()
            .saturating_add(self.forget_non_confirmable.len());
        self.retransmit.len().saturating_add(lifetimes)
    }
}

const TIMERS: [Timer; 3] = [
    Timer::Retransmit,
    Timer::Forget(Reliability::Confirmable),
    Timer::Forget(Reliability::NonConfirmable),
];

/// Below this a sweep saves nothing worth it.
const SMALLEST_SWEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_that_no_longer_count_are_swept_out() {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time must begin somewhere"
        )]
        let start = Instant::now();
        let mut timers = Timers::new();
        for exchange in 0..100_000 {
            let at = start + Duration::from_millis(exchange);
            let exchange = ExchangeId(exchange);
            timers.start(
                TIMERS[usize::try_from(exchange.0 % 3).unwrap()],
                Deadline { at, exchange },
            );
            // the first counts and stays at the front, the others are over at once
            timers.prune(|_, deadline| deadline.exchange.0 < 3);
            assert!(timers.len() <= SMALLEST_SWEEP);
        }
        assert_eq!(timers.next(), Some(start));
    }

    #[test]
    fn deadlines_come_due_on_time_whatever_their_kind() {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time must begin somewhere"
        )]
        let start = Instant::now();
        let mut timers = Timers::new();
        for (exchange, timer) in TIMERS.into_iter().enumerate() {
            let exchange = ExchangeId(exchange.try_into().unwrap());
            timers.start(
                timer,
                Deadline {
                    at: start + Duration::from_secs(exchange.0),
                    exchange,
                },
            );
        }
        assert_eq!(
            timers.pop_due(start).map(|(timer, _)| timer),
            Some(Timer::Retransmit)
        );
        assert_eq!(timers.pop_due(start), None);
        let late = start + Duration::from_secs(2);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(late))
            .map(|(timer, _)| timer)
            .collect();
        assert_eq!(due, TIMERS[1..]);
        assert_eq!(timers.next(), None);
    }
}

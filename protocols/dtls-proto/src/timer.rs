//! The deadlines of all handshakes. Established associations have none, so they cost nothing here, unless they are to prove a new address.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::event::AssociationId;

/// What falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// When to send the flight again because the client did not answer.
    Retransmit,
    /// When to do without the answer of the caller, as if there were no key, or the certificate were refused.
    Answer,
    /// When to forget the handshake because the client did not finish it.
    Forget,
    /// When to ask a new address of a client again, or to give it up, because it did not answer.
    Path,
}

/// Deadlines in their order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, AssociationId, Timer)>,
    armed: HashMap<(AssociationId, Timer), Instant>,
}

impl Timers {
    /// Arms a timer, in place of its earlier deadline. A time past the clock's end means never.
    pub(crate) fn set(
        &mut self,
        association: AssociationId,
        timer: Timer,
        now: Instant,
        after: Duration,
    ) {
        self.stop(association, timer);
        if let Some(deadline) = now.checked_add(after) {
            self.queue.insert((deadline, association, timer));
            self.armed.insert((association, timer), deadline);
        }
    }

    pub(crate) fn stop(&mut self, association: AssociationId, timer: Timer) {
        if let Some(deadline) = self.armed.remove(&(association, timer)) {
            self.queue.remove(&(deadline, association, timer));
        }
    }

    /// The handshake is over.
    pub(crate) fn stop_all(&mut self, association: AssociationId) {
        for timer in [Timer::Retransmit, Timer::Answer, Timer::Forget] {
            self.stop(association, timer);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(deadline, ..)| *deadline)
    }

    /// The next timer that is due at `now`; it is then no longer armed.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(AssociationId, Timer)> {
        let &(deadline, association, timer) = self.queue.first()?;
        (deadline <= now).then(|| {
            self.stop(association, timer);
            (association, timer)
        })
    }
}

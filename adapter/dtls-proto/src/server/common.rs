//! What the servers of one port have in common, where several share its traffic: how many places are taken, how often handshakes began in
//! a neighbourhood, and what may be resumed by id.
//!
//! Only the beginning and the end of an association ask for it, never a record.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::resumption::SessionCache;
use crate::server::rate::Rates;

#[derive(Debug, Default)]
pub(super) struct Common {
    handshakes: AtomicUsize,
    sessions: AtomicUsize,
    rates: Mutex<Rates>,
    resumable: Mutex<SessionCache>,
}

impl Common {
    /// How many handshakes are under way.
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// How many places of associations are taken. Two servers that ask at the same moment may both find the last one free.
    pub(super) fn associations(&self) -> usize {
        let sessions = self.sessions.load(Ordering::Relaxed);
        self.handshakes().saturating_add(sessions)
    }

    pub(super) fn handshake_begins(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handshakes_end(&self, number: usize) {
        self.handshakes.fetch_sub(number, Ordering::Relaxed);
    }

    pub(super) fn session_begins(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sessions_end(&self, number: usize) {
        self.sessions.fetch_sub(number, Ordering::Relaxed);
    }

    pub(super) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn resumable(&self) -> MutexGuard<'_, SessionCache> {
        self.resumable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

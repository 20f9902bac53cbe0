//! What the servers of one port have in common, where several share its traffic: places and
//! their holders, how often handshakes began in a neighbourhood, and what may be resumed by id.
//!
//! Only the beginning and the end of an association ask for it, never a record. What one server
//! displaces at another one is left in the other's mailbox.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fair_share::Holder;

use crate::event::AssociationId;
use crate::resumption::{Credential, EndedSessions, SessionCache};
use crate::server::owners::Owners;
use crate::server::places::Places;
use crate::server::rate::Rates;

#[derive(Debug, Default)]
pub(super) struct Common {
    places: Mutex<Places>,
    owners: Mutex<Owners>,
    rates: Mutex<Rates>,
    key_agreements: Mutex<Rates>,
    resumable: Mutex<SessionCache>,
    ended: Mutex<EndedSessions>,
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
}

/// Where an association is: with which server of the port, and under which name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Location {
    /// First, so that locations are in the order in which associations began, more or less.
    pub(super) association: AssociationId,
    pub(super) server: usize,
}

impl Location {
    /// Not after any other.
    pub(super) const FIRST: Self = Self {
        association: AssociationId(NonZeroU64::MIN),
        server: 0,
    };
}

/// An association that has lost its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    Handshake(AssociationId),
    Session(AssociationId),
}

/// What other servers have displaced.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    is_waiting: AtomicBool,
    displaced: Mutex<Vec<Displaced>>,
}

impl Mailbox {
    /// What was displaced since the last call; asks nothing but a flag if there is nothing.
    pub(super) fn take(&self) -> Vec<Displaced> {
        if !self.is_waiting.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut displaced = lock(&self.displaced);
        self.is_waiting.store(false, Ordering::Relaxed);
        std::mem::take(&mut *displaced)
    }

    /// Whether nothing waited before.
    fn put(&self, displaced: Displaced) -> bool {
        lock(&self.displaced).push(displaced);
        !self.is_waiting.swap(true, Ordering::Relaxed)
    }
}

impl Common {
    /// One more server: its number, and its mailbox.
    pub(super) fn register(&self) -> (usize, Arc<Mailbox>) {
        let mut mailboxes = lock(&self.mailboxes);
        let mailbox = Arc::<Mailbox>::default();
        mailboxes.push(Arc::clone(&mailbox));
        (mailboxes.len().saturating_sub(1), mailbox)
    }

    /// Lets another server know that an association of it is displaced; `true` if the server has to
    /// be woken up for it.
    pub(super) fn displace(&self, server: usize, displaced: Displaced) -> bool {
        let mailbox = lock(&self.mailboxes).get(server).cloned();
        mailbox.is_some_and(|mailbox| mailbox.put(displaced))
    }

    /// Places of handshakes.
    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }

    /// Owners of sessions.
    pub(super) fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.owners)
    }

    pub(super) fn rates(&self) -> MutexGuard<'_, Rates> {
        lock(&self.rates)
    }

    /// Handshakes with a key agreement, by address.
    pub(super) fn key_agreements(&self) -> MutexGuard<'_, Rates> {
        lock(&self.key_agreements)
    }

    pub(super) fn resumable(&self) -> MutexGuard<'_, SessionCache> {
        lock(&self.resumable)
    }

    /// Who holds a session whose principal is not known, as after a restart: its credential alone.
    pub(super) fn holder_of(&self, credential: &Credential) -> Holder {
        let (Credential::Psk { identity: name, .. } | Credential::Certificate(name)) = credential;
        self.owners().owner(name, &())
    }

    /// Sessions that must not be resumed any more, whatever ticket comes.
    pub(super) fn ended(&self) -> MutexGuard<'_, EndedSessions> {
        lock(&self.ended)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

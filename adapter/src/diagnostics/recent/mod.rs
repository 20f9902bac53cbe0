//! The last events of each device, so that "why is this device silent" is answered in one request. Kept in memory only, and never a
//! payload or a key.
//!
//! ```text
//! Observer ─> Recent ─> known      (a device's own events; one of the tenant with the most makes room)
//!                 ├───> claimed    (failed handshakes in the name of a device, by anybody)
//!                 └───> strangers  (names that nobody has vouched for)
//! ```

mod page;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use coap_proto::Code;
use fair_share::{Holder, HolderHasher};
use fair_table::FairTable;

pub use self::page::Page;
use observability::reason::Reason;

/// The events of all devices that are remembered.
#[derive(Debug)]
pub struct Recent {
    known: Mutex<Table>,
    claimed: Mutex<Table>,
    strangers: Mutex<Table>,
    since: SystemTime,
    hasher: HolderHasher,
}

/// Whether a name is more than a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The peer has proved to be the device, or the registry says that it may speak for it.
    Known,
    /// The registry knows the device, but anybody may have named it.
    Claimed,
    /// Anybody may have said so.
    Stranger,
}

/// What happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A handshake came to nothing.
    HandshakeFailed {
        /// Whence it came.
        peer: SocketAddr,
        /// The name in the device's credentials, if it was told.
        auth_id: Option<Arc<str>>,
        /// Why.
        reason: Reason,
        /// What else is known of it.
        detail: Option<Arc<str>>,
    },
    /// A handshake was done.
    SessionOpened {
        /// Whence it came.
        peer: SocketAddr,
        /// The name in the device's credentials.
        auth_id: Arc<str>,
        /// What protects the records.
        suite: &'static str,
    },
    /// The session is over.
    SessionClosed {
        /// Why.
        why: &'static str,
    },
    /// A request was answered.
    Request {
        /// Whence it came.
        peer: SocketAddr,
        /// What was asked.
        operation: &'static str,
        /// The gateway that spoke for the device, if one did.
        gateway: Option<Arc<str>>,
        /// The code of the answer.
        code: Code,
        /// Why it was refused, if it was.
        reason: Option<Reason>,
        /// The name of the command in the answer, if there is one.
        command: Option<Arc<str>>,
        /// How many bytes the request's body has.
        bytes: usize,
        /// From the request to its answer.
        duration: Duration,
    },
}

/// An event and when it was.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it was.
    pub at: SystemTime,
    /// What it was.
    pub what: What,
}

impl Recent {
    /// Remembers the events of so many devices, and a quarter of that for each other standing.
    #[must_use]
    pub fn new(devices: usize) -> Self {
        Self {
            known: Mutex::new(Table::new(devices.max(1), EVENTS)),
            claimed: Mutex::new(Table::new(devices.div_ceil(4).max(1), UNPROVED_EVENTS)),
            strangers: Mutex::new(Table::new(devices.div_ceil(4).max(1), UNPROVED_EVENTS)),
            since: SystemTime::now(),
            hasher: HolderHasher::default(),
        }
    }

    /// Remembers something of a device, or of the auth-id that a stranger named.
    pub fn note(&self, standing: Standing, tenant: &Arc<str>, name: &Arc<str>, what: What) {
        let table = match standing {
            Standing::Known => &self.known,
            Standing::Claimed => &self.claimed,
            Standing::Stranger => &self.strangers,
        };
        // What anybody may say counts for the address, so that none hides what others say.
        let holder = match what.peer().filter(|_| standing != Standing::Known) {
            Some(peer) => self.hasher.source(peer.ip()),
            None => self.hasher.holder(tenant, &()),
        };
        let entry = Entry {
            at: SystemTime::now(),
            what,
        };
        lock(table).note((Arc::clone(tenant), Arc::clone(name)), holder, entry);
    }

    /// The last events of a device, found by its id or by an auth-id of its, the newest first. Those of
    /// peers that have proved nothing come in addition to the device's own, never instead.
    #[must_use]
    pub fn of(&self, tenant: &str, name: &str) -> Vec<Entry> {
        let newest = |table: &Mutex<Table>, most| {
            let mut found = lock(table).find(tenant, name);
            found.sort_by_key(|entry| std::cmp::Reverse(entry.at));
            found.truncate(most);
            found
        };
        let mut found = newest(&self.known, EVENTS);
        found.append(&mut newest(&self.claimed, UNPROVED_EVENTS));
        found.append(&mut newest(&self.strangers, UNPROVED_EVENTS));
        found.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        found
    }

    /// When this began to remember.
    #[must_use]
    pub const fn since(&self) -> SystemTime {
        self.since
    }

    /// Of how many devices and strangers something is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        let tables = [&self.known, &self.claimed, &self.strangers];
        tables
            .map(|table| lock(table).logs.fresh(Instant::now()))
            .iter()
            .sum()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Tenant, and device or auth-id.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Table {
    logs: FairTable<Key, VecDeque<Entry>>,
    /// Entries of each log.
    events: usize,
}

impl Table {
    fn new(most: usize, events: usize) -> Self {
        Self {
            logs: FairTable::new(most),
            events,
        }
    }

    fn note(&mut self, key: Key, holder: Holder, entry: Entry) {
        let now = Instant::now();
        let Some(log) = self.logs.get_mut(&key, now) else {
            return self.logs.insert(key, [entry].into(), holder, now, None);
        };
        if log.len() >= self.events {
            log.pop_front();
        }
        log.push_back(entry);
    }

    fn find(&self, tenant: &str, name: &str) -> Vec<Entry> {
        let of_tenant = self.logs.iter().filter(|((of, _), _)| **of == *tenant);
        let found = of_tenant.flat_map(|((_, device), log)| {
            let whole = **device == *name;
            log.iter()
                .filter(move |entry| whole || entry.what.names(name))
        });
        found.cloned().collect()
    }
}

impl What {
    /// The address that it came from.
    const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::HandshakeFailed { peer, .. }
            | Self::SessionOpened { peer, .. }
            | Self::Request { peer, .. } => Some(*peer),
            Self::SessionClosed { .. } => None,
        }
    }

    /// Whether it is about credentials of this name.
    fn names(&self, auth_id: &str) -> bool {
        match self {
            Self::HandshakeFailed { auth_id: named, .. } => named.as_deref() == Some(auth_id),
            Self::SessionOpened { auth_id: named, .. } => **named == *auth_id,
            Self::SessionClosed { .. } | Self::Request { .. } => false,
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The events of one device that are kept.
pub const EVENTS: usize = 100;

/// The events of peers that have proved nothing that are kept under one name.
pub const UNPROVED_EVENTS: usize = 25;

#[cfg(test)]
mod tests;

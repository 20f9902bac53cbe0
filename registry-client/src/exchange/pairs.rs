//! The pairs of links of one API: opened when first needed, bounded by what the peer allows, the
//! least recently used released first.
//!
//! A pair whose service has only ever answered 404 is released before all others, and soon by
//! itself: names that do not exist leave no links behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use amqp_client::{Connection, LinkError};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::pair::{Pair, no_link};
use crate::ServiceError;

/// All pairs of an API, by the address that requests go to.
pub(super) struct Pairs {
    connection: Connection,
    endpoint: &'static str,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Arc<str>, Slot>,
    /// The least recently used first: those that have only had answers 404 or none, then all others.
    order: BTreeMap<(Rank, u64), Arc<str>>,
    clock: u64,
}

/// A pair that is open, or being opened by a task of its own, for all who wait for it.
struct Slot {
    opened: watch::Receiver<Option<Opened>>,
    rank: Rank,
    used: u64,
}

/// Whether the service has ever known what it was asked for over a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unproved,
    Proved,
}

pub(super) type Opened = Result<Arc<Pair>, ServiceError>;

impl Pairs {
    pub(super) fn new(connection: Connection, endpoint: &'static str) -> Arc<Self> {
        Arc::new(Self {
            connection,
            endpoint,
            table: Mutex::default(),
        })
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The pair for an address: the one that is there, if it is of use, or else a new one.
    pub(super) async fn get(self: &Arc<Self>, address: &str) -> Opened {
        let mut opened = self.opened(address);
        let pair = match opened.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(pair)) => pair.clone(),
            Ok(None) | Err(_) => Err(ServiceError::unavailable("no connection to service")),
        };
        if pair.is_err() {
            let mut table = self.table();
            let slot = table.slots.get(address);
            if slot.is_some_and(|slot| slot.opened.same_channel(&opened)) {
                table.remove(address);
            }
        }
        pair
    }

    /// Notes the status of an answer that came over a pair.
    pub(super) fn answered(self: &Arc<Self>, address: &str, pair: &Arc<Pair>, status: u16) {
        if status != 404 {
            if pair.prove() {
                self.table().rerank(address, Rank::Proved);
            }
        } else if pair.doubt() {
            tokio::spawn(release_when_idle(
                Arc::downgrade(self),
                address.to_owned(),
                Arc::downgrade(pair),
            ));
        }
    }

    /// Releases the pair for an address.
    pub(super) fn close(&self, address: &str) {
        self.table().remove(address);
    }

    /// Number of pairs.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table().slots.len()
    }

    fn opened(self: &Arc<Self>, address: &str) -> watch::Receiver<Option<Opened>> {
        let capacity = capacity(self.connection.max_links());
        let mut table = self.table();
        if let Some(opened) = table.touch(address) {
            return opened;
        }
        table.remove(address);
        if table.slots.len() >= capacity {
            table.release_idle();
        }
        let opened = self.open(address.to_owned());
        table.insert(address, opened.clone());
        opened
    }

    /// Opens a pair in a task, which ends in the time that the connection allows for two links.
    fn open(self: &Arc<Self>, address: String) -> watch::Receiver<Option<Opened>> {
        let (tell, opened) = watch::channel(None);
        let pairs = Arc::clone(self);
        tokio::spawn(async move {
            let pair = tokio::select! {
                pair = pairs.open_with_room(address) => pair,
                () = tell.closed() => return,
            };
            let pair = pair.map_err(|error| no_link(&error));
            tell.send_replace(Some(pair.map(Arc::new)));
        });
        opened
    }

    /// Opens a pair; where the peer takes no more links, an idle pair is released for it.
    async fn open_with_room(&self, address: String) -> Result<Pair, LinkError> {
        let patience = self.connection.config().link_establishment_timeout;
        let give_up = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let opened = Pair::open(&self.connection, self.endpoint, address.clone()).await;
            let full = matches!(opened, Err(LinkError::TooManyLinks));
            if !full || Instant::now() + pause > give_up {
                return opened;
            }
            self.table().release_idle();
            // The handle is free when the peer has answered the detach.
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The pair for an address, if it is of use; it is the most recently used then.
    fn touch(&mut self, address: &str) -> Option<watch::Receiver<Option<Opened>>> {
        let slot = self.slots.get_mut(address)?;
        if !slot.is_of_use() {
            return None;
        }
        self.clock = self.clock.wrapping_add(1);
        let address = self.order.remove(&(slot.rank, slot.used))?;
        slot.used = self.clock;
        self.order.insert((slot.rank, slot.used), address);
        Some(slot.opened.clone())
    }

    fn insert(&mut self, address: &str, opened: watch::Receiver<Option<Opened>>) {
        self.clock = self.clock.wrapping_add(1);
        let (address, rank, used) = (Arc::<str>::from(address), Rank::Unproved, self.clock);
        self.order.insert((rank, used), Arc::clone(&address));
        let slot = Slot { opened, rank, used };
        self.slots.insert(address, slot);
    }

    fn remove(&mut self, address: &str) {
        if let Some(slot) = self.slots.remove(address) {
            self.order.remove(&(slot.rank, slot.used));
        }
    }

    fn rerank(&mut self, address: &str, rank: Rank) {
        let Some(slot) = self.slots.get_mut(address) else {
            return;
        };
        if let Some(address) = self.order.remove(&(slot.rank, slot.used)) {
            slot.rank = rank;
            self.order.insert((rank, slot.used), address);
        }
    }

    /// Releases the least recently used pair without a request under way.
    fn release_idle(&mut self) {
        let mut oldest = self.order.values().take(MAX_BUSY_SKIPPED);
        let idle = oldest.find(|address| {
            let slot = self.slots.get(&***address);
            slot.is_some_and(Slot::is_idle)
        });
        if let Some(address) = idle.cloned() {
            tracing::debug!(%address, "releasing the links that were not used for the longest");
            self.remove(&address);
        }
    }
}

impl Slot {
    fn is_of_use(&self) -> bool {
        match &*self.opened.borrow() {
            None => self.opened.has_changed().is_ok(),
            Some(Ok(pair)) => pair.is_open(),
            Some(Err(_)) => false,
        }
    }

    fn is_idle(&self) -> bool {
        match &*self.opened.borrow() {
            None => false,
            Some(Ok(pair)) => pair.is_idle(),
            Some(Err(_)) => true,
        }
    }
}

/// Releases a pair once it was idle for [`UNPROVED_FOR`], unless the service has known something by
/// then.
async fn release_when_idle(pairs: Weak<Pairs>, address: String, pair: Weak<Pair>) {
    loop {
        let Some(before) = pair.upgrade().map(|pair| pair.asked()) else {
            return;
        };
        sleep(UNPROVED_FOR).await;
        let (Some(pairs), Some(pair)) = (pairs.upgrade(), pair.upgrade()) else {
            return;
        };
        if pair.is_proved() {
            return;
        }
        if pair.is_idle() && pair.asked() == before {
            let mut table = pairs.table();
            let own = |slot: &Slot| match &*slot.opened.borrow() {
                Some(Ok(opened)) => Arc::ptr_eq(opened, &pair),
                _ => false,
            };
            if table.slots.get(&*address).is_some_and(own) {
                table.remove(&address);
            }
            return;
        }
    }
}

/// Number of pairs over a connection whose peer takes so many links. Some are left for links that
/// are being detached.
fn capacity(max_links: Option<usize>) -> usize {
    let Some(links) = max_links else {
        return MAX_PAIRS;
    };
    let reserve = links.div_ceil(64).min(MAX_RESERVE);
    (links / 2).saturating_sub(reserve).clamp(1, MAX_PAIRS)
}

/// Number of pairs that are kept for one API.
const MAX_PAIRS: usize = 10_000;

/// Pairs of links that are left free at most.
const MAX_RESERVE: usize = 16;

/// Number of pairs with requests under way that are passed over to find an idle one.
const MAX_BUSY_SKIPPED: usize = 64;

/// How long a pair is kept idle whose only answers were 404.
const UNPROVED_FOR: Duration = Duration::from_secs(10);

/// First delay before links are attached again that the peer had no room for.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> watch::Receiver<Option<Opened>> {
        watch::channel(None).1
    }

    fn failed() -> watch::Receiver<Option<Opened>> {
        watch::channel(Some(Err(ServiceError::unavailable("")))).1
    }

    #[test]
    fn the_bound_leaves_handles_for_links_that_are_being_detached() {
        for (links, expected) in [
            (None, 10_000),
            (Some(4_096), 2_032),
            (Some(100_000), 10_000),
            (Some(64), 31),
            (Some(8), 3),
            (Some(2), 1),
            (Some(1), 1),
        ] {
            assert_eq!(capacity(links), expected, "{links:?}");
        }
    }

    /// Symptom: beyond the bound, each new pair looked at 10,000 others. Cause: no order.
    #[test]
    fn the_least_recently_used_idle_pair_is_released_and_unproved_ones_first() {
        let mut table = Table::default();
        for address in ["busy", "old", "new", "unknown"] {
            let opened = if address == "busy" {
                pending()
            } else {
                failed()
            };
            table.insert(address, opened);
            if address != "unknown" {
                table.rerank(address, Rank::Proved);
            }
        }
        for gone in ["unknown", "old", "new"] {
            table.release_idle();
            assert!(!table.slots.contains_key(gone), "{gone}");
        }
        table.release_idle();
        assert_eq!(
            (table.slots.len(), table.order.len()),
            (1, 1),
            "the busy one stays"
        );
    }
}

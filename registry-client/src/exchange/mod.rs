//! Requests and their responses over pairs of links: one pair for each tenant, or one in all where the API knows no tenants
//! (spec: registry-apis A.1).
//!
//! Pairs are opened when first needed and again after they were lost. Whatever is wrong with the way there ends in a 503.

mod pair;
mod pending;
mod reply;
mod request;
#[cfg(test)]
pub(crate) mod service;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use downstream::{Connection, Outcome, SendError};
use tokio::sync::watch;

use self::pair::Pair;
pub(crate) use self::request::Request;
use crate::{ServiceError, response::Response};

/// The way to one service.
pub(crate) struct Exchange {
    connection: Connection,
    endpoint: &'static str,
    /// By the address that requests go to.
    pairs: Mutex<HashMap<String, Slot>>,
    /// Who wants to know what becomes of requests.
    observer: OnceLock<Box<DeliveryObserver>>,
    /// Counts requests, to tell which pair has not been used for the longest.
    clock: AtomicU64,
}

/// Is told of each request that was sent, or could not be: of which tenant (empty if of none), what became of the message, and how
/// long that took.
pub type DeliveryObserver =
    dyn Fn(&str, Result<&Outcome, &SendError>, Duration) + Send + Sync + 'static;

/// A pair that is open, or being opened by a task of its own, for all who wait for it.
struct Slot {
    opened: watch::Receiver<Option<Opened>>,
    used: u64,
}

type Opened = Result<Arc<Pair>, ServiceError>;

impl Exchange {
    pub(crate) fn new(connection: Connection, endpoint: &'static str) -> Self {
        Self {
            connection,
            endpoint,
            pairs: Mutex::default(),
            observer: OnceLock::new(),
            clock: AtomicU64::new(0),
        }
    }

    /// Asks the service of a tenant, or that for all tenants.
    pub(crate) async fn ask(
        &self,
        tenant: Option<&str>,
        request: Request,
    ) -> Result<Response, ServiceError> {
        let pair = self.pair(self.address(tenant)).await?;
        let timeout = self.connection.config().request_timeout;
        let started = Instant::now();
        let tell = |result: Result<&Outcome, &SendError>| {
            if let Some(observer) = self.observer.get() {
                observer(tenant.unwrap_or_default(), result, started.elapsed());
            }
        };
        // A request is rare beside what is found in caches, whose futures are not to hold its state.
        Box::pin(pair.ask(request, timeout, tell)).await
    }

    /// Tells this one what becomes of the messages that requests are; the first one is told.
    pub(crate) fn observe(&self, observer: Box<DeliveryObserver>) {
        // Whoever comes later is not told, which the caller has read.
        drop(self.observer.set(observer));
    }

    /// Gives up the links of a tenant; they are opened again when needed.
    pub(crate) fn close(&self, tenant: &str) {
        self.pairs().remove(&self.address(Some(tenant)));
    }

    fn address(&self, tenant: Option<&str>) -> String {
        let endpoint = self.endpoint;
        tenant.map_or_else(
            || endpoint.to_owned(),
            |tenant| format!("{endpoint}/{tenant}"),
        )
    }

    async fn pair(&self, address: String) -> Opened {
        let mut opened = self.opened(&address);
        let pair = match opened.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(pair)) => pair.clone(),
            Ok(None) | Err(_) => Err(ServiceError::unavailable("no connection to service")),
        };
        if pair.is_err() {
            let mut pairs = self.pairs();
            if pairs
                .get(&address)
                .is_some_and(|slot| slot.opened.same_channel(&opened))
            {
                pairs.remove(&address);
            }
        }
        pair
    }

    /// The pair for an address: the one that is there, if it is of use, or else a new one.
    fn opened(&self, address: &str) -> watch::Receiver<Option<Opened>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut pairs = self.pairs();
        if let Some(slot) = pairs.get_mut(address).filter(|slot| slot.is_of_use()) {
            slot.used = now;
            return slot.opened.clone();
        }
        if pairs.len() >= MOST_PAIRS && !pairs.contains_key(address) {
            let longest_unused = pairs.iter().min_by_key(|(_, slot)| slot.used);
            if let Some(address) = longest_unused.map(|(address, _)| address.clone()) {
                pairs.remove(&address);
            }
        }
        let slot = Slot {
            opened: self.open(address.to_owned()),
            used: now,
        };
        let opened = slot.opened.clone();
        pairs.insert(address.to_owned(), slot);
        opened
    }

    /// Opens a pair in a task, which ends in the time that the connection allows for two links.
    fn open(&self, address: String) -> watch::Receiver<Option<Opened>> {
        let (tell, opened) = watch::channel(None);
        let (connection, endpoint) = (self.connection.clone(), self.endpoint);
        tokio::spawn(async move {
            let pair = tokio::select! {
                pair = Pair::open(&connection, endpoint, address) => pair,
                () = tell.closed() => return,
            };
            tell.send_replace(Some(pair.map(Arc::new)));
        });
        opened
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
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
}

/// The pairs of links that are kept for one API; beyond that, the one not used for the longest is given up.
const MOST_PAIRS: usize = 10_000;

//! The senders of a connection, one for each address, made when they are first needed (spec: amqp-messages §4).
//!
//! When the peer takes no more links, one that was not used lately makes room for the next address.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use amqp_proto::{Message, Outcome};
use fair_share::Holder;
use tokio::{sync::watch, time::sleep};

use crate::{Connection, Delivery, LinkError, SendError, Sender};

/// A cache of senders. A sender whose link or connection went is forgotten, and made again for the next message.
#[derive(Debug)]
pub struct Senders {
    connection: Connection,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<String, Slot>,
    /// Addresses in the order in which their senders make room, each with the time since which it
    /// stands there; a sender that was used since then gets a second chance.
    order: VecDeque<(String, Instant)>,
}

/// When a message counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is under way, for which credit is needed (at most once).
    Transferred,
    /// When the peer has settled it (at least once).
    Settled,
}

impl Until {
    /// What became of a message that was transferred, as far as that is waited for.
    ///
    /// # Errors
    /// [`SendError`] if the peer does not tell.
    pub async fn outcome(self, delivery: Delivery) -> Result<Outcome, SendError> {
        match self {
            Self::Settled => delivery.outcome(None).await,
            Self::Transferred => {
                delivery.let_go();
                Ok(Outcome::Accepted)
            }
        }
    }
}

#[derive(Debug)]
enum Slot {
    /// Somebody attaches it; all others wait for that, and are counted by the handles of the second part.
    Attaching(watch::Receiver<Option<Result<Sender, LinkError>>>, Arc<()>),
    Attached {
        sender: Sender,
        used: Instant,
        /// Its time in the order.
        since: Instant,
    },
}

/// What is to be done to get a sender.
enum Way {
    Use(Sender),
    Wait(watch::Receiver<Option<Result<Sender, LinkError>>>, Arc<()>),
    /// Too many wait for the connection.
    Refuse,
    Attach(watch::Sender<Option<Result<Sender, LinkError>>>),
}

impl Slot {
    fn sender(&self) -> Option<Sender> {
        match self {
            Self::Attached { sender, .. } => Some(sender.clone()),
            Self::Attaching(..) => None,
        }
    }
}

impl Senders {
    /// No sender yet.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            table: Mutex::default(),
        }
    }

    /// The connection that they are all on.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a message to an address. With [`Until::Transferred`] the outcome is `Accepted` as soon as it is under way.
    ///
    /// # Errors
    /// [`SendError`] if nothing was sent, or if the peer does not tell what became of it.
    pub async fn send(
        &self,
        address: &str,
        message: &Message,
        until: Until,
    ) -> Result<Outcome, SendError> {
        let delivery = self
            .transfer(address, message, Instant::now(), None)
            .await?;
        until.outcome(delivery).await
    }

    /// Ends the link to an address if it carried nothing for that long. Tells whether it is gone.
    pub fn close_idle(&self, address: &str, for_longer_than: Duration) -> bool {
        let slots = &mut self.lock().slots;
        let is_idle = match slots.get(address) {
            Some(Slot::Attached { used, .. }) => used.elapsed() > for_longer_than,
            Some(Slot::Attaching(..)) => false,
            None => return true,
        };
        is_idle && slots.remove(address).is_some()
    }

    /// How many addresses have a link.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    /// Whether there is no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// The credit that is left on all links together. It looks at each of them.
    #[must_use]
    pub fn credit(&self) -> u64 {
        let table = self.lock();
        let senders: Vec<_> = table.slots.values().filter_map(Slot::sender).collect();
        drop(table);
        senders
            .iter()
            .map(|sender| u64::from(sender.credit()))
            .sum()
    }

    /// Transfers a message that has been waiting since `asked` to an address, behind all that were transferred before on the
    /// connection. The last of the link's credit is shared among holders.
    ///
    /// # Errors
    /// [`SendError`] if nothing was sent.
    pub async fn transfer(
        &self,
        address: &str,
        message: &Message,
        asked: Instant,
        holder: Option<Holder>,
    ) -> Result<Delivery, SendError> {
        // A sender may turn out to be gone only when it is used; then nothing was sent, and a new one is tried, once.
        match self
            .sender(address, asked)
            .await?
            .send_of(message, holder)
            .await
        {
            Err(SendError::Link(LinkError::NotConnected)) => {
                self.sender(address, asked)
                    .await?
                    .send_of(message, holder)
                    .await
            }
            other => other,
        }
    }

    async fn sender(&self, address: &str, asked: Instant) -> Result<Sender, LinkError> {
        loop {
            match self.way(address, asked) {
                Way::Use(sender) => return Ok(sender),
                Way::Attach(done) => return self.attach(address, asked, &done).await,
                Way::Refuse => return Err(LinkError::NotConnected),
                Way::Wait(mut attaching, _waiting) => {
                    // An error means that the task that attached the link gave up: another one has
                    // to attach.
                    if let Ok(done) = attaching.wait_for(Option::is_some).await
                        && let Some(result) = done.clone()
                    {
                        return result;
                    }
                }
            }
        }
    }

    fn way(&self, address: &str, asked: Instant) -> Way {
        let slots = &mut self.lock().slots;
        match slots.get_mut(address) {
            Some(Slot::Attached { sender, used, .. }) if sender.is_attached() => {
                *used = asked.max(*used);
                return Way::Use(sender.clone());
            }
            Some(Slot::Attaching(attaching, waiting)) if attaching.has_changed().is_ok() => {
                if Arc::strong_count(waiting) > MAX_HELD && !self.connection.is_connected() {
                    return Way::Refuse;
                }
                return Way::Wait(attaching.clone(), Arc::clone(waiting));
            }
            _ => {}
        }
        let (done, attaching) = watch::channel(None);
        slots.insert(
            address.to_owned(),
            Slot::Attaching(attaching, Arc::default()),
        );
        Way::Attach(done)
    }

    async fn attach(
        &self,
        address: &str,
        asked: Instant,
        done: &watch::Sender<Option<Result<Sender, LinkError>>>,
    ) -> Result<Sender, LinkError> {
        let result = self.attach_with_room(address, asked).await;
        let mut table = self.lock();
        match &result {
            Ok(sender) => table.insert(address, sender.clone(), Instant::now()),
            Err(_) => {
                table.slots.remove(address);
            }
        }
        drop(table);
        done.send_replace(Some(result.clone()));
        result
    }

    /// Attaches a sender; where the peer takes no more links, another one is released for it.
    async fn attach_with_room(&self, address: &str, asked: Instant) -> Result<Sender, LinkError> {
        let patience = self.connection.config().link_establishment_timeout;
        let give_up = tokio::time::Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let attached = self.connection.sender_since(address, asked).await;
            let is_full = matches!(attached, Err(LinkError::TooManyLinks));
            if !is_full || tokio::time::Instant::now() + pause > give_up {
                return attached;
            }
            // Dropped outside of the lock.
            let released = self.lock().release_idle();
            drop(released);
            // The handle is free when the peer has answered the detach.
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, address: &str, sender: Sender, now: Instant) {
        let slot = Slot::Attached {
            sender,
            used: now,
            since: now,
        };
        self.slots.insert(address.to_owned(), slot);
        self.order.push_back((address.to_owned(), now));
        if self.order.len() > self.slots.len().saturating_mul(2).saturating_add(MAX_STALE) {
            let slots = &self.slots;
            self.order.retain(|(address, at)| {
                matches!(slots.get(address), Some(Slot::Attached { since, .. }) if since == at)
            });
        }
    }

    /// Takes out a sender that was not used lately and has no message under way.
    fn release_idle(&mut self) -> Option<Sender> {
        let mut busy = 0;
        for _ in 0..self.order.len() {
            let (address, at) = self.order.pop_front()?;
            let Some(Slot::Attached {
                sender,
                used,
                since,
            }) = self.slots.get_mut(&address)
            else {
                continue;
            };
            if *since != at {
                continue;
            }
            let is_busy = sender.in_flight() > 0;
            if is_busy || *used > at {
                *since = *used;
                self.order.push_back((address, *since));
                busy += usize::from(is_busy);
                if busy > MAX_BUSY_SKIPPED {
                    return None;
                }
                continue;
            }
            tracing::debug!(%address, "releasing a link that was not used for long");
            let released = self.slots.remove(&address)?;
            return released.sender();
        }
        None
    }
}

/// Places of senders that are gone which are not worth a look at all.
const MAX_STALE: usize = 16;

/// Number of senders with messages under way that are passed over to find an idle one.
const MAX_BUSY_SKIPPED: usize = 64;

/// First delay before a link is attached again that the peer had no room for.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Messages for one address that wait for a lost connection at a time; further ones are refused at once.
const MAX_HELD: usize = 64;

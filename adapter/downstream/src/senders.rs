//! The senders of a connection, one for each address, made when they are first needed (spec: amqp-messages §4).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use amqp_proto::{Message, Outcome};
use tokio::sync::watch;

use crate::{Connection, Delivery, LinkError, SendError, Sender};

/// A cache of senders. A sender whose link or connection went is forgotten, and made again for the next message.
#[derive(Debug)]
pub struct Senders {
    connection: Connection,
    slots: Mutex<HashMap<String, Slot>>,
}

/// When a message counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is under way, for which credit is needed (at most once).
    Transferred,
    /// When the peer has settled it (at least once).
    Settled,
}

#[derive(Debug)]
enum Slot {
    /// Somebody attaches it; all others wait for that.
    Attaching(watch::Receiver<Option<Result<Sender, LinkError>>>),
    Attached {
        sender: Sender,
        used: Instant,
    },
}

/// What is to be done to get a sender.
enum Way {
    Use(Sender),
    Wait(watch::Receiver<Option<Result<Sender, LinkError>>>),
    Attach(watch::Sender<Option<Result<Sender, LinkError>>>),
}

impl Slot {
    fn sender(&self) -> Option<Sender> {
        match self {
            Self::Attached { sender, .. } => Some(sender.clone()),
            Self::Attaching(_) => None,
        }
    }
}

impl Senders {
    /// No sender yet.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            slots: Mutex::default(),
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
        let delivery = self.transfer(address, message).await?;
        match until {
            Until::Settled => delivery.outcome(None).await,
            Until::Transferred => {
                delivery.let_go();
                Ok(Outcome::Accepted)
            }
        }
    }

    /// Ends the link to an address if it carried nothing for that long. Tells whether it is gone.
    pub fn close_idle(&self, address: &str, for_longer_than: Duration) -> bool {
        let mut slots = self.lock();
        let is_idle = match slots.get(address) {
            Some(Slot::Attached { used, .. }) => used.elapsed() > for_longer_than,
            Some(Slot::Attaching(_)) => false,
            None => return true,
        };
        is_idle && slots.remove(address).is_some()
    }

    /// How many addresses have a link.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The credit that is left on all links together. It looks at each of them.
    #[must_use]
    pub fn credit(&self) -> u64 {
        let senders: Vec<_> = self.lock().values().filter_map(Slot::sender).collect();
        senders
            .iter()
            .map(|sender| u64::from(sender.credit()))
            .sum()
    }

    /// A sender may turn out to be gone only when it is used; then nothing was sent, and a new one is tried, once.
    async fn transfer(&self, address: &str, message: &Message) -> Result<Delivery, SendError> {
        match self.sender(address).await?.send(message).await {
            Err(SendError::Link(LinkError::NotConnected)) => {
                self.sender(address).await?.send(message).await
            }
            other => other,
        }
    }

    async fn sender(&self, address: &str) -> Result<Sender, LinkError> {
        loop {
            match self.way(address) {
                Way::Use(sender) => return Ok(sender),
                Way::Attach(done) => return self.attach(address, &done).await,
                Way::Wait(mut attaching) => {
                    // An error tells that whoever attached gave up: somebody else has to.
                    if let Ok(done) = attaching.wait_for(Option::is_some).await
                        && let Some(result) = done.clone()
                    {
                        return result;
                    }
                }
            }
        }
    }

    fn way(&self, address: &str) -> Way {
        let mut slots = self.lock();
        match slots.get_mut(address) {
            Some(Slot::Attached { sender, used }) if sender.is_attached() => {
                *used = Instant::now();
                return Way::Use(sender.clone());
            }
            Some(Slot::Attaching(attaching)) if attaching.has_changed().is_ok() => {
                return Way::Wait(attaching.clone());
            }
            _ => {}
        }
        let (done, attaching) = watch::channel(None);
        slots.insert(address.to_owned(), Slot::Attaching(attaching));
        Way::Attach(done)
    }

    async fn attach(
        &self,
        address: &str,
        done: &watch::Sender<Option<Result<Sender, LinkError>>>,
    ) -> Result<Sender, LinkError> {
        let result = self.connection.sender(address).await;
        let mut slots = self.lock();
        match &result {
            Ok(sender) => {
                let slot = Slot::Attached {
                    sender: sender.clone(),
                    used: Instant::now(),
                };
                slots.insert(address.to_owned(), slot);
            }
            Err(_) => {
                slots.remove(address);
            }
        }
        drop(slots);
        done.send_replace(Some(result.clone()));
        result
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

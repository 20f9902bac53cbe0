//! Requests that wait for a command (`hono-ttd`), and how a command finds the one that waits for it (spec: coap-adapter §6,
//! amqp-messages §6, registry-apis A.6).
//!
//! ```text
//! open ──> Waiting ──deliver──> the command is handed over ──> Waiting no more: further ones are released
//!             └──close, drop, or opened anew for the same device──> gone
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use amqp_client::{Message, Outcome};
use tokio::sync::oneshot;

use super::message::{Command, Malformed, Target};
use crate::authn::Origin;

/// All waiting requests of this adapter instance.
#[derive(Debug, Default)]
pub struct Inboxes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Key, Waiting>,
    /// Tells one opening of an inbox from the next.
    opened: u64,
}

/// Tenant, and the device or gateway that waits.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Waiting {
    serial: u64,
    /// The gateway whose request waits for this device.
    gateway: Option<Arc<str>>,
    /// Gone with the first command.
    hand_over: Option<oneshot::Sender<Box<Received>>>,
}

/// What became of a command when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A waiting request has it, and will settle it.
    HandedOver,
    /// It was rejected, as it cannot be understood.
    Malformed,
    /// It was released: the request that waits has one already, or waits no longer.
    Second,
    /// It was released or rejected: nobody waits for it, or it does not say for whom it is.
    Nobody,
}

/// A command for a waiting request. Dropped, it goes back to the application, which may send it anew.
#[derive(Debug)]
pub struct Received {
    /// What the device is to do.
    pub command: Command,
    /// The device that is to obey.
    pub device: String,
    /// The gateway it goes through, if it does.
    pub via: Option<String>,
    /// When it came to this adapter.
    pub arrived: Instant,
    /// The way of its outcome.
    pub delivery: Delivery,
}

/// A delivery that must be settled; by default, as released.
pub struct Delivery(Option<Box<dyn FnOnce(Outcome) -> Told + Send>>);

/// Whether the application learns the outcome of its command from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It does.
    InTime,
    /// It was told before that nobody took the command.
    TooLate,
}

impl Delivery {
    /// A delivery that is settled by calling `settle`.
    pub fn new(settle: impl FnOnce(Outcome) -> Told + Send + 'static) -> Self {
        Self(Some(Box::new(settle)))
    }

    /// The device gets the command, unless that is told too late: it must not then, for the application may send it anew.
    #[must_use = "a device must not get a command whose outcome came too late"]
    pub fn accept(self) -> Told {
        self.settle(Outcome::Accepted)
    }

    /// Nobody can take the command now.
    pub fn release(self) {
        drop(self);
    }

    /// The command is wrong, and would be wrong again.
    pub fn reject(self, description: impl Into<String>) {
        self.settle(Outcome::Rejected {
            condition: Some("hono:bad-request".to_owned()),
            description: Some(description.into()),
        });
    }

    /// Tells its outcome to `watcher`, too: released if it came too late.
    pub fn watch(&mut self, watcher: impl FnOnce(&Outcome) + Send + 'static) {
        let settle = self.0.take();
        self.0 = Some(Box::new(move |outcome| {
            let told = settle.map_or(Told::TooLate, |settle| settle(outcome.clone()));
            watcher(match told {
                Told::InTime => &outcome,
                Told::TooLate => &Outcome::Released,
            });
            told
        }));
    }

    fn settle(mut self, outcome: Outcome) -> Told {
        self.0
            .take()
            .map_or(Told::TooLate, |settle| settle(outcome))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle(Outcome::Released);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery")
    }
}

impl Inboxes {
    /// Lets a request wait for commands for its origin; an earlier one of the same origin gets none any more.
    #[must_use]
    pub fn open(self: &Arc<Self>, origin: &Origin) -> Inbox {
        let (hand_over, received) = oneshot::channel();
        let key = (Arc::clone(&origin.tenant), Arc::clone(&origin.device));
        let mut state = self.state();
        state.opened += 1;
        let serial = state.opened;
        let waiting = Waiting {
            serial,
            gateway: origin.gateway.clone(),
            hand_over: Some(hand_over),
        };
        state.waiting.insert(key.clone(), waiting);
        Inbox {
            inboxes: Arc::clone(self),
            key,
            serial,
            received,
        }
    }

    /// Brings a command to the request that waits for it, or settles it at once.
    pub fn deliver(&self, message: &Message, delivery: Delivery) -> Fate {
        let Some(target) = Target::of(message) else {
            delivery.reject("invalid command target address");
            return Fate::Nobody;
        };
        let key = (target.tenant.as_str().into(), target.waiting().into());
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(&key) else {
            drop(state);
            delivery.release();
            return Fate::Nobody;
        };
        let Ok(command) = Command::of(message, &target.tenant) else {
            drop(state);
            delivery.reject(Malformed.to_string());
            return Fate::Malformed;
        };
        let via = waiting.gateway.as_deref().map(str::to_owned).or(target.via);
        let hand_over = waiting.hand_over.take();
        drop(state);
        let arrived = Instant::now();
        // Boxed, as thousands wait and few have a command.
        let received = Box::new(Received {
            command,
            device: target.device,
            via,
            arrived,
            delivery,
        });
        let Some(hand_over) = hand_over else {
            received.delivery.release();
            return Fate::Second;
        };
        // A request that is gone does not take it; dropped, it is released.
        match hand_over.send(received) {
            Ok(()) => Fate::HandedOver,
            Err(_too_late) => Fate::Second,
        }
    }

    /// The tenants of all waiting requests.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<Arc<str>> {
        self.state()
            .waiting
            .keys()
            .map(|(tenant, _)| Arc::clone(tenant))
            .collect()
    }

    /// Whether a request waits for commands for this device or gateway.
    #[must_use]
    pub fn has(&self, tenant: &str, device: &str) -> bool {
        let key = (tenant.into(), device.into());
        self.state().waiting.contains_key(&key)
    }

    /// How many requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place among those that wait; given up when dropped.
#[derive(Debug)]
pub struct Inbox {
    inboxes: Arc<Inboxes>,
    key: Key,
    serial: u64,
    received: oneshot::Receiver<Box<Received>>,
}

/// Whether an inbox was still the one of its device when it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was.
    Last,
    /// A later request had taken its place, or it was closed before.
    Replaced,
}

impl Inbox {
    /// The tenant and the device or gateway that waits.
    #[must_use]
    pub fn waiting(&self) -> (&str, &str) {
        (&self.key.0, &self.key.1)
    }

    /// The command, once there is one; `None` as soon as there will be none, as another request of the device waits now, or after
    /// it was taken.
    ///
    /// Cancel safe.
    pub async fn command(&mut self) -> Option<Box<Received>> {
        if self.received.is_terminated() {
            return None;
        }
        (&mut self.received).await.ok()
    }

    /// Gives up the place. A command that came and was not fetched goes back.
    pub fn close(&mut self) -> Closed {
        self.received.close();
        drop(self.received.try_recv());
        let mut state = self.inboxes.state();
        match state.waiting.get(&self.key) {
            Some(waiting) if waiting.serial == self.serial => {
                state.waiting.remove(&self.key);
                Closed::Last
            }
            _ => Closed::Replaced,
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

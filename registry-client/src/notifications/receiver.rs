//! Receives notifications for as long as the process lives, over whatever outages.

use std::{sync::Arc, time::Duration};

use downstream::{Connection, Message, Outcome};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinSet,
    time::sleep,
};

use super::Notification;
use crate::{CredentialsClient, RegistrationClient, TenantClient};

/// Who forgets something when the registry changes.
#[derive(Debug, Clone)]
pub struct Caches {
    /// The tenants.
    pub tenants: Arc<TenantClient>,
    /// The registration assertions.
    pub registrations: Arc<RegistrationClient>,
    /// The credentials.
    pub credentials: Arc<CredentialsClient>,
}

/// Receives notifications until it is dropped.
#[derive(Debug)]
#[must_use = "notifications are received until this is dropped"]
pub struct Notifications {
    events: broadcast::Sender<Notification>,
    _receivers: JoinSet<()>,
}

/// The notifications from the time of subscription on, each after the caches have forgotten what it concerns.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Notification>);

impl Notifications {
    /// Starts to receive over a connection, on which links are opened anew after each outage.
    pub fn start(connection: &Connection, caches: &Caches) -> Self {
        let (events, _) = broadcast::channel(MOST_EVENTS);
        let mut receivers = JoinSet::new();
        for address in ADDRESSES {
            let (connection, caches) = (connection.clone(), caches.clone());
            receivers.spawn(receive(connection, address, caches, events.clone()));
        }
        Self {
            events,
            _receivers: receivers,
        }
    }

    /// The notifications from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events(self.events.subscribe())
    }
}

impl Events {
    /// The next notification; `None` once no more are received. Who is so slow that 1,000 are waiting misses the oldest.
    pub async fn next(&mut self) -> Option<Notification> {
        loop {
            match self.0.recv().await {
                Ok(notification) => return Some(notification),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "notifications come faster than they are processed");
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Caches {
    /// Forgets what may be different now.
    pub(super) async fn forget(&self, notification: &Notification) {
        self.tenants.forget(&notification.subject).await;
        self.registrations.forget(&notification.subject).await;
        self.credentials.forget(&notification.subject).await;
    }
}

async fn receive(
    connection: Connection,
    address: &'static str,
    caches: Caches,
    events: broadcast::Sender<Notification>,
) {
    loop {
        match connection.receiver(address, CREDIT).await {
            Ok(mut link) => {
                while let Some(incoming) = link.next().await {
                    match incoming.message.as_ref().map(read) {
                        Ok(Some(notification)) => {
                            caches.forget(&notification).await;
                            // Nobody has to subscribe.
                            drop(events.send(notification));
                        }
                        Ok(None) | Err(_) => {
                            tracing::debug!(address, "ignored a malformed notification");
                        }
                    }
                    // A malformed one too: it would be as malformed if it came again.
                    incoming.settle(Outcome::Accepted);
                }
            }
            Err(error) => tracing::debug!(address, %error, "no link for notifications"),
        }
        sleep(PAUSE).await;
    }
}

fn read(message: &Message) -> Option<Notification> {
    Notification::from_json(message.body.bytes()).ok()
}

/// Where registries send notifications (spec: registry-apis B).
const ADDRESSES: [&str; 2] = [
    "notification/registry-tenant",
    "notification/registry-device",
];

/// How many notifications may be under way to us.
const CREDIT: u32 = 200;

/// How many notifications wait for a slow subscriber.
const MOST_EVENTS: usize = 1_000;

/// How long to wait before a lost link is opened again, or tried again.
const PAUSE: Duration = Duration::from_millis(500);

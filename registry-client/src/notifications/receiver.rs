//! Receives notifications for as long as the process lives, over whatever outages.

use std::{sync::Arc, time::Duration};

use amqp_client::{Connection, Message, Outcome};
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

/// What a subscriber learns.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something changed; the caches have forgotten what it concerns.
    Changed(Notification),
    /// Notifications were missed, so anything may have changed: a link was lost, or the subscriber
    /// was too slow. After a lost link the caches have forgotten everything.
    Missed,
}

/// Receives notifications until it is dropped.
#[derive(Debug)]
#[must_use = "notifications are received until this is dropped"]
pub struct Notifications {
    events: broadcast::Sender<Event>,
    _receivers: JoinSet<()>,
}

/// The events from the time of subscription on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Notifications {
    /// Starts to receive over a connection; links are reopened after each outage.
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
    /// The next event; `None` once no more are received. A subscriber that is so slow that 1,000 wait
    /// misses the oldest.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "notifications come faster than they are processed");
                Some(Event::Missed)
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Caches {
    /// Forgets what may be different now.
    pub(super) fn forget(&self, notification: &Notification) {
        self.tenants.forget(&notification.subject);
        self.registrations.forget(&notification.subject);
        self.credentials.forget(&notification.subject);
    }

    /// Forgets everything, as anything may be different now.
    fn forget_all(&self) {
        self.tenants.forget_all();
        self.registrations.forget_all();
        self.credentials.forget_all();
    }
}

async fn receive(
    connection: Connection,
    address: &'static str,
    caches: Caches,
    events: broadcast::Sender<Event>,
) {
    let mut is_first = true;
    loop {
        // It is no request, and makes the connection try no sooner.
        if !connection.connected(LONG_PAUSE).await {
            sleep(PAUSE).await;
            continue;
        }
        match connection.receiver(address, CREDIT).await {
            Ok(mut link) => {
                // What the registry sent while there was no link is lost.
                caches.forget_all();
                if !std::mem::take(&mut is_first) {
                    tracing::info!(
                        address,
                        "notifications may have been missed: dropping all cached responses"
                    );
                    drop(events.send(Event::Missed));
                }
                while let Some(incoming) = link.next().await {
                    match incoming.message.as_ref().map(read) {
                        Ok(Some(notification)) => {
                            caches.forget(&notification);
                            // Nobody has to subscribe.
                            drop(events.send(Event::Changed(notification)));
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

/// How long the connection is waited for at a time.
const LONG_PAUSE: Duration = Duration::from_secs(60);

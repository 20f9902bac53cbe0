//! The built-in application: it receives what no other application does, for every tenant, also for
//! those that are created later.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{SceneConfig, commands::own_response_address};
use crate::{
    Error,
    northbound::{Application, ApplicationConfig, Behaviour, Detail, Received, Sender},
};

/// The built-in application.
pub(super) struct Audience {
    peer: std::net::SocketAddr,
    /// Of the tenants that were there at the start; it also hears of new ones.
    first: Application,
    /// Of tenants that were created later.
    later: BTreeMap<String, AbortOnDropHandle<()>>,
    messages: (mpsc::Sender<Received>, mpsc::Receiver<Received>),
}

impl Audience {
    pub(super) async fn attach(config: &SceneConfig) -> Result<Self, Error> {
        let tenants = config.world.tenants.keys();
        let addresses = tenants
            .flat_map(|tenant| addresses(tenant))
            .chain([TENANTS.to_owned()])
            .collect();
        Ok(Self {
            peer: config.amqp,
            first: Application::start(application(config.amqp, addresses)).await?,
            later: BTreeMap::new(),
            messages: mpsc::channel(QUEUE),
        })
    }

    pub(super) fn sender(&self) -> Sender {
        self.first.sender()
    }

    /// The next message of a device; none if the connection is gone.
    pub(super) async fn next(&mut self) -> Option<Received> {
        loop {
            let received = tokio::select! {
                received = self.first.next() => received?,
                Some(received) = self.messages.1.recv() => return Some(received),
            };
            if received.link != TENANTS {
                return Some(received);
            }
            self.on_change(&received.payload);
        }
    }

    /// Attaches to a tenant that was created, and leaves one that was deleted.
    fn on_change(&mut self, notification: &[u8]) {
        let notification: Value = serde_json::from_slice(notification).unwrap_or_default();
        let Some(tenant) = notification["tenant-id"].as_str() else {
            return;
        };
        match notification["change"].as_str() {
            Some("DELETE") => {
                self.later.remove(tenant);
            }
            Some("CREATE") if self.later.len() < MAX_LATER_TENANTS => {
                let config = application(self.peer, addresses(tenant).to_vec());
                let receiving = receive(config, self.messages.0.clone());
                let task = AbortOnDropHandle::new(tokio::spawn(receiving));
                self.later.insert(tenant.to_owned(), task);
            }
            _ => {}
        }
    }

    pub(super) async fn detach(self) {
        drop(self.later);
        self.first.detach().await;
    }
}

/// Hands on what arrives for a tenant until it is aborted.
async fn receive(config: ApplicationConfig, messages: mpsc::Sender<Received>) {
    let mut application = match Application::start(config).await {
        Ok(application) => application,
        Err(error) => {
            tracing::warn!(%error, "the built-in application cannot attach to a new tenant");
            return;
        }
    };
    while let Some(received) = application.next().await {
        if messages.send(received).await.is_err() {
            return;
        }
    }
}

fn application(peer: std::net::SocketAddr, addresses: Vec<String>) -> ApplicationConfig {
    ApplicationConfig {
        peer,
        addresses,
        behaviour: Behaviour::Accept,
        // A newcomer's own application gets everything.
        priority: -1,
        detail: Detail::Sections,
    }
}

fn addresses(tenant: &str) -> [String; 3] {
    [
        format!("telemetry/{tenant}"),
        format!("event/{tenant}"),
        own_response_address(tenant),
    ]
}

/// Where the registry tells of changes of tenants.
const TENANTS: &str = "notification/registry-tenant";
/// Each has a connection of its own.
const MAX_LATER_TENANTS: usize = 256;
const QUEUE: usize = 64;

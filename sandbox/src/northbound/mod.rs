//! The business application north of the adapter: an AMQP client over TCP that receives messages and settles them as it is told to.

mod behaviour;
mod client;

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::behaviour::{Behaviour, UnknownBehaviour};
use self::client::Failure;
use crate::Error;

/// A message as the application got it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The address of the link it came over.
    pub link: String,
    /// Whether the sender had settled it already and waits for no outcome.
    pub settled: bool,
    /// The sections in the form of the recorded exchanges: typed leaves, and `order`. Null if it is no AMQP message.
    pub sections: serde_json::Value,
    /// The body's bytes.
    pub payload: Vec<u8>,
}

/// How an application attaches.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationConfig {
    /// Where the AMQP network listens.
    pub peer: SocketAddr,
    /// The addresses it receives from.
    pub addresses: Vec<String>,
    /// What it does with messages.
    pub behaviour: Behaviour,
    /// It gets nothing while somebody of a higher priority receives from the same address; others have 0.
    pub priority: i32,
}

impl ApplicationConfig {
    /// An application like any other, attached to the tenant's telemetry and events.
    #[must_use]
    pub fn of_tenant(peer: SocketAddr, tenant: &str, behaviour: Behaviour) -> Self {
        let addresses = ["telemetry", "event"]
            .map(|endpoint| format!("{endpoint}/{tenant}"))
            .to_vec();
        Self {
            peer,
            addresses,
            behaviour,
            priority: 0,
        }
    }
}

/// An attached application. Dropping it cuts the connection; [`Application::detach`] ends it in order.
#[derive(Debug)]
pub struct Application {
    received: mpsc::Receiver<Received>,
    leave: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Application {
    /// Attaches to `telemetry/<tenant>`, `event/<tenant>` and the `further` addresses. When it returns, senders to them have credit.
    ///
    /// # Errors
    /// If the peer is not there, refuses an address, or takes too long.
    pub async fn attach(
        peer: SocketAddr,
        tenant: &str,
        further: &[&str],
        behaviour: Behaviour,
    ) -> Result<Self, Error> {
        let mut config = ApplicationConfig::of_tenant(peer, tenant, behaviour);
        config
            .addresses
            .extend(further.iter().map(|address| (*address).to_owned()));
        Self::start(config).await
    }

    /// Attaches as `config` says.
    ///
    /// # Errors
    /// If the peer is not there, refuses an address, or takes too long.
    pub async fn start(config: ApplicationConfig) -> Result<Self, Error> {
        let address = config.peer;
        let attached = timeout(ATTACH_TIMEOUT, client::connect(config))
            .await
            .map_err(|_| Error::Timeout(ATTACH_TIMEOUT))?;
        let (client, reader) = attached.map_err(|failure| match failure {
            Failure::Refused { address, reason } => Error::Refused { address, reason },
            Failure::Io(source) => Error::Connection { address, source },
        })?;
        let (sender, received) = mpsc::channel(QUEUE);
        let leave = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(client.run(reader, sender, leave.clone())));
        Ok(Self {
            received,
            leave,
            task,
        })
    }

    /// The next message, or none if none comes in time or the connection is gone.
    pub async fn receive(&mut self, within: Duration) -> Option<Received> {
        timeout(within, self.received.recv()).await.ok().flatten()
    }

    /// The next message, or none if the connection is gone.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }

    /// Closes the connection; when it returns, senders without another receiver have lost their credit.
    pub async fn detach(self) {
        self.leave.cancel();
        drop(self.received);
        if timeout(ATTACH_TIMEOUT, self.task).await.is_err() {
            tracing::debug!("the peer did not answer the close in time");
        }
    }
}

const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that nobody fetched; when full, the connection is not read.
const QUEUE: usize = 4096;

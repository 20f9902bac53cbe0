//! The business application north of the adapter: an AMQP client over TCP that receives messages
//! and settles them as configured
//! to, and that sends commands.

mod behaviour;
mod client;
mod command;
pub(crate) mod line;
mod sending;

use std::{fmt, io, net::SocketAddr, time::Duration};

pub use amqp_proto::{
    Message, Outcome,
    message::{Body, MessageId},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{
    behaviour::{Behaviour, UnknownBehaviour},
    command::{command, recorded_command, recorded_outcome},
    line::{
        CommandLine, CommandLineError, CommandReport, SendLineError, send_command_line,
        send_command_line_noting,
    },
};
use self::{client::Failure, sending::Order};
use crate::{
    Error,
    shown::{clean, shown},
};

/// A message as the application got it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The address of the link it came over.
    pub link: String,
    /// Whether the sender had settled it already and waits for no outcome.
    pub settled: bool,
    /// The sections in the form of the recorded exchanges: typed leaves, and `order`. Null if it is no AMQP message, or if nobody
    /// looks at them ([`Detail`]).
    pub sections: serde_json::Value,
    /// The body's bytes.
    pub payload: Vec<u8>,
}

impl Received {
    /// An application property of that AMQP type; null if there is none.
    #[must_use]
    pub fn application_property(&self, name: &str, kind: &str) -> &serde_json::Value {
        &self.sections["application-properties"][name][kind]
    }
}

/// One line for a person: where it came from, which device it is from, and what it says.
impl fmt::Display for Received {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &serde_json::Value| clean(value.as_str().unwrap_or("-"));
        let device = text(self.application_property("device_id", "string"));
        write!(formatter, "{}  device {device}", clean(&self.link))?;
        if let Some(status) = self.application_property("status", "int").as_i64() {
            write!(formatter, "  status {status}")?;
        }
        if let Some(ttd) = self.application_property("ttd", "int").as_i64() {
            write!(formatter, "  ttd {ttd}")?;
        }
        let content_type = text(&self.sections["properties"]["content-type"]["symbol"]);
        write!(formatter, "  {content_type}  {}", shown(&self.payload))
    }
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
    /// What it looks at of each message.
    pub detail: Detail,
}

/// How much of its messages an application looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// All sections.
    #[default]
    Sections,
    /// The body only, which costs much less where there are thousands a second.
    Payload,
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
            detail: Detail::default(),
        }
    }
}

/// An attached application. Dropping it cuts the connection; [`Application::detach`] ends it in order.
#[derive(Debug)]
pub struct Application {
    received: mpsc::Receiver<Received>,
    sender: Sender,
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
        let (arrived, received) = mpsc::channel(QUEUE);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let leave = CancellationToken::new();
        let running = client.run(reader, arrived, ordered, leave.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(running));
        let sender = Sender {
            peer: address,
            orders,
        };
        Ok(Self {
            received,
            sender,
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

    /// Sends a command to `command/<tenant>` and waits for its outcome; none if it is not settled in time, be it that nobody
    /// gives credit for it. [`command()`] makes one.
    ///
    /// # Errors
    /// If the peer refuses the address, or the connection is gone.
    pub async fn send_command(
        &self,
        tenant: &str,
        command: &Message,
        within: Duration,
    ) -> Result<Option<Outcome>, Error> {
        self.sender
            .send(&format!("command/{tenant}"), command, within)
            .await
    }

    /// A handle to send with, for use in other tasks.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
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

/// Sends over the connection of an [`Application`], as long as that lives.
#[derive(Debug, Clone)]
pub struct Sender {
    peer: SocketAddr,
    orders: mpsc::Sender<Order>,
}

impl Sender {
    /// Sends a message to any address and waits for its outcome; none if it is not settled in time.
    ///
    /// # Errors
    /// If the peer refuses the address, or the connection is gone.
    pub async fn send(
        &self,
        address: &str,
        message: &Message,
        within: Duration,
    ) -> Result<Option<Outcome>, Error> {
        let mut bytes = Vec::with_capacity(message.size_hint());
        message.encode(&mut bytes);
        self.send_bytes(address, bytes, within).await
    }

    /// Sends these bytes as a message, whatever they are.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_bytes(
        &self,
        address: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Option<Outcome>, Error> {
        let gone = || Error::Connection {
            address: self.peer,
            source: io::ErrorKind::ConnectionAborted.into(),
        };
        let (outcome, reported) = oneshot::channel();
        let order = Order {
            address: address.to_owned(),
            message,
            outcome,
        };
        let sent = async {
            self.orders.send(order).await.map_err(|_| gone())?;
            reported.await.map_err(|_| gone())?
        };
        match timeout(within, sent).await {
            Ok(outcome) => outcome.map(Some),
            Err(_) => Ok(None),
        }
    }
}

const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that nobody fetched; when full, the connection is not read.
const QUEUE: usize = 4096;
/// Messages that the client has not taken over yet; beyond it, senders wait.
const ORDERS: usize = 256;

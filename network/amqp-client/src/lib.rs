//! AMQP 1.0 links to the messaging network: the shell round [`amqp_proto`].
//!
//! ```text
//! Senders ─> Sender::send ──┐ (a lock, no queue)                      ┌─> Delivery::outcome
//!                           ▼                                         │
//!                  amqp_proto::Connection ── bytes ─> the connection's task ─> TCP or TLS
//!                           │                                         │
//! Receiver::next <──────────┘                                         └─> reconnects for ever
//! ```
//!
//! [`Connection::start`] never fails because a peer is down: it connects in the background, and again whenever the connection is
//! lost. A [`Sender`] never waits for credit: no credit means that there is no consumer, and the
//! send fails at once. What was
//! sent is settled in time, by the peer or by us; a dropped [`Delivery`] is settled as released. Nothing is ever sent twice.
//!
//! ```no_run
//! use amqp_client::{Connection, ConnectionConfig, Message, Senders, Until};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::start("Downstream", ConnectionConfig::new("localhost", 5672))?;
//! let senders = Senders::new(connection);
//! let outcome = senders.send("telemetry/T", &Message::data(*b"21"), Until::Settled).await?;
//! # Ok(()) }
//! ```

mod senders;

mod credit_reserve;
mod sender;

mod receiver;

mod connection;

mod ready;

mod service;

mod address;

mod config;

mod error;

pub use address::AddressRewriteRule;
pub use amqp_proto::{
    DecodeError, Outcome, Secret, Value,
    message::{Body, Header, Message, MessageId, Properties},
};
pub use config::{
    ClientIdentity, ConnectionConfig, HostnameVerification, TlsConfig, TlsVersion, UserCredentials,
};
pub use connection::{Connection, Connector, Stream};
pub use error::{ConfigError, LinkError, SendError};
pub use ready::after_the_ready;
pub use receiver::{Incoming, Receiver};
pub use sender::{Delivery, Sender, send_once};
pub use senders::{Senders, Until};
pub use service::Service;

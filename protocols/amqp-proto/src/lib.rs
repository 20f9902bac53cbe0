//! AMQP 1.0 for a client, without I/O: the endpoint of one connection, and what both ends need: frames, sections, messages.
//!
//! ```text
//! stream ─> frame (size, performative, nesting) ─> Connection ─> Event::{Settled, Message, Credit, ..}
//!                                                      │ sasl, links, deliveries, the session's windows, timers
//! stream <─ frame <────────────────────────────────────┴─ attach_sender / send / grant / settle / detach <─ the caller
//! ```
//!
//! [`Connection`] gets input and the time, and is polled for output, events and its next timeout:
//! after any call that changes something, drain [`poll_event`](Connection::poll_event) and
//! [`poll_transmit`](Connection::poll_transmit), then sleep until [`poll_timeout`](Connection::poll_timeout). A message is taken
//! only if the peer granted credit for it; what the peer does not settle in time is settled as released.
//!
//! What is on the wire ([`frame`], [`sections`]) speaks in the types of `fe2o3-amqp-types` and `serde_amqp`, so that the sandbox
//! reads and writes it by the same code; nothing else in this workspace sees them.
//!
//! **Invariants.** No socket, no clock, no task. Any bytes may come from a peer: they end the connection with an error, never in
//! a panic. All state is bounded by [`Config`], what is to be written included.
//!
//! ```
//! use std::time::Instant;
//! use amqp_proto::{Config, Connection};
//!
//! let now = Instant::now(); // the caller's clock
//! let mut connection = Connection::new(now, Config::default());
//! let mut bytes = Vec::new();
//! assert!(connection.poll_transmit(now, &mut bytes));
//! assert_eq!(bytes, b"AMQP\x03\x01\x00\x00"); // SASL first
//! connection.handle_bytes(now, b"AMQP\x03\x01\x00\x00");
//! assert!(connection.poll_event().is_none());
//! ```

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects
    )
)]

mod connection;

mod event;

mod outcome;

pub mod message;

pub mod value;

pub mod sections;

pub mod frame;

mod performative;

mod read;

mod nesting;

mod config;

mod secret;

mod error;

pub mod fuzzing;

pub use config::{Config, Sasl};
pub use connection::Connection;
pub use error::DecodeError;
pub use event::{
    CannotAttach, CannotSend, CloseReason, DeliveryId, Event, IncomingId, LinkId, PeerError,
    Settlement,
};
pub use message::Message;
pub use outcome::Outcome;
pub use secret::Secret;
pub use value::Value;

#[cfg(test)]
mod tests;

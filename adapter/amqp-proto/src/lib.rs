//! AMQP 1.0 without I/O: frames, the sections of a message, and the endpoint of a client.
//!
//! What is on the wire ([`frame`], [`sections`]) speaks in the types of `fe2o3-amqp-types` and `serde_amqp`, so that both ends
//! in this workspace read and write it by the same code.
//!
//! **Invariants.** No socket, no clock, no task. Any bytes may come from a peer: they end in an error, never in a panic.

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

mod nesting;

mod config;

mod secret;

mod error;

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

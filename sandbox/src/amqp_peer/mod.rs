//! The AMQP 1.0 network in one process: like a router, it passes messages from senders to receivers, and it has the services of the
//! registry and of the command router on the same port.
//!
//! - A sender to an address without receiver gets no credit; with the first receiver it gets credit at once, and with the last
//!   one's leaving it loses it again. What is under way then is released.
//! - Each message goes to one receiver with credit, in turn; without credit it waits. The receiver's outcome goes back to the
//!   sender as it is. What a sender settles itself is forgotten, and so is an outcome that comes later.
//! - Commands go through the command router: to the adapter instance where the device waits, or back.
//! - Changes of the world are sent to every receiver of notifications.
//! - Nothing is stored: a message lives as long as its sender waits for it.
//!
//! ```text
//! socket -> connection (frames) -> router (one lock, no waiting) -> outbox of another connection -> socket
//! ```

mod commands;
mod connection;
mod deliveries;
mod holds;
mod links;
mod notifications;
mod requests;
mod router;

pub(crate) use self::connection::Peer;
pub use self::holds::CredentialsHold;
pub(crate) use self::links::PRIORITY;

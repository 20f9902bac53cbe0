//! DTLS 1.2 client with pre-shared keys or certificates (RFC 6347), without I/O: for demonstrations, tests and benches.
//!
//! It is the peer of `dtls-proto` in the sandbox, in `coap-adapter doctor` and in simulated tests, and shares its codec and crypto;
//! who serves devices never needs it.
//! The verbs are those of every core here: after [`Client::new`] and each `handle_*`, [`Client::send`] and [`Client::close`] the
//! caller drains [`Client::poll_transmit`] and [`Client::poll_event`], then waits until [`Client::poll_timeout`].
//!
//! ```
//! # #[expect(clippy::disallowed_methods, reason = "an example needs a clock")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Instant;
//!
//! use dtls_client::{Client, Config};
//!
//! let mut client = Client::new(Instant::now(), Config::new("sensor1@DEFAULT_TENANT", b"secret"))?;
//! let hello = client.poll_transmit().ok_or("a client speaks first")?;
//! assert_eq!(hello[0], 22); // a handshake record, to be sent to the server
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant**: no socket, no clock, no task, no log; whatever a server sends, nothing panics.
#![warn(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]

mod resumption;
mod config;
mod handshake;
mod client;

pub use client::{Client, CloseReason, Event, RandomnessUnavailable, SendError};
pub use config::{CertificateKind, Config, MasterSecretKind, Mischief, PathChallenges, Tickets};
pub use dtls_proto::codec::certificate::SignatureScheme;
pub use dtls_proto::codec::record::ContentType;
pub use dtls_proto::{AlertDescription, CipherSuite, Group, Identity, IdentityError, Psk};
pub use handshake::Stage;
pub use resumption::Resumption;

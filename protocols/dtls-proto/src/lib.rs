//! DTLS 1.2 server engine (RFC 6347, RFC 5246) with pre-shared keys (RFC 4279), without I/O.
//!
//! One [`Server`] holds all associations of one UDP socket. It is told of datagrams and of the time, and is then drained:
//!
//! ```text
//!  datagram ──▶ record ──▶ epoch 0 ──▶ ClientHello ──▶ cookie ──▶ negotiation ──▶ handshake ─┐
//!  (socket)     codec::    (plain)     codec::hello    cookie     server::        server::   │ session,
//!               record        │                        (nothing   negotiation     handshake  │ when Finished
//!                             │                         is kept                              │ is right
//!                             │                         before)                              ▼
//!                             └─────▶ epoch 1 ────────────────────────────────────────▶ session ──▶ ApplicationData
//! ```
//!
//! After each `handle_*`, [`Server::provide_psk`], [`Server::send`] and [`Server::close`] the caller drains
//! [`Server::poll_transmit`] and [`Server::poll_event`], then waits until [`Server::poll_timeout`].
//!
//! What the engine decides:
//! - the **client's** order chooses the suite; no common suite is answered by the fatal alert `handshake_failure`;
//! - nothing is stored for a peer that has not returned a cookie from the address it claims, and what such a peer gets is never
//!   larger than what it sent (RFC 6347 §4.2.1);
//! - a key is asked for by [`Event::PskRequested`] and may be answered at any later time ([`Server::provide_psk`]) without
//!   holding up any other peer;
//! - an unknown identity, a wrong key and a look-up that never ends all look the same on the wire: silence;
//! - a new handshake from the address of a live association replaces it only when the new one is established;
//! - a client with a connection id (RFC 9146) may change its address: the newest authentic record tells where it is;
//! - sessions outlive the process if the caller keeps them ([`Server::save`], [`Server::load`]), and no nonce is used twice;
//! - a session is resumed only after its credentials were asked for anew ([`Resumption`], off by default);
//! - no renegotiation, no compression, no cipher that isn't AEAD.
//!
//! The modules [`codec`], [`crypto`], [`protection`], [`reassembly`], [`inbox`] and [`flight`] are public for the client that demonstrations
//! and tests use (`dtls-client`) and for tests that build hostile records. A shell round the server needs only the names that
//! stand at the root of this crate.
//!
//! **Invariant**: no socket, no clock, no task, no log. Bytes from a peer never panic and never are an `Err`: what is unusable is
//! dropped and counted in [`Statistics`].
#![warn(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]

pub mod codec;
pub mod crypto;
pub mod protection;
pub mod reassembly;
pub mod inbox;
pub mod flight;
mod identity;
mod connection_ids;
mod resumption;
mod saved;
mod cookie;
mod server;
mod timer;
mod config;
mod event;
mod path;
mod statistics;
#[doc(hidden)]
pub mod fuzzing;

pub use codec::alert::AlertDescription;
pub use config::{Config, HandshakeRate};
pub use connection_ids::{ConnectionIds, Route, UnusableLength};
pub use crypto::{CipherSuite, Group, Psk};
pub use event::{
    AssociationId, AssociationMap, CloseReason, Event, HandshakeFailure, SendError, Transmit,
    Verdict,
};
pub use identity::{Identity, IdentityError};
pub use path::Path;
pub use resumption::{Resumption, TicketKeys};
pub use saved::{LoadError, SaveKey, SavedSessions, TooMuch};
pub use server::{Loaded, LoadedSession, Moment, Server};
pub use statistics::Statistics;

//! UDP sockets in batches and the task around [`dtls_proto`]: the shell that owns what the core must not.
//!
//! ```text
//! UDP socket ─> UdpSocket::receive (a batch) ─> dtls_proto::Server ─> Event::{Established, ApplicationData, Closed}
//!                                                  │ PskRequested ─> KeyStore::key (own task, bounded) ─┐
//! UDP socket <─ UdpSocket::send <──────────────────┴──────────────── provide_psk <──────────────────────┘
//! ```
//!
//! **Invariant.** [`Listener::next`] never waits for a key store or for one peer: look-ups run in tasks of their own, and a peer
//! that stays silent costs the others nothing.

mod udp;

mod listener;

pub use dtls_proto::{
    AlertDescription, AssociationId, CipherSuite, CloseReason, Config, ConnectionIds, Group, Psk,
    Route, Statistics, UnusableLength,
};
pub use listener::{Event, Gauges, KeyStore, Listener};
pub use udp::{Batch, UdpSocket};

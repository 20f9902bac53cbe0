//! UDP sockets in batches and the task around [`dtls_proto`]: the shell that owns what the core must not.
//!
//! ```text
//! UDP socket ─> UdpSocket::receive (a batch) ─> dtls_proto::Server ─> Event::{Established, ApplicationData, HandshakeFailed, Closed}
//!                                                  │ PskRequested ─> KeyStore::key (own task, bounded) ──────────┐
//!                                                  │ VerdictRequested ─> KeyStore::verdict (own task, bounded) ──┤
//! UDP socket <─ UdpSocket::send_all (a batch) <────┴─────────────── provide_psk, provide_verdict <───────────────┘
//! ```
//!
//! **Invariant.** [`Listener::next`] never waits for a key store or for one peer: look-ups run in tasks of their own, and a peer
//! that stays silent costs the others nothing. Several listeners may share a port ([`Shards`]); each owns its sessions.

mod udp;
mod bound;
mod moderation;
mod send;
mod outbox;
mod listener;
mod shards;
mod sole;
mod lookup;
mod store;
mod certificate;
mod name;

pub use certificate::{AnchorName, Certificate, CertificateError, Signed, TrustAnchor};
pub use dtls_proto::{
    AlertDescription, AssociationId, CipherSuite, CloseReason, Config, ConnectionIds, Group,
    HandshakeFailure, HandshakeRate, Identity, IdentityError, LoadError, Path, Psk, Resumption,
    Route, SaveKey, SavedSessions, SendError, Statistics, TicketKeys, UnusableLength,
};
pub use listener::{Confirmation, Event, Gauges, KeyStore, Listener};
pub use name::DistinguishedName;
pub use send::{MOST_AT_ONCE, send_some};
pub use shards::{PassedOn, Shards};
pub use store::{SessionStore, StoreError};
pub use udp::{Batch, BindError, Sent, SocketStatistics, UdpSocket};

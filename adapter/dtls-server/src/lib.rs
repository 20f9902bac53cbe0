//! UDP sockets in batches and the task around [`dtls_proto`]: the shell that owns what the core must not.
//!
//! ```text
//! UDP socket ─> UdpSocket::receive (a batch) ─> dtls_proto::Server ─> Event::{Established, ApplicationData, Closed}
//!                                                  │ PskRequested ─> KeyStore::key (own task, bounded) ──────────┐
//!                                                  │ VerdictRequested ─> KeyStore::verdict (own task, bounded) ──┤
//! UDP socket <─ UdpSocket::send <──────────────────┴─────────────── provide_psk, provide_verdict <───────────────┘
//! ```
//!
//! **Invariant.** [`Listener::next`] never waits for a key store or for one peer: look-ups run in tasks of their own, and a peer
//! that stays silent costs the others nothing.

mod udp;
mod listener;
mod certificate;
mod name;

pub use certificate::{AnchorName, Certificate, CertificateError, Signed, TrustAnchor};
pub use dtls_proto::{
    AlertDescription, AssociationId, CipherSuite, CloseReason, Config, ConnectionIds, Group,
    Identity, IdentityError, Psk, Resumption, Route, Statistics, TicketKeys, UnusableLength,
};
pub use listener::{Event, Gauges, KeyStore, Listener};
pub use name::DistinguishedName;
pub use udp::{Batch, UdpSocket};

//! What the server tells its caller, and what it wants sent.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

use fair_share::SequenceHasher;
use thiserror::Error;

use crate::codec::alert::AlertDescription;
use crate::crypto::CipherSuite;

/// A map by association: its hasher is fast, as no peer chooses these ids.
pub type AssociationMap<V> = HashMap<AssociationId, V, BuildHasherDefault<SequenceHasher>>;

/// Names an association from its handshake to its end; never used anew by the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssociationId(pub(crate) NonZeroU64);

impl AssociationId {
    /// The id with this number; for tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn from_number(number: NonZeroU64) -> Self {
        Self(number)
    }
}

impl fmt::Display for AssociationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The address to send to.
    pub peer: SocketAddr,
    /// The local address to send from, if it is known.
    pub local: Option<IpAddr>,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Something the caller must know or answer.
///
/// Each association announced by `PskRequested`, `VerdictRequested` or `Established` ends with exactly one `Closed`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client named its identity; answer by [`crate::Server::provide_psk`].
    PskRequested {
        /// Whose handshake waits.
        association: AssociationId,
        /// The identity as sent, any bytes, at most [`crate::Server::MAX_PSK_IDENTITY`].
        identity: Vec<u8>,
        /// The host name the client gave (RFC 6066 §3).
        server_name: Option<String>,
    },
    /// A client showed certificates and proved that it has the key of the first; answer by [`crate::Server::provide_verdict`].
    VerdictRequested {
        /// Whose handshake waits.
        association: AssociationId,
        /// The certificates in DER, the client's own first.
        chain: Vec<Vec<u8>>,
        /// The host name the client gave (RFC 6066 §3).
        server_name: Option<String>,
    },
    /// A client showed a bare key (RFC 7250) and proved that it has the private one; answer by [`crate::Server::provide_verdict`].
    RawKeyRequested {
        /// Whose handshake waits.
        association: AssociationId,
        /// The key, a `SubjectPublicKeyInfo` in DER.
        public_key: Vec<u8>,
        /// The host name the client gave (RFC 6066 §3).
        server_name: Option<String>,
    },
    /// The client has proved that it has the key; data may flow.
    Established {
        /// Which.
        association: AssociationId,
        /// The client's address, proved by the cookie.
        peer: SocketAddr,
        /// What protects the records.
        suite: CipherSuite,
    },
    /// The content of one record.
    ApplicationData {
        /// Whose.
        association: AssociationId,
        /// Whence the record came.
        peer: SocketAddr,
        /// Most data that one record in answer to it may carry ([`crate::Server::max_payload`]).
        max_payload: usize,
        /// The plaintext.
        data: Vec<u8>,
    },
    /// A handshake has come to nothing. It is told as soon as it is known, at most once of each handshake; the peer may be left
    /// without a word and try on until it is forgotten.
    HandshakeFailed {
        /// Which; none if it did not even begin.
        association: Option<AssociationId>,
        /// The client's address, proved by the cookie.
        peer: SocketAddr,
        /// What went wrong.
        failure: HandshakeFailure,
    },
    /// Another server of the port ([`crate::Server::beside`]) has to drop something that was displaced:
    /// its [`crate::Server::handle_timeout`] is to be called soon.
    Wake {
        /// Its number, in the order in which the servers were made.
        server: usize,
    },
    /// The association is gone, its id unknown from now on.
    Closed {
        /// Which.
        association: AssociationId,
        /// Why.
        reason: CloseReason,
    },
}

/// What the caller thinks of a client's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The client is who it says.
    Accepted,
    /// It isn't, or nobody can tell; the client is told so.
    Refused,
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// Nothing that the client offers can be chosen; this alert was sent.
    NothingToChoose(AlertDescription),
    /// The client offers only suites with certificates, and the server has none.
    NoServerCertificate,
    /// The client accepts neither certificates nor bare keys of the kind that the server may use.
    NoSharedCertificateType,
    /// No curve is left for the key agreement, or the client does not support the curve of the server's key.
    NoSharedCurve,
    /// The client accepts no signature that the server's key can make.
    NoSharedSignature,
    /// All places are taken.
    OverLimit,
    /// A newcomer has taken its place, before the client had proved anything.
    Displaced,
    /// Too many handshakes come from the client's neighbourhood.
    OverRate,
    /// The client did not go on in time.
    ClientSilent,
    /// The client ended it by this alert, for instance as it does not trust the server's certificate.
    ClientAlert(AlertDescription),
    /// The client began anew from the same address.
    Superseded,
    /// The identity is longer than [`crate::Server::MAX_PSK_IDENTITY`].
    IdentityTooLong,
    /// The client's point lies on no curve.
    BadPoint,
    /// The caller has no key for the identity.
    KeyUnknown,
    /// The caller did not find the key in time.
    KeyDeadline,
    /// The client's first protected record is not authentic: its key is another than ours.
    NotAuthentic,
    /// The client's key is right, but it saw another handshake than we did.
    WrongFinished,
    /// The client showed no certificate, or none that can be read.
    NoCertificate,
    /// The key of the client's certificate is of a kind that cannot prove anything here.
    UnsupportedKey,
    /// The client signed its handshake in a way that is not supported.
    UnsupportedSignature,
    /// The client did not prove that it has the key of its certificate.
    CertificateUnproved,
    /// The caller refused the certificate.
    CertificateRefused,
    /// The caller did not judge the certificate in time.
    VerdictDeadline,
}

/// Why an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sent `close_notify`.
    PeerClosed,
    /// The peer sent a fatal alert.
    PeerAlert(AlertDescription),
    /// [`crate::Server::close`] was called.
    Local,
    /// A new handshake from the same address was finished, or begun while this one was not.
    Replaced,
    /// The handshake was not finished in time: unknown identity, wrong key, or a peer that went away.
    HandshakeTimeout,
    /// The client's Finished did not fit although its key did; the peer was told.
    HandshakeFailed,
    /// The client's certificates were refused, or nobody judged them in time; the peer was told.
    CertificateRefused,
    /// Its place was needed: it was idle, its principal held most, or it had just begun.
    Evicted,
    /// A newcomer has taken the place of the handshake.
    Displaced,
    /// All sequence numbers were used.
    SequenceExhausted,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerClosed => "closed by the peer",
            Self::PeerAlert(alert) => return write!(f, "fatal alert {alert} from the peer"),
            Self::Local => "closed locally",
            Self::Replaced => "replaced by a new handshake",
            Self::HandshakeTimeout => "handshake timed out",
            Self::HandshakeFailed => "handshake failed",
            Self::CertificateRefused => "certificate refused",
            Self::Evicted => "evicted",
            Self::Displaced => "displaced by a newcomer",
            Self::SequenceExhausted => "sequence numbers exhausted",
        })
    }
}

/// Why data was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such association, or it is not established yet.
    #[error("no such established association")]
    NotEstablished,
    /// The data doesn't fit into one record; `limit` bytes would.
    #[error("more than the {limit} bytes a record may carry")]
    TooLarge {
        /// The most that can be sent at once.
        limit: usize,
    },
    /// All sequence numbers were used; the association is closed.
    #[error("no sequence numbers left")]
    SequenceExhausted,
}

//! What can be set of a [`crate::Client`].

use std::sync::Arc;
use std::time::Duration;

use crate::resumption::Resumption;
use dtls_proto::codec::certificate::SignatureScheme;
use dtls_proto::codec::extension::{MaxFragmentLength, RecordSizeLimit};
use dtls_proto::crypto::{Curve, KeyExchange};
use dtls_proto::flight::Backoff;
use dtls_proto::{CipherSuite, Group, Identity, Psk};

/// Who the client is and what it offers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The PSK identity, any bytes; what is past 65,535 is cut off.
    pub identity: Vec<u8>,
    /// The key that goes with it.
    pub key: Psk,
    /// What the client proves itself with if a suite with certificates is chosen.
    pub certificate: Option<Arc<Identity>>,
    /// What to show, and to want shown.
    pub certificate_kind: CertificateKind,
    /// The only certificate (DER), or bare key, the server may prove itself with; `None`: whatever it shows is believed, if it has the key.
    pub server_certificate: Option<Vec<u8>>,
    /// A session to have back, if the server likes.
    pub resume: Option<Resumption>,
    /// Whether to ask for a ticket (RFC 5077).
    pub tickets: Tickets,
    /// What the client does wrong on purpose.
    pub mischief: Mischief,
    /// The suites to offer, the favourite first.
    pub suites: Vec<CipherSuite>,
    /// The curves to offer, the favourite first.
    pub groups: Vec<Group>,
    /// Curves to offer for the server's key only, behind those of `groups`.
    pub key_curves: Vec<Curve>,
    /// The signatures to accept of the server, the favourite first.
    pub signature_schemes: Vec<SignatureScheme>,
    /// The scheme to sign the handshake by; `None`: the one with the hash of the size of the key's curve.
    pub signs_by: Option<SignatureScheme>,
    /// The host to name to the server (RFC 6066 §3).
    pub server_name: Option<String>,
    /// Whether to offer the extended master secret.
    pub master_secret: MasterSecretKind,
    /// The limit of a record's plaintext to ask for (RFC 6066 §4).
    pub max_fragment_length: Option<MaxFragmentLength>,
    /// The most plaintext that records to the client may have (RFC 8449).
    pub record_size_limit: Option<RecordSizeLimit>,
    /// The connection id to offer (RFC 9146): what the server's records shall carry. Empty: nothing, but the server may want an id in
    /// ours. One of more than [`ConnectionId::MAX_LENGTH`] bytes is offered too, for tests; it can't be used.
    ///
    /// [`ConnectionId::MAX_LENGTH`]: dtls_proto::codec::connection_id::ConnectionId::MAX_LENGTH
    pub connection_id: Option<Vec<u8>>,
    /// Whether to offer to prove our addresses (RFC 9853), and what to do when asked.
    pub path_challenges: PathChallenges,
    /// The most bytes a datagram we send during the handshake may have (UDP payload), at least 64. The ClientHello is never cut.
    pub mtu: usize,
    /// When to send a flight again, and when to give up.
    pub backoff: Backoff,
}

/// Which master secret the client offers to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterSecretKind {
    /// Bound to the whole handshake, if the server can (RFC 7627).
    Extended,
    /// Bound to the randoms only, as old clients have it (RFC 5246 §8.1).
    Plain,
}

/// What the client does about questions whether it is where it seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathChallenges {
    /// It does not offer to be asked.
    NotOffered,
    /// It answers.
    Answered,
    /// It offers to, and does not answer.
    Ignored,
    /// It offers to, and answers something else.
    AnsweredWrong,
}

/// What both sides prove themselves with in suites with certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// Certificates; nothing is said about it.
    X509,
    /// The bare keys of the certificates, and nothing else (RFC 7250).
    RawPublicKey,
    /// Bare keys, or certificates if the server likes these better.
    Either,
}

/// Whether the client wants to be given a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    /// It does.
    Wanted,
    /// It doesn't.
    NotWanted,
}

/// What a hostile client may try, for tests of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    None,
    /// Shows no certificate.
    EmptyChain,
    /// Leaves CertificateVerify out.
    NoCertificateVerify,
    /// Sends a CertificateVerify without a signature.
    EmptyCertificateVerify,
    /// Signs something else than this handshake.
    WrongCertificateVerify,
}

impl Config {
    /// The suites with a pre-shared key and short keys, all curves, extended master secret, first retransmission after one second (RFC 6347 §4.2.4.1).
    pub fn new(identity: impl AsRef<[u8]>, key: &[u8]) -> Self {
        Self {
            identity: identity.as_ref().to_vec(),
            key: Psk::from(key),
            certificate: None,
            certificate_kind: CertificateKind::X509,
            server_certificate: None,
            resume: None,
            tickets: Tickets::NotWanted,
            mischief: Mischief::None,
            suites: vec![
                CipherSuite::PskAes128Ccm8,
                CipherSuite::PskAes128Ccm,
                CipherSuite::PskAes128GcmSha256,
            ],
            groups: Group::ALL.to_vec(),
            key_curves: Vec::new(),
            signature_schemes: SignatureScheme::ALL.to_vec(),
            signs_by: None,
            server_name: None,
            master_secret: MasterSecretKind::Extended,
            max_fragment_length: None,
            record_size_limit: None,
            connection_id: None,
            path_challenges: PathChallenges::NotOffered,
            mtu: 1232,
            backoff: Backoff {
                initial: Duration::from_secs(1),
                maximum: Duration::from_secs(60),
                retransmissions: 5,
            },
        }
    }

    /// All suites with certificates, proving itself with `certificate`; else as [`Config::new`].
    #[must_use]
    pub fn with_certificate(certificate: Arc<Identity>) -> Self {
        let suites = CipherSuite::ALL
            .into_iter()
            .filter(|suite| suite.key_exchange() == KeyExchange::EcdheEcdsa)
            .collect();
        Self {
            certificate: Some(certificate),
            suites,
            ..Self::new([], &[])
        }
    }
}

//! What a server chooses from a ClientHello (RFC 5246 §7.4.1).

use crate::codec::ProtocolVersion;
use crate::codec::alert::AlertDescription;
use crate::codec::certificate::{RAW_PUBLIC_KEY, SignatureScheme, X509};
use crate::codec::connection_id::ConnectionId;
use crate::codec::extension::{HelloExtensions, MaxFragmentLength, RecordSizeLimit, UNCOMPRESSED};
use crate::codec::hello::{
    ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, NULL_COMPRESSION, Random, ServerHello,
};
use crate::codec::record::MAX_PLAINTEXT;
use crate::config::Config;
use crate::crypto::{CipherSuite, Group, KeyExchange};
use crate::event::HandshakeFailure;
use crate::resumption::Resumable;

/// What both sides will use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) suite: CipherSuite,
    pub(crate) exchange: Exchange,
    /// What the server signs its half of the agreement by; `None` without certificates.
    pub(crate) signature: Option<SignatureScheme>,
    pub(crate) extended_master_secret: bool,
    pub(crate) record_limit: RecordLimit,
    pub(crate) server_name: Option<String>,
    /// Whether the client gets a ticket when it is done.
    pub(crate) ticket: bool,
    /// The id the client wants in our records; `None` if connection ids are not used.
    pub(crate) connection_id: Option<ConnectionId>,
    /// Whether the client proves its addresses.
    pub(crate) return_routability: bool,
    /// Whether the client knows secure renegotiation, so that the answer must say so too (RFC 5746 §3.6).
    renegotiation_info: bool,
    /// Whether the client told how points may be written, so that the answer must too (RFC 8422 §5.2).
    point_formats: bool,
    /// `None` without certificates.
    certificate_types: Option<CertificateTypes>,
}

/// How much plaintext a record may have, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordLimit {
    /// What DTLS allows.
    None,
    /// Agreed on for both directions (RFC 6066 §4).
    MaxFragmentLength(MaxFragmentLength),
    /// What the client takes; it may send what DTLS allows (RFC 8449 §4).
    RecordSizeLimit(RecordSizeLimit),
}

impl RecordLimit {
    /// A client that offers both means `record_size_limit` (RFC 8449 §5).
    fn choose(offer: &HelloExtensions<'_>) -> Self {
        match (offer.record_size_limit, offer.max_fragment_length) {
            (Some(limit), _) => Self::RecordSizeLimit(limit),
            (None, Some(limit)) => Self::MaxFragmentLength(limit),
            (None, None) => Self::None,
        }
    }
}

/// What both sides show: certificates, or bare keys. `None` if the client did not say what it can deal with, which means certificates
/// and must not be answered (RFC 7250 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CertificateTypes {
    client: Option<u8>,
    server: Option<u8>,
}

impl CertificateTypes {
    /// The client's favourites among what may be used; `None` if there is none.
    fn choose(offer: &HelloExtensions<'_>, config: &Config) -> Option<Self> {
        let known =
            |kind: &&u8| **kind == X509 || config.raw_public_keys && **kind == RAW_PUBLIC_KEY;
        let choose = |kinds: Option<&[u8]>| match kinds {
            None => Some(None),
            Some(kinds) => Some(Some(*kinds.iter().find(known)?)),
        };
        Some(Self {
            client: choose(offer.client_certificate_types)?,
            server: choose(offer.server_certificate_types)?,
        })
    }
}

/// How both sides come to a common secret, and on which curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    Psk,
    EcdhePsk(Group),
    EcdheEcdsa(Group),
}

impl Exchange {
    /// The exchange of a suite, if all it needs is there.
    fn of(suite: CipherSuite, group: Option<Group>, certificates: bool) -> Option<Self> {
        match suite.key_exchange() {
            KeyExchange::Psk => Some(Self::Psk),
            KeyExchange::EcdhePsk => group.map(Self::EcdhePsk),
            KeyExchange::EcdheEcdsa => group.filter(|_| certificates).map(Self::EcdheEcdsa),
        }
    }

    /// The curve of the agreement, if there is one.
    pub(crate) fn group(self) -> Option<Group> {
        match self {
            Self::Psk => None,
            Self::EcdhePsk(group) | Self::EcdheEcdsa(group) => Some(group),
        }
    }
}

impl Negotiated {
    /// Chooses; an alert says why nothing can be chosen.
    pub(crate) fn choose(
        hello: &ClientHello<'_>,
        config: &Config,
    ) -> Result<Self, AlertDescription> {
        if !hello.version.allows_1_2() {
            return Err(AlertDescription::PROTOCOL_VERSION);
        }
        if !hello.compression_methods.contains(&NULL_COMPRESSION) {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        let offer = HelloExtensions::decode_offer(hello.extensions)?;
        if offer
            .renegotiation_info
            .is_some_and(|info| !info.is_empty())
        {
            return Err(AlertDescription::HANDSHAKE_FAILURE);
        }
        let group = common_group(&offer, config);
        let types = CertificateTypes::choose(&offer, config);
        let signature = signature_scheme(&offer, config).ok();
        let certificates = types.is_some() && signature.is_some();
        let (suite, exchange) = hello
            .suites()
            .filter_map(CipherSuite::from_code)
            .filter(|suite| config.suites.contains(suite))
            .find_map(|suite| Some((suite, Exchange::of(suite, group, certificates)?)))
            .ok_or(AlertDescription::HANDSHAKE_FAILURE)?;
        let on_a_curve = exchange.group().is_some();
        let formats = offer.ec_point_formats.filter(|_| on_a_curve);
        if formats.is_some_and(|formats| !formats.contains(&UNCOMPRESSED)) {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        Ok(Self {
            suite,
            exchange,
            signature: signature.filter(|_| matches!(exchange, Exchange::EcdheEcdsa(_))),
            point_formats: formats.is_some(),
            certificate_types: types.filter(|_| matches!(exchange, Exchange::EcdheEcdsa(_))),
            extended_master_secret: offer.extended_master_secret,
            record_limit: RecordLimit::choose(&offer),
            server_name: offer
                .server_name
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            ticket: offer.session_ticket.is_some()
                && offer.extended_master_secret
                && config.resumption.tickets.is_some(),
            // One that is too long for us is passed over, as if it had not been offered.
            connection_id: offer
                .connection_id
                .filter(|_| config.connection_ids.is_some())
                .and_then(ConnectionId::new),
            // Only whose records have an id can move (RFC 9853).
            return_routability: offer.return_routability
                && config.return_routability
                && offer.connection_id.is_some()
                && config.connection_ids.is_some_and(|ids| ids.length() > 0),
            renegotiation_info: offer.renegotiation_info.is_some()
                || hello
                    .suites()
                    .any(|code| code == EMPTY_RENEGOTIATION_INFO_SCSV),
        })
    }

    /// Whether the client may have this session back: it offers the suite still, and means the same host (RFC 6066 §3). Both times
    /// the extended master secret must be used (RFC 7627 §5.3).
    pub(crate) fn may_resume(
        &self,
        resumable: &Resumable,
        hello: &ClientHello<'_>,
        config: &Config,
    ) -> bool {
        let suite = resumable.suite;
        self.extended_master_secret
            && self.server_name == resumable.server_name
            && config.suites.contains(&suite)
            && hello.suites().any(|code| code == suite.code())
    }

    /// The body of the ServerHello that tells the choice, what the session is known by, and the id we want in the client's records.
    pub(crate) fn server_hello(
        &self,
        random: Random,
        session_id: &[u8],
        our_id: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut extensions = Vec::new();
        let types = self.certificate_types;
        let client_type = types.and_then(|types| types.client);
        let server_type = types.and_then(|types| types.server);
        HelloExtensions {
            signature_algorithms: None,
            client_certificate_types: client_type.as_ref().map(std::slice::from_ref),
            server_certificate_types: server_type.as_ref().map(std::slice::from_ref),
            server_name: self.server_name.as_deref(),
            max_fragment_length: match self.record_limit {
                RecordLimit::MaxFragmentLength(limit) => Some(limit),
                RecordLimit::None | RecordLimit::RecordSizeLimit(_) => None,
            },
            record_size_limit: match self.record_limit {
                RecordLimit::RecordSizeLimit(_) => Some(RecordSizeLimit::MAX),
                RecordLimit::None | RecordLimit::MaxFragmentLength(_) => None,
            },
            supported_groups: None,
            session_ticket: self.ticket.then_some(&[]),
            connection_id: our_id,
            ec_point_formats: self.point_formats.then_some(&[UNCOMPRESSED]),
            extended_master_secret: self.extended_master_secret,
            return_routability: self.return_routability && our_id.is_some(),
            renegotiation_info: self.renegotiation_info.then_some(&[]),
        }
        .encode_answer(&mut extensions);
        ServerHello {
            version: ProtocolVersion::DTLS_1_2,
            random,
            session_id,
            cipher_suite: self.suite.code(),
            compression_method: NULL_COMPRESSION,
            extensions: &extensions,
        }
        .encode()
    }

    /// Whether the client wants to see a bare key.
    pub(crate) fn shows_raw_key(&self) -> bool {
        self.certificate_types
            .is_some_and(|types| types.server == Some(RAW_PUBLIC_KEY))
    }

    /// Whether the client will show a bare key.
    pub(crate) fn takes_raw_key(&self) -> bool {
        self.certificate_types
            .is_some_and(|types| types.client == Some(RAW_PUBLIC_KEY))
    }

    /// The most plaintext that our records may have.
    pub(crate) fn max_plaintext(&self) -> usize {
        let inner_type = self.connection_id.is_some_and(|id| !id.is_empty());
        match self.record_limit {
            RecordLimit::None => MAX_PLAINTEXT,
            RecordLimit::MaxFragmentLength(limit) => limit.bytes().into(),
            // What is sealed with a connection id has its type behind the content (RFC 9146 §4).
            RecordLimit::RecordSizeLimit(limit) => usize::from(limit.bytes())
                .min(MAX_PLAINTEXT)
                .saturating_sub(usize::from(inner_type)),
        }
    }

    /// The most plaintext that the client's records may have.
    pub(crate) fn max_received(&self) -> usize {
        match self.record_limit {
            RecordLimit::MaxFragmentLength(limit) => limit.bytes().into(),
            RecordLimit::None | RecordLimit::RecordSizeLimit(_) => MAX_PLAINTEXT,
        }
    }
}

/// Why [`Negotiated::choose`] answered with this alert.
pub(crate) fn explain(
    alert: AlertDescription,
    hello: &ClientHello<'_>,
    config: &Config,
) -> HandshakeFailure {
    let nothing = HandshakeFailure::NothingToChoose(alert);
    let Ok(offer) = HelloExtensions::decode(hello.extensions) else {
        return nothing;
    };
    if alert != AlertDescription::HANDSHAKE_FAILURE {
        return nothing;
    }
    let exchanges = || {
        let known = hello.suites().filter_map(CipherSuite::from_code);
        known
            .filter(|suite| config.suites.contains(suite))
            .map(CipherSuite::key_exchange)
    };
    // A suite with a pre-shared key alone can always be chosen, so what failed is on a curve.
    let certified = exchanges().any(|exchange| exchange == KeyExchange::EcdheEcdsa);
    let keyed = exchanges().any(|exchange| exchange == KeyExchange::EcdhePsk);
    let curve = common_group(&offer, config);
    match signature_scheme(&offer, config) {
        _ if keyed && curve.is_none() => HandshakeFailure::NoSharedCurve,
        _ if keyed || !certified => nothing,
        Err(HandshakeFailure::NoServerCertificate) => HandshakeFailure::NoServerCertificate,
        _ if CertificateTypes::choose(&offer, config).is_none() => {
            HandshakeFailure::NoSharedCertificateType
        }
        _ if curve.is_none() => HandshakeFailure::NoSharedCurve,
        Err(failure) => failure,
        Ok(_) => nothing,
    }
}

/// What the server signs by, with the key of its certificate. In TLS 1.2 a scheme names the hash and not the curve (RFC 5246
/// §7.4.1.4.1), so the client says with its groups whether it knows the curve of the key.
fn signature_scheme(
    offer: &HelloExtensions<'_>,
    config: &Config,
) -> Result<SignatureScheme, HandshakeFailure> {
    let identity = config
        .identity
        .as_ref()
        .ok_or(HandshakeFailure::NoServerCertificate)?;
    let curve = identity.key().curve().code().to_be_bytes();
    if offer
        .supported_groups
        .is_some_and(|groups| !groups.contains(&curve))
    {
        return Err(HandshakeFailure::NoSharedCurve);
    }
    // A client that names no signatures means SHA-1 (RFC 5246 §7.4.1.4.1), which nobody should believe.
    offer
        .signature_algorithms
        .and_then(|schemes| identity.key().scheme_for(schemes))
        .ok_or(HandshakeFailure::NoSharedSignature)
}

/// The first of the client's curves that may be used. A client that names none can use them all (RFC 8422 §4); it gets the one that
/// CoAP demands.
fn common_group(offer: &HelloExtensions<'_>, config: &Config) -> Option<Group> {
    let Some(offered) = offer.supported_groups else {
        return config
            .groups
            .contains(&Group::Secp256r1)
            .then_some(Group::Secp256r1);
    };
    offered
        .iter()
        .filter_map(|code| Group::from_code(u16::from_be_bytes(*code)))
        .find(|group| config.groups.contains(group))
}

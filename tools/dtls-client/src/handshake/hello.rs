//! What is offered in the ClientHello, and what the ServerHello may make of it (RFC 5246 §7.4.1).

use dtls_proto::codec::ProtocolVersion;
use dtls_proto::codec::certificate::{RAW_PUBLIC_KEY, X509};
use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::extension::{HelloExtensions, UNCOMPRESSED};
use dtls_proto::codec::handshake::HandshakeType;
use dtls_proto::codec::hello::{
    ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, NULL_COMPRESSION, ServerHello,
};
use dtls_proto::codec::record::MAX_PLAINTEXT;
use dtls_proto::crypto::{KeyExchange, Transcript};
use dtls_proto::flight::Part;
use dtls_proto::protection::IdPair;
use dtls_proto::reassembly::Message;
use dtls_proto::{AlertDescription, CipherSuite};

use crate::config::{CertificateKind, MasterSecretKind, PathChallenges, Tickets};
use crate::handshake::{Chosen, Context};

impl Context {
    /// Makes a ClientHello the current flight; the transcript begins with the last of them (RFC 6347 §4.2.1).
    pub(super) fn say_hello(&mut self, cookie: &[u8]) {
        let mut cipher_suites = Vec::new();
        let codes = self.config.suites.iter().map(|suite| suite.code());
        for code in codes.chain([EMPTY_RENEGOTIATION_INFO_SCSV]) {
            cipher_suites.extend_from_slice(&code.to_be_bytes());
        }
        let on_a_curve = self
            .config
            .suites
            .iter()
            .any(|suite| suite.key_exchange() != KeyExchange::Psk);
        let groups: Vec<_> = self
            .config
            .groups
            .iter()
            .map(|group| group.code())
            .chain(self.config.key_curves.iter().map(|curve| curve.code()))
            .map(u16::to_be_bytes)
            .collect();
        let certified = self
            .config
            .suites
            .iter()
            .any(|suite| suite.key_exchange() == KeyExchange::EcdheEcdsa);
        let schemes: Vec<_> = (self.config.signature_schemes.iter())
            .map(|scheme| scheme.0.to_be_bytes())
            .collect();
        let kinds: Option<&[u8]> = match self.config.certificate_kind {
            CertificateKind::X509 => None,
            CertificateKind::RawPublicKey => Some(&[RAW_PUBLIC_KEY]),
            CertificateKind::Either => Some(&[RAW_PUBLIC_KEY, X509]),
        };
        let mut extensions = Vec::new();
        HelloExtensions {
            supported_groups: Some(groups.as_slice())
                .filter(|groups| on_a_curve && !groups.is_empty()),
            session_ticket: self.ticket(),
            connection_id: self.config.connection_id.as_deref(),
            signature_algorithms: certified.then_some(schemes.as_slice()),
            client_certificate_types: kinds.filter(|_| certified),
            server_certificate_types: kinds.filter(|_| certified),
            ec_point_formats: on_a_curve.then_some(&[UNCOMPRESSED]),
            server_name: self.config.server_name.as_deref(),
            max_fragment_length: self.config.max_fragment_length,
            record_size_limit: self.config.record_size_limit,
            extended_master_secret: self.config.master_secret == MasterSecretKind::Extended,
            return_routability: self.config.path_challenges != PathChallenges::NotOffered,
            renegotiation_info: None,
        }
        .encode_offer(&mut extensions);
        let session_id = self.session_id().to_vec();
        let body = ClientHello {
            version: ProtocolVersion::DTLS_1_2,
            random: self.random,
            session_id: &session_id,
            cookie,
            cipher_suites: &cipher_suites,
            compression_methods: &[NULL_COMPRESSION],
            extensions: &extensions,
        }
        .encode();
        self.hello = self.next_message(HandshakeType::CLIENT_HELLO, &body);
        self.flight = vec![Part::Plain(self.hello.clone())];
    }

    /// By what we want a session back. With a ticket any id will do: the server repeats it if it takes the ticket (RFC 5077 §3.4).
    fn session_id(&self) -> &[u8] {
        match &self.config.resume {
            Some(resume) if resume.session_id.is_empty() => &self.random,
            Some(resume) => &resume.session_id,
            None => &[],
        }
    }

    /// The ticket to come back with; empty if we would like to have one.
    fn ticket(&self) -> Option<&[u8]> {
        match &self.config.resume {
            Some(resume) if !resume.ticket.is_empty() => Some(&resume.ticket),
            _ => (self.config.tickets == Tickets::Wanted).then_some(&[]),
        }
    }

    /// What the ServerHello chose, if it is something we offered.
    pub(super) fn choice(&self, received: &Message) -> Result<Chosen, AlertDescription> {
        let hello =
            ServerHello::decode(&received.body).map_err(|_| AlertDescription::DECODE_ERROR)?;
        let extensions = HelloExtensions::decode(hello.extensions)?;
        if hello.version != ProtocolVersion::DTLS_1_2 {
            return Err(AlertDescription::PROTOCOL_VERSION);
        }
        let suite = CipherSuite::from_code(hello.cipher_suite)
            .filter(|suite| self.config.suites.contains(suite))
            .ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
        let limits = [
            extensions.max_fragment_length.is_some(),
            extensions.record_size_limit.is_some(),
        ];
        // RFC 8449 §5: never both.
        let offered = limits != [true, true]
            && (!limits[0] || extensions.max_fragment_length == self.config.max_fragment_length)
            && (!limits[1] || self.config.record_size_limit.is_some());
        if hello.compression_method != NULL_COMPRESSION || !offered {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        let connection_ids = match (&self.config.connection_id, extensions.connection_id) {
            (_, None) => None,
            (None, Some(_)) => return Err(AlertDescription::UNSUPPORTED_EXTENSION),
            (Some(ours), Some(theirs)) => ConnectionId::new(ours)
                .zip(ConnectionId::new(theirs))
                .map(|(ours, peers)| IdPair { ours, peers })
                .ok_or(AlertDescription::ILLEGAL_PARAMETER)
                .map(Some)?,
        };
        let return_routability = extensions.return_routability;
        if return_routability && self.config.path_challenges == PathChallenges::NotOffered {
            return Err(AlertDescription::UNSUPPORTED_EXTENSION);
        }
        let mut transcript = Transcript::with_messages(suite.hash());
        transcript.add(&self.hello);
        transcript.add(&received.encode());
        let resumed = self
            .config
            .resume
            .clone()
            .filter(|_| !hello.session_id.is_empty() && hello.session_id == self.session_id());
        if resumed.as_ref().is_some_and(|resume| resume.suite != suite) {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        Ok(Chosen {
            resumed,
            session_id: hello.session_id.to_vec(),
            ticket: extensions.session_ticket.is_some(),
            transcript,
            connection_ids,
            return_routability,
            shows_raw_key: extensions.client_certificate_types == Some(&[RAW_PUBLIC_KEY]),
            sees_raw_key: extensions.server_certificate_types == Some(&[RAW_PUBLIC_KEY]),
            suite,
            server_random: hello.random,
            master_secret: if extensions.extended_master_secret {
                MasterSecretKind::Extended
            } else {
                MasterSecretKind::Plain
            },
            max_plaintext: match (extensions.max_fragment_length, extensions.record_size_limit) {
                (Some(limit), _) => limit.bytes().into(),
                (None, Some(limit)) => usize::from(limit.bytes()).min(MAX_PLAINTEXT),
                (None, None) => MAX_PLAINTEXT,
            },
        })
    }
}

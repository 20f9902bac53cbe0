//! What a server chooses from a ClientHello (RFC 5246 §7.4.1).

use crate::codec::ProtocolVersion;
use crate::codec::alert::AlertDescription;
use crate::codec::extension::{HelloExtensions, MaxFragmentLength};
use crate::codec::hello::{
    ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, NULL_COMPRESSION, Random, ServerHello,
};
use crate::codec::record::MAX_PLAINTEXT;
use crate::crypto::CipherSuite;

/// What both sides will use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) suite: CipherSuite,
    pub(crate) extended_master_secret: bool,
    pub(crate) max_fragment_length: Option<MaxFragmentLength>,
    pub(crate) server_name: Option<String>,
    /// Whether the client knows secure renegotiation, so that the answer must say so too (RFC 5746 §3.6).
    renegotiation_info: bool,
}

impl Negotiated {
    /// Chooses; an alert says why nothing can be chosen.
    pub(crate) fn choose(
        hello: &ClientHello<'_>,
        enabled: &[CipherSuite],
    ) -> Result<Self, AlertDescription> {
        if !hello.version.allows_1_2() {
            return Err(AlertDescription::PROTOCOL_VERSION);
        }
        if !hello.compression_methods.contains(&NULL_COMPRESSION) {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        let offer = HelloExtensions::decode(hello.extensions)
            .map_err(|_| AlertDescription::DECODE_ERROR)?;
        if offer
            .renegotiation_info
            .is_some_and(|info| !info.is_empty())
        {
            return Err(AlertDescription::HANDSHAKE_FAILURE);
        }
        let suite = hello
            .suites()
            .filter_map(CipherSuite::from_code)
            .find(|suite| enabled.contains(suite))
            .ok_or(AlertDescription::HANDSHAKE_FAILURE)?;
        Ok(Self {
            suite,
            extended_master_secret: offer.extended_master_secret,
            max_fragment_length: offer.max_fragment_length,
            server_name: offer
                .server_name
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            renegotiation_info: offer.renegotiation_info.is_some()
                || hello
                    .suites()
                    .any(|code| code == EMPTY_RENEGOTIATION_INFO_SCSV),
        })
    }

    /// The body of the ServerHello that tells the choice.
    pub(crate) fn server_hello(&self, random: Random) -> Vec<u8> {
        let mut extensions = Vec::new();
        HelloExtensions {
            server_name: self.server_name.as_deref(),
            max_fragment_length: self.max_fragment_length,
            extended_master_secret: self.extended_master_secret,
            renegotiation_info: self.renegotiation_info.then_some(&[]),
        }
        .encode_answer(&mut extensions);
        ServerHello {
            version: ProtocolVersion::DTLS_1_2,
            random,
            session_id: &[],
            cipher_suite: self.suite.code(),
            compression_method: NULL_COMPRESSION,
            extensions: &extensions,
        }
        .encode()
    }

    /// The most plaintext a record of either side may have.
    pub(crate) fn max_plaintext(&self) -> usize {
        self.max_fragment_length
            .map_or(MAX_PLAINTEXT, |limit| usize::from(limit.bytes()))
    }
}

//! What a peer of the DTLS endpoint may make the adapter hold and do.

use std::time::Duration;

use super::{
    chosen::Chosen,
    kind::Kind,
    setting::{COAP as PREFIX, settings},
};

/// Limits of the DTLS endpoint that Hono lacks, or leaves to Californium.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DtlsConfig {
    /// Handshakes that are under way at a time.
    pub max_handshakes: usize,
    /// Handshakes per second that one source prefix (an IPv4 /24 or an IPv6 /56) may start; `None`:
    /// unlimited.
    pub handshakes_per_prefix: Option<u32>,
    /// Handshakes with a key agreement that may begin in a second from one address; none for any number.
    pub key_agreements_per_address: Option<u32>,
    /// Forged records of a session that are opened in a second from each foreign address; 0 for all.
    pub max_forged_records: u32,
    /// Bytes of handshake messages that are held for one peer until they are whole.
    pub max_handshake_bytes: usize,
    /// Records that are held for one peer until its handshake is done.
    pub max_early_records: usize,
    /// Bytes of these records.
    pub max_early_bytes: usize,
    /// Sessions that a device may have at a time; 0 for any number.
    pub max_sessions_per_device: usize,
    /// Whether a device may have one session at a time only.
    pub one_session_each: bool,
    /// Whether a device that offers to prove its addresses must do so when it moves (RFC 9853).
    pub return_routability: bool,
    /// How long it has for that.
    pub path_timeout: Duration,
    /// Whether devices may show bare keys in place of certificates (RFC 7250).
    pub raw_public_keys: bool,
    /// Whether device certificates of X.509 version 1 and 2 are accepted.
    pub certificate_v1: bool,
    /// How long an OCSP responder may take.
    pub ocsp_timeout: Duration,
    /// How long its answer counts at most.
    pub ocsp_cache_timeout: Duration,
}

impl DtlsConfig {
    pub(super) fn from_chosen(chosen: &Chosen) -> Self {
        let settings = DtlsSettings::take(chosen, PREFIX);
        Self {
            max_handshakes: settings.max_handshakes,
            handshakes_per_prefix: Some(settings.handshakes_per_prefix).filter(|rate| *rate > 0),
            key_agreements_per_address: Some(settings.key_agreements_per_address)
                .filter(|rate| *rate > 0),
            max_forged_records: settings.max_forged_records,
            max_handshake_bytes: settings.max_handshake_bytes,
            max_early_records: settings.max_early_records,
            max_early_bytes: settings.max_early_bytes,
            max_sessions_per_device: settings.max_sessions_per_device,
            one_session_each: settings.one_session_each,
            return_routability: settings.return_routability,
            path_timeout: settings.path_timeout,
            raw_public_keys: settings.raw_public_keys,
            certificate_v1: settings.certificate_v1,
            ocsp_timeout: settings.ocsp_timeout,
            ocsp_cache_timeout: settings.ocsp_cache_timeout,
        }
    }
}

const COUNT: Kind = Kind::Number {
    min: 0,
    max: i32::MAX as i64,
    unit: "",
};

settings! {
    /// The limits of `hono.coap` as they are written.
    pub(super) struct DtlsSettings {
        /// Maximum number of concurrent DTLS handshakes. When it is reached, a new one displaces one of the source prefix that holds most, or is dropped.
        max_handshakes: usize = Kind::Number { min: 1, max: i32::MAX as i64, unit: "" }, "dtlsMaxHandshakes", Some("10000");
        /// DTLS handshakes per second that one source prefix (an IPv4 /24 or IPv6 /56) may start, with a burst of ten times as many; 0 is unlimited. Thousands of devices may share one address of a mobile network.
        handshakes_per_prefix: u32 = COUNT, "dtlsHandshakesPerPrefix", Some("0");
        /// DTLS handshakes per second with certificates or ECDHE that one address (an IPv6 /64) may start, with a burst of four times as many; 0 is unlimited. Each costs about 0.1 ms of CPU.
        key_agreements_per_address: u32 = COUNT, "dtlsKeyAgreementsPerAddress", Some("500");
        /// Forged records per second and session that the adapter decrypts from an address other than the device's own; further records from there are dropped. 0 is unlimited.
        max_forged_records: u32 = COUNT, "dtlsMaxForgedRecords", Some("1000");
        /// Maximum number of bytes of incomplete handshake messages per peer; a certificate chain must fit.
        max_handshake_bytes: usize = Kind::Number { min: 1024, max: 1 << 20, unit: "bytes" }, "dtlsMaxHandshakeBytes", Some("8192");
        /// Maximum number of records per peer that are buffered until its handshake is complete; at least one, for the end of the handshake.
        max_early_records: usize = Kind::Number { min: 1, max: 1000, unit: "" }, "dtlsMaxEarlyRecords", Some("8");
        /// Maximum number of bytes of the records that are buffered per peer until its handshake is complete.
        max_early_bytes: usize = Kind::Number { min: 128, max: 1 << 20, unit: "bytes" }, "dtlsMaxEarlyBytes", Some("4096");
        /// Maximum number of DTLS sessions of one device or gateway; a further session closes its oldest one. 0 is unlimited. Devices that share credentials count as one.
        max_sessions_per_device: usize = Kind::Number { min: 0, max: i32::MAX as i64, unit: "" }, "dtlsMaxSessionsPerDevice", Some("1000");
        /// Whether each device may have only one DTLS session, so that a new session closes the previous one. Requires that devices do not share credentials.
        one_session_each: bool = Kind::Flag, "dtlsOneSessionEach", Some("false");
        /// Whether a device that uses a connection id and supports the return routability check (RFC 9853) must pass it when its address changes. Devices without that support are not checked.
        return_routability: bool = Kind::Flag, "dtlsReturnRoutability", Some("true");
        /// Time-out of the return routability check. Until it succeeds, the new address gets at most three bytes for each byte received.
        path_timeout: Duration = Kind::Millis { min: 1 }, "dtlsPathTimeout", Some("3000");
        /// Whether devices may authenticate with raw public keys instead of certificates (RFC 7250); the registry needs credentials of type rpk for them.
        raw_public_keys: bool = Kind::Flag, "dtlsRawPublicKeys", Some("false");
        /// Whether device certificates of X.509 version 1 and 2 are accepted, which `openssl x509 -req` issues without `-extfile`. They have no key usage extensions.
        certificate_v1: bool = Kind::Flag, "dtlsCertificateV1", Some("true");
        /// Time-out of OCSP requests for device certificates, if the tenant requires revocation checks. If no responder answers, the device is refused.
        ocsp_timeout: Duration = Kind::Millis { min: 1 }, "ocspTimeout", Some("5000");
        /// Maximum lifetime of a cached OCSP response; the response may specify a shorter one.
        ocsp_cache_timeout: Duration = Kind::Seconds, "ocspCacheTimeout", Some("600");
    }
}

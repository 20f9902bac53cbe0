//! Why a device is not served: one list of codes for logs, spans, metrics, the operator's questions and the page
//! `docs/troubleshooting.md`.
//!
//! A code never changes its meaning, and there are no others, so that they can be labels of metrics and words in alerts.

use std::fmt;

use amqp_client::{LinkError, Outcome as Disposition, SendError};
use dtls_server::{AlertDescription, CertificateError, HandshakeFailure};
use registry_client::ServiceError;

/// Where on its way a device is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In the DTLS handshake.
    Handshake,
    /// With a request.
    Request,
    /// In both.
    Both,
}

macro_rules! reasons {
    ($($name:ident = $code:literal, $stage:ident, $meaning:literal, $remedy:literal;)+) => {
        /// Why a handshake came to nothing, or a request was not served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of a device's way.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code, as labels and logs have it.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Where it stops a device.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage,)+ }
            }

            /// What happened.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

reasons! {
    CookieInvalid = "cookie-invalid", Handshake,
        "The cookie of the ClientHello is invalid or has expired.",
        "None if it is rare: the client gets a new cookie. Large numbers come from forged addresses, or from a load balancer that sends the datagrams of one device to different replicas.";
    TooManyHandshakes = "too-many-handshakes", Handshake,
        "All places for sessions or unfinished handshakes are taken.",
        "Raise `maxConnections`, add replicas, or find the source of the handshakes.";
    HandshakeRateLimited = "handshake-rate-limited", Handshake,
        "The source prefix starts more handshakes than `dtlsHandshakesPerPrefix` allows.",
        "Find the source of the handshakes. If many devices share one address, raise `dtlsHandshakesPerPrefix`.";
    UnsupportedVersion = "unsupported-version", Handshake,
        "The device does not offer DTLS 1.2.",
        "Set the device's DTLS library to version 1.2.";
    NoSharedSuite = "no-shared-suite", Handshake,
        "The device offers no cipher suite that the adapter supports.",
        "Enable an AEAD cipher suite on the device: TLS_PSK_WITH_AES_128_CCM_8 for pre-shared keys, TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 for certificates.";
    NoServerCertificate = "no-server-certificate", Handshake,
        "The device offers only certificate-based cipher suites, and the adapter has no certificate for them.",
        "Set `keyPath` and `certPath` to a key on P-256, P-384 or P-521 (not RSA) and its certificate chain, or give the device a pre-shared key.";
    NoSharedCertificateType = "no-shared-certificate-type", Handshake,
        "The device requires raw public keys or another certificate type that is not enabled in the adapter.",
        "Set `dtlsRawPublicKeys` to true, or use X.509 certificates on the device.";
    NoSharedCurve = "no-shared-curve", Handshake,
        "The device supports none of the adapter's curves, or not the curve of the server's key.",
        "Enable secp256r1, secp384r1 or x25519 on the device, and the curve of the server's key; or give the adapter a key on a curve that the device supports.";
    NoSharedSignature = "no-shared-signature", Handshake,
        "The device accepts no signature algorithm of the server's key: ECDSA with SHA-256, SHA-384 or SHA-512.",
        "Add ECDSA with SHA-256 (0x0403) to the device's signature_algorithms.";
    BadHello = "bad-hello", Handshake,
        "The device's ClientHello violates the protocol.",
        "Update the device's DTLS library.";
    ClientSilent = "client-silent", Handshake,
        "The device did not continue its handshake in time.",
        "Look for lost or filtered datagrams between the device and the adapter, and for a device that ran out of power or memory.";
    Superseded = "superseded", Handshake,
        "The device started a new handshake before the previous one was complete.",
        "Allow at least 10 s for a handshake on the device.";
    ClientAlert = "client-alert", Handshake,
        "The device aborted the handshake with an alert, usually because it does not trust the server's certificate.",
        "Install the issuer of the server's certificate on the device, and check the host name and the device's clock.";
    BadPoint = "bad-point", Handshake,
        "The device's public key for the key agreement is not on the curve.",
        "Update the device's DTLS library.";
    MalformedIdentity = "malformed-identity", Handshake,
        "The PSK identity is not of the form auth-id@tenant, or the tenant name is invalid: longer than 256 bytes, or with a slash or a control character.",
        "Set the identity on the device to auth-id@tenant, or set `idSplitRegex` to the separator that the devices use.";
    IdentityTooLong = "identity-too-long", Handshake,
        "The PSK identity is longer than 512 bytes.",
        "Use a shorter auth-id on the device.";
    UnknownIdentity = "unknown-identity", Handshake,
        "The registry has no usable pre-shared key for this auth-id and tenant: the credentials or the tenant do not exist or are disabled.",
        "Compare the identity on the device with auth-id and tenant in the registry, letter by letter; add credentials of type psk if there are none, and check that they are enabled.";
    CredentialsDisabled = "credentials-disabled", Handshake,
        "The credentials are disabled in the registry.",
        "Enable the credentials in the registry.";
    NoValidKey = "no-valid-key", Handshake,
        "None of the secrets of the credentials is an enabled key that is valid now.",
        "Check `enabled`, `not-before` and `not-after` of the secrets in the registry.";
    WrongKey = "wrong-key", Handshake,
        "The registry knows the identity, but the device uses a different key.",
        "Compare the key on the device with the one in the registry. The registry expects Base64; most devices expect plain bytes or hexadecimal.";
    WrongFinished = "wrong-finished", Handshake,
        "The device has the right key, but saw different handshake messages than the adapter.",
        "Update the device's DTLS library; look for a middlebox that changes datagrams.";
    KeyTimeout = "key-timeout", Handshake,
        "The registry did not return the key in time.",
        "Check the credentials service and the connection to it; see `hono_amqp_delivery_duration_seconds` with type `credentials`.";
    RawKeyUnknown = "raw-key-unknown", Handshake,
        "The registry has no credentials of type rpk for the device's raw public key in the tenant that the device names, or the device names no tenant.",
        "Make the device send the server name `tenant.domain`; add credentials of type rpk whose auth-id is the SHA-256 of the key in hexadecimal.";
    NoCertificate = "no-certificate", Handshake,
        "The device sent no certificate, or one that cannot be parsed.",
        "Install the certificate and its private key on the device.";
    CertificateKeyUnsupported = "certificate-key-unsupported", Handshake,
        "The key of the device's certificate is not supported: it is an RSA key, or on an unsupported curve.",
        "Use a key on P-256, P-384 or P-521, or an Ed25519 key, and a certificate for it.";
    CertificateVerifyUnsupported = "certificate-verify-unsupported", Handshake,
        "The device signed the handshake with an unsupported algorithm.",
        "Configure the device to sign with ECDSA and SHA-256, SHA-384 or SHA-512, or with Ed25519.";
    CertificateUnproved = "certificate-unproved", Handshake,
        "The device did not prove possession of the private key of its certificate.",
        "Install the private key that belongs to the certificate on the device.";
    CertificateMalformed = "certificate-malformed", Handshake,
        "The device's certificate cannot be parsed, or has an unknown critical extension.",
        "Issue an X.509 version 3 certificate without unusual critical extensions.";
    CertificateVersion = "certificate-version", Handshake,
        "The device's certificate is of X.509 version 1 or 2, and `dtlsCertificateV1` is false.",
        "Issue a version 3 certificate (`openssl x509 -req` needs `-extfile` for that), or set `dtlsCertificateV1` to true.";
    CertificateUsage = "certificate-usage", Handshake,
        "The device's certificate does not permit client authentication.",
        "Issue a certificate with key usage digitalSignature and extended key usage clientAuth, or without both.";
    CertificateUntrusted = "certificate-untrusted", Handshake,
        "No tenant trusts the issuer of the device's certificate.",
        "Add the issuing authority to the tenant's trusted-ca, or use a certificate of an authority that is there.";
    CertificateBadSignature = "certificate-bad-signature", Handshake,
        "A trusted authority has the issuer's name, but its key did not sign the device's certificate.",
        "Compare the authority's public key in the tenant's trusted-ca with the key that issued the certificate.";
    CertificateSignatureUnsupported = "certificate-signature-unsupported", Handshake,
        "The device's certificate is signed with an unsupported algorithm, or by an authority with an unsupported key.",
        "Sign with ECDSA on P-256, P-384 or P-521, RSA with at least 2048 bits, or Ed25519, and with SHA-256, SHA-384 or SHA-512.";
    CertificateExpired = "certificate-expired", Handshake,
        "The certificate of the device or of its authority has expired.",
        "Renew the certificate.";
    CertificateNotYetValid = "certificate-not-yet-valid", Handshake,
        "The certificate of the device or of its authority is not valid yet.",
        "Check the clocks of the adapter and of the certificate's issuer.";
    CertificateUnacceptable = "certificate-unacceptable", Handshake,
        "The device's certificate is refused for another reason.",
        "See the detail in the adapter's log.";
    CertificateRevoked = "certificate-revoked", Handshake,
        "The OCSP responder of the tenant's trusted-ca reports the device's certificate as revoked.",
        "Issue a new certificate if the device should still be allowed to connect.";
    RevocationUnknown = "revocation-unknown", Handshake,
        "The tenant requires a revocation check, and no OCSP responder gave a usable answer.",
        "Check the OCSP responder of the tenant's trusted-ca, or disable the revocation check there.";
    CertificateTemplate = "certificate-template", Handshake,
        "The tenant's auth-id template does not match the subject of the device's certificate.",
        "Change `auth-id-template` of the trusted-ca, or issue certificates with the attributes that it uses.";
    CertificateUnknown = "certificate-unknown", Handshake,
        "The certificate is trusted, but the registry has no x509-cert credentials for its auth-id.",
        "Add credentials of type x509-cert for the subject, or enable auto-provisioning for the trusted-ca.";
    VerdictTimeout = "verdict-timeout", Handshake,
        "The registry did not answer the lookup for the certificate in time.",
        "Check the tenant and credentials services and the connections to them.";
    OverBudget = "over-budget", Both,
        "The device or its tenant has used up its budget of messages, bytes or handshakes.",
        "Make the device send less often, or raise the budgets in `hono.budget`. Max-Age of the response says when to retry.";
    RegistryUnreachable = "registry-unreachable", Both,
        "The device registry is unreachable or does not respond in time.",
        "Check `/readiness` for the connection that is down, and the registry itself.";
    RegistryError = "registry-error", Both,
        "The device registry responded with an error.",
        "Check the registry's log; the adapter's log has the status.";
    NoSuchResource = "no-such-resource", Request,
        "There is no resource at this path.",
        "Send telemetry to /telemetry or /t, events to /event or /e.";
    MethodNotAllowed = "method-not-allowed", Request,
        "The resource supports POST and PUT only.",
        "Use POST, or PUT with tenant and device in the path.";
    BadQuery = "bad-query", Request,
        "The query is not supported.",
        "Use at most one search query with /.well-known/core.";
    NotAcceptable = "not-acceptable", Request,
        "The resource is available as link-format only.",
        "Omit the Accept option.";
    NotAuthenticated = "not-authenticated", Request,
        "POST requires a DTLS session that identifies the device.",
        "Use coaps with credentials, or PUT with tenant and device in the path where that is allowed.";
    NoDevice = "no-device", Request,
        "The path names no device.",
        "Send PUT to /telemetry/tenant/device; within a DTLS session the tenant may be left empty.";
    ForeignTenant = "foreign-tenant", Request,
        "The path names a tenant other than that of the credentials.",
        "Name the tenant of the credentials, or leave it empty.";
    NotConfirmable = "not-confirmable", Request,
        "Events and command responses must be sent as confirmable messages.",
        "Send the request as CON.";
    ContentMismatch = "content-mismatch", Request,
        "Content type and payload do not match.",
        "Send a payload with a Content-Format, or no payload with the query `empty`.";
    MalformedCommandResponse = "malformed-command-response", Request,
        "The request id or the status of the command response is missing or invalid.",
        "Send the response to the path received with the command, with the query hono-cmd-status.";
    TenantUnknown = "tenant-unknown", Request,
        "The registry does not know the tenant.",
        "Compare the tenant's name with the registry, letter by letter.";
    TenantDisabled = "tenant-disabled", Request,
        "The tenant is disabled.",
        "Enable the tenant in the registry.";
    AdapterDisabled = "adapter-disabled", Request,
        "The CoAP adapter is disabled for the tenant.",
        "Enable the adapter hono-coap for the tenant in the registry.";
    DeviceUnknown = "device-unknown", Request,
        "The device is not registered or is disabled; the registry does not say which.",
        "Register or enable the device in the registry.";
    GatewayNotAllowed = "gateway-not-allowed", Request,
        "The gateway is disabled, or not authorized to act for the device.",
        "Add the gateway to the device's `via`, and enable both.";
    LimitExceeded = "limit-exceeded", Request,
        "The tenant's data volume limit is exceeded.",
        "Raise the tenant's resource limits, or wait for the next period.";
    CommandRouterFailed = "command-router", Request,
        "The command router did not accept the registration of a device that waits for commands.",
        "Check the command router and the connection to it.";
    BrokerUnreachable = "broker-unreachable", Request,
        "There is no connection to the AMQP network.",
        "Check `/readiness` for the connection that is down, and the AMQP network itself.";
    LinkRefused = "link-refused", Request,
        "The AMQP network refused a link to the tenant's address.",
        "Check the address and the adapter's permissions in the AMQP network.";
    LinkTimeout = "link-timeout", Request,
        "The AMQP network did not answer the attach of a link in time.",
        "Check the load of the AMQP network; raise `linkEstablishmentTimeout`.";
    NoConsumer = "no-consumer", Request,
        "No application consumes messages of this kind from the tenant.",
        "Start the application that receives the tenant's telemetry or events, or make it grant more credit.";
    ConsumerSilent = "consumer-silent", Request,
        "The application did not settle the message in time.",
        "Check the load of the application; raise `sendMessageTimeout`.";
    ConsumerRejected = "consumer-rejected", Request,
        "The application rejected the message.",
        "Check the application's log for the cause.";
    ConsumerReleased = "consumer-released", Request,
        "The application or the AMQP network released the message.",
        "Check whether the application is shutting down or has lost its link.";
    ConsumerModified = "consumer-modified", Request,
        "The application or the AMQP network could not process the message (outcome modified).",
        "Check the application's log.";
    LinkLost = "link-lost", Request,
        "The AMQP link was lost before the message was settled.",
        "Check the AMQP network. The device should retry; the application may then receive the message twice.";
    MessageTooLarge = "message-too-large", Request,
        "The message exceeds the maximum message size of the AMQP network.",
        "Raise the limit of the AMQP network, or lower `maxPayloadSize` so that devices get 4.13.";
    Unsettled = "unsettled", Request,
        "The AMQP network settled the message without an outcome.",
        "Check the AMQP network: it violates the protocol.";
    Congested = "congested", Request,
        "The AMQP network accepts messages too slowly, or there are too many links.",
        "Check the load of the AMQP network; add replicas.";
    Overloaded = "overloaded", Request,
        "Too many requests are in progress, in total or of the device, its tenant or its address prefix.",
        "Look for a slow registry or AMQP network, and check the gauges of the tables; raise `hono.app.maxMemory`, or add replicas.";
    QueryNotSplit = "query-not-split", Request,
        "The device put several query arguments into one Uri-Query option, separated by `&`; such an option is ignored. The request is served as if it had no query.",
        "Make the device send each argument in its own Uri-Query option (RFC 7252 section 5.10.1); some modems and tools send the whole query as one.";
    Stopping = "stopping", Request,
        "The adapter is shutting down.",
        "None: the device is served when it retries.";
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it stops devices in the handshake.
    #[must_use]
    pub const fn is_of_handshakes(self) -> bool {
        matches!(self.stage(), Stage::Handshake | Stage::Both)
    }

    /// Whether it stops requests.
    #[must_use]
    pub const fn is_of_requests(self) -> bool {
        matches!(self.stage(), Stage::Request | Stage::Both)
    }

    /// What the failure of a look-up is, if the service knows what was asked for only by `unknown`.
    #[must_use]
    pub const fn of_service(error: &ServiceError, unknown: Self) -> Self {
        Self::of_status(error.status, unknown)
    }

    /// As [`Reason::of_service`], by the status alone.
    #[must_use]
    pub const fn of_status(status: u16, unknown: Self) -> Self {
        match status {
            404 => unknown,
            503 => Self::RegistryUnreachable,
            _ => Self::RegistryError,
        }
    }
}

/// All reasons that stop devices at a stage, as a table in Markdown for the page of documentation.
#[must_use]
pub fn table(of: fn(Reason) -> bool) -> String {
    let rows = Reason::ALL.iter().filter(|reason| of(**reason));
    rows.fold(
        "| Reason | What happened | What to do |\n| --- | --- | --- |\n".to_owned(),
        |table, reason| {
            let (code, meaning, remedy) = (reason.code(), reason.meaning(), reason.remedy());
            format!("{table}| `{code}` | {meaning} | {remedy} |\n")
        },
    )
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// What the DTLS engine tells, where nobody knows more.
impl From<HandshakeFailure> for Reason {
    fn from(failure: HandshakeFailure) -> Self {
        match failure {
            HandshakeFailure::NothingToChoose(AlertDescription::HANDSHAKE_FAILURE) => {
                Self::NoSharedSuite
            }
            HandshakeFailure::NothingToChoose(AlertDescription::PROTOCOL_VERSION) => {
                Self::UnsupportedVersion
            }
            HandshakeFailure::NoServerCertificate => Self::NoServerCertificate,
            HandshakeFailure::NoSharedCertificateType => Self::NoSharedCertificateType,
            HandshakeFailure::NoSharedCurve => Self::NoSharedCurve,
            HandshakeFailure::NoSharedSignature => Self::NoSharedSignature,
            HandshakeFailure::UnsupportedKey => Self::CertificateKeyUnsupported,
            HandshakeFailure::UnsupportedSignature => Self::CertificateVerifyUnsupported,
            HandshakeFailure::OverLimit | HandshakeFailure::Displaced => Self::TooManyHandshakes,
            HandshakeFailure::OverRate => Self::HandshakeRateLimited,
            HandshakeFailure::ClientSilent => Self::ClientSilent,
            HandshakeFailure::ClientAlert(_) => Self::ClientAlert,
            HandshakeFailure::Superseded => Self::Superseded,
            HandshakeFailure::IdentityTooLong => Self::IdentityTooLong,
            HandshakeFailure::BadPoint => Self::BadPoint,
            HandshakeFailure::KeyUnknown => Self::UnknownIdentity,
            HandshakeFailure::KeyDeadline => Self::KeyTimeout,
            HandshakeFailure::NotAuthentic => Self::WrongKey,
            HandshakeFailure::WrongFinished => Self::WrongFinished,
            HandshakeFailure::NoCertificate => Self::NoCertificate,
            HandshakeFailure::CertificateUnproved => Self::CertificateUnproved,
            HandshakeFailure::CertificateRefused => Self::CertificateUnacceptable,
            HandshakeFailure::VerdictDeadline => Self::VerdictTimeout,
            // Other alerts to a ClientHello, and what else the engine may tell one day.
            _ => Self::BadHello,
        }
    }
}

impl From<CertificateError> for Reason {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Malformed | CertificateError::UnknownExtension => {
                Self::CertificateMalformed
            }
            CertificateError::UnsuitedUsage => Self::CertificateUsage,
            CertificateError::Expired => Self::CertificateExpired,
            CertificateError::NotYetValid => Self::CertificateNotYetValid,
            CertificateError::UnknownIssuer => Self::CertificateUntrusted,
            CertificateError::UnsupportedSignature | CertificateError::UnsupportedAnchorKey => {
                Self::CertificateSignatureUnsupported
            }
            CertificateError::BadSignature => Self::CertificateBadSignature,
            _ => Self::CertificateUnacceptable,
        }
    }
}

/// Why a message did not go out.
impl From<&SendError> for Reason {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::NoCredit => Self::NoConsumer,
            SendError::TimedOut => Self::ConsumerSilent,
            SendError::LinkLost => Self::LinkLost,
            SendError::Link(LinkError::NotConnected) => Self::BrokerUnreachable,
            SendError::Link(LinkError::TimedOut) => Self::LinkTimeout,
            SendError::Link(LinkError::Refused { .. }) => Self::LinkRefused,
            SendError::TooLarge { .. } | SendError::Link(LinkError::MaxMessageSize { .. }) => {
                Self::MessageTooLarge
            }
            SendError::Unsettled => Self::Unsettled,
            _ => Self::Congested,
        }
    }
}

/// What a receiver says of a message that it did not accept.
impl From<&Disposition> for Reason {
    fn from(disposition: &Disposition) -> Self {
        match disposition {
            Disposition::Rejected { .. } => Self::ConsumerRejected,
            Disposition::Released => Self::ConsumerReleased,
            _ => Self::ConsumerModified,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_one_of_its_own_and_can_be_a_label() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::COUNT);
        for code in codes {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
            assert!(code.chars().all(plain), "{code}");
        }
    }

    #[test]
    fn a_registry_that_cannot_be_asked_says_nothing_of_the_device() {
        let unknown = Reason::UnknownIdentity;
        for (status, reason) in [
            (404, Reason::UnknownIdentity),
            (503, Reason::RegistryUnreachable),
            (400, Reason::RegistryError),
            (500, Reason::RegistryError),
        ] {
            assert_eq!(Reason::of_status(status, unknown), reason, "{status}");
        }
    }

    /// `coap-adapter docs-table reasons` prints the tables anew.
    #[test]
    fn the_page_has_every_reason() {
        let page = include_str!("../../../docs/troubleshooting.md");
        for of in [Reason::is_of_handshakes, Reason::is_of_requests] {
            assert!(page.contains(&table(of)), "{}", table(of));
        }
    }

    #[test]
    fn every_way_of_not_sending_has_its_reason() {
        let refused = LinkError::Refused {
            condition: None,
            description: None,
        };
        for (error, reason) in [
            (SendError::NoCredit, Reason::NoConsumer),
            (SendError::TimedOut, Reason::ConsumerSilent),
            (SendError::LinkLost, Reason::LinkLost),
            (LinkError::NotConnected.into(), Reason::BrokerUnreachable),
            (LinkError::TimedOut.into(), Reason::LinkTimeout),
            (refused.into(), Reason::LinkRefused),
            (LinkError::TooManyLinks.into(), Reason::Congested),
            (
                LinkError::MaxMessageSize { limit: 1 }.into(),
                Reason::MessageTooLarge,
            ),
            (SendError::TooLarge { limit: 1 }, Reason::MessageTooLarge),
            (SendError::Unsettled, Reason::Unsettled),
            (SendError::Congested, Reason::Congested),
        ] {
            assert_eq!(Reason::from(&error), reason, "{error}");
        }
    }
}

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
        "A hello came with a cookie that is not ours, or is too old.",
        "Nothing if it is rare: the client gets a new cookie. Many of them come from forged addresses, or from a balancer that sends a device's datagrams to different adapters.";
    TooManyHandshakes = "too-many-handshakes", Handshake,
        "All places for sessions or unfinished handshakes are taken.",
        "Raise `maxConnections`, add replicas, or find out who begins so many handshakes.";
    HandshakeRateLimited = "handshake-rate-limited", Handshake,
        "The source prefix starts more handshakes than `dtlsHandshakesPerPrefix` allows.",
        "Find the source of the handshakes. If many devices share one address, raise `dtlsHandshakesPerPrefix`.";
    UnsupportedVersion = "unsupported-version", Handshake,
        "The device does not offer DTLS 1.2.",
        "Set the device's DTLS library to version 1.2.";
    NoSharedSuite = "no-shared-suite", Handshake,
        "The device offers no cipher suite that the adapter supports.",
        "Enable a suite with AEAD on the device: TLS_PSK_WITH_AES_128_CCM_8 for pre-shared keys, TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 for certificates.";
    NoServerCertificate = "no-server-certificate", Handshake,
        "The device offers only cipher suites with certificates, and the adapter has no certificate for them.",
        "Set `keyPath` and `certPath` to a key on P-256, P-384 or P-521 (not RSA) and its certificates, or give the device a pre-shared key.";
    NoSharedCertificateType = "no-shared-certificate-type", Handshake,
        "The device wants raw public keys, or another kind of certificates that the adapter does not use.",
        "Set `dtlsRawPublicKeys` to true, or use X.509 certificates on the device.";
    NoSharedCurve = "no-shared-curve", Handshake,
        "The device supports no curve of the adapter, or not the curve of the server's key.",
        "Enable secp256r1, secp384r1 or x25519 on the device, and the curve of the server's key; or give the adapter a key on a curve that the device supports.";
    NoSharedSignature = "no-shared-signature", Handshake,
        "The device accepts no signature that the server's key can make: ECDSA with SHA-256, SHA-384 or SHA-512.",
        "Add ECDSA with SHA-256 (0x0403) to the device's signature_algorithms.";
    BadHello = "bad-hello", Handshake,
        "The device's hello breaks the protocol.",
        "Update the device's DTLS library.";
    ClientSilent = "client-silent", Handshake,
        "The device did not go on with its handshake in time.",
        "Look for lost or filtered datagrams between the device and the adapter, and for a device that ran out of power or memory.";
    Superseded = "superseded", Handshake,
        "The device began anew before its handshake was done.",
        "Give the device more time for a handshake, 10 s at least.";
    ClientAlert = "client-alert", Handshake,
        "The device gave the handshake up and said so, most often as it does not trust the server's certificate.",
        "Give the device the authority that issued the server's certificate, and check the host name and the device's clock.";
    BadPoint = "bad-point", Handshake,
        "The device's half of the key agreement lies on no curve.",
        "Update the device's DTLS library.";
    MalformedIdentity = "malformed-identity", Handshake,
        "The PSK identity is not of the form auth-id@tenant, or the tenant is one that cannot be: longer than 256 bytes, or with a slash or a control character.",
        "Write the identity on the device as auth-id@tenant, or set `idSplitRegex` to what parts the two.";
    IdentityTooLong = "identity-too-long", Handshake,
        "The PSK identity has more than 512 bytes.",
        "Give the device a shorter auth-id.";
    UnknownIdentity = "unknown-identity", Handshake,
        "The registry gives no pre-shared key for this auth-id in this tenant: it knows no such credentials or no such tenant, or they are disabled.",
        "Compare the identity on the device with auth-id and tenant in the registry, letter by letter; add credentials of type psk if there are none, and see that they are enabled.";
    CredentialsDisabled = "credentials-disabled", Handshake,
        "The credentials are disabled in the registry.",
        "Enable the credentials in the registry.";
    NoValidKey = "no-valid-key", Handshake,
        "None of the secrets of the credentials is an enabled key that is valid now.",
        "Look at `enabled`, `not-before` and `not-after` of the secrets in the registry.";
    WrongKey = "wrong-key", Handshake,
        "The registry knows the identity, but the device has another key.",
        "Compare the key on the device with the one in the registry; the registry wants it in Base64, most devices as plain bytes or in hexadecimal.";
    WrongFinished = "wrong-finished", Handshake,
        "The device's key is right, but it saw other handshake messages than the adapter.",
        "Update the device's DTLS library; look for what changes datagrams on their way.";
    KeyTimeout = "key-timeout", Handshake,
        "The registry did not tell the key in time.",
        "Look at the credentials service and the connection to it; see `hono_amqp_delivery_duration_seconds` with type `credentials`.";
    RawKeyUnknown = "raw-key-unknown", Handshake,
        "The registry has no rpk credentials for the device's bare key in the tenant that the device names, or the device names none.",
        "Let the device name the host `tenant.domain`; add credentials of type rpk whose auth-id is the SHA-256 of the key in hexadecimal.";
    NoCertificate = "no-certificate", Handshake,
        "The device showed no certificate, or none that can be read.",
        "Give the device its certificate and the private key that belongs to it.";
    CertificateKeyUnsupported = "certificate-key-unsupported", Handshake,
        "The key of the device's certificate cannot sign a handshake here: it is of RSA, or on a curve that is not supported.",
        "Give the device a key on P-256, P-384 or P-521, or for Ed25519, and a certificate for it.";
    CertificateVerifyUnsupported = "certificate-verify-unsupported", Handshake,
        "The device signed its handshake by an algorithm that is not supported.",
        "Let the device sign by ECDSA with SHA-256, SHA-384 or SHA-512, or by Ed25519.";
    CertificateUnproved = "certificate-unproved", Handshake,
        "The device did not prove that it has the private key of its certificate.",
        "Put the private key that belongs to the certificate on the device.";
    CertificateMalformed = "certificate-malformed", Handshake,
        "The device's certificate cannot be read, or has a critical extension that nobody here knows.",
        "Issue an X.509 certificate of version 3 without unusual critical extensions.";
    CertificateVersion = "certificate-version", Handshake,
        "The device's certificate is of X.509 version 1 or 2, and `dtlsCertificateV1` does not accept these.",
        "Issue a certificate of version 3 (`openssl x509 -req` makes one with `-extfile`), or set `dtlsCertificateV1` to true.";
    CertificateUsage = "certificate-usage", Handshake,
        "The device's certificate may not authenticate a client.",
        "Issue a certificate with key usage digitalSignature and extended key usage clientAuth, or without both.";
    CertificateUntrusted = "certificate-untrusted", Handshake,
        "No tenant trusts the issuer of the device's certificate.",
        "Add the issuing authority to the tenant's trusted-ca, or issue the certificate by one that is there.";
    CertificateBadSignature = "certificate-bad-signature", Handshake,
        "A trusted authority has the issuer's name, but did not sign the device's certificate.",
        "Compare the authority's public key in the tenant's trusted-ca with the one that issued the certificate.";
    CertificateSignatureUnsupported = "certificate-signature-unsupported", Handshake,
        "The device's certificate is signed by an algorithm that is not supported, or by an authority with such a key.",
        "Sign it by ECDSA on P-256, P-384 or P-521, by RSA with 2048 bits or more, or by Ed25519, with SHA-256, SHA-384 or SHA-512.";
    CertificateExpired = "certificate-expired", Handshake,
        "The device's certificate, or the authority's, is not valid any more.",
        "Renew the certificate.";
    CertificateNotYetValid = "certificate-not-yet-valid", Handshake,
        "The device's certificate, or the authority's, is not valid yet.",
        "Check the clocks of the adapter and of who issued the certificate.";
    CertificateUnacceptable = "certificate-unacceptable", Handshake,
        "The device's certificate is refused for another reason.",
        "Look at the detail in the adapter's log.";
    CertificateRevoked = "certificate-revoked", Handshake,
        "The responder of the tenant's trusted-ca says that the device's certificate was revoked.",
        "Give the device a new certificate, if it shall speak still.";
    RevocationUnknown = "revocation-unknown", Handshake,
        "The tenant wants to know whether the certificate was revoked, and nobody can tell.",
        "Look at the OCSP responder of the tenant's trusted-ca, or do without.";
    CertificateTemplate = "certificate-template", Handshake,
        "The tenant's auth-id template does not fit the subject of the device's certificate.",
        "Change `auth-id-template` of the trusted-ca, or issue certificates with the attribute it names.";
    CertificateUnknown = "certificate-unknown", Handshake,
        "The certificate is trusted, but the registry has no x509-cert credentials for its auth-id.",
        "Add credentials of type x509-cert for the subject, or enable auto-provisioning for the trusted-ca.";
    VerdictTimeout = "verdict-timeout", Handshake,
        "The registry did not tell in time what it knows of the certificate.",
        "Look at the tenant and credentials services and the connections to them.";
    OverBudget = "over-budget", Both,
        "The device, or its tenant, has used up its budget of messages, bytes or handshakes.",
        "Let the device send less often, or raise the budgets of `hono.budget`; Max-Age of the answer tells when to come back.";
    RegistryUnreachable = "registry-unreachable", Both,
        "The device registry cannot be reached, or does not answer in time.",
        "Look at `/readiness` for which connection is down, and at the registry itself.";
    RegistryError = "registry-error", Both,
        "The device registry answered with an error.",
        "Look at the registry's log; the status is in the adapter's log.";
    NoSuchResource = "no-such-resource", Request,
        "Nothing is at this path.",
        "Send telemetry to /telemetry or /t, events to /event or /e.";
    MethodNotAllowed = "method-not-allowed", Request,
        "The resource takes POST and PUT only.",
        "Send with POST, or with PUT and tenant and device in the path.";
    BadQuery = "bad-query", Request,
        "The query cannot be served.",
        "Ask /.well-known/core with one search query at most.";
    NotAcceptable = "not-acceptable", Request,
        "Only link-format is given.",
        "Leave the option Accept out.";
    NotAuthenticated = "not-authenticated", Request,
        "POST needs a DTLS session that tells who the device is.",
        "Use coaps and credentials, or PUT with tenant and device in the path where that is allowed.";
    NoDevice = "no-device", Request,
        "The path names no device.",
        "Send PUT to /telemetry/tenant/device; in a session the tenant may be left empty.";
    ForeignTenant = "foreign-tenant", Request,
        "The path names another tenant than the one of the credentials.",
        "Name the tenant of the credentials, or leave it empty.";
    NotConfirmable = "not-confirmable", Request,
        "Events and command responses must be confirmable messages.",
        "Send the request as CON.";
    ContentMismatch = "content-mismatch", Request,
        "Content type and payload do not match.",
        "Send a payload with a Content-Format, or no payload with the query `empty`.";
    MalformedCommandResponse = "malformed-command-response", Request,
        "Request id or status of a command response is missing or invalid.",
        "Answer to the path that came with the command, with the query hono-cmd-status.";
    TenantUnknown = "tenant-unknown", Request,
        "The registry does not know the tenant.",
        "Compare the tenant's name with the registry, letter by letter.";
    TenantDisabled = "tenant-disabled", Request,
        "The tenant is disabled.",
        "Enable the tenant in the registry.";
    AdapterDisabled = "adapter-disabled", Request,
        "The tenant does not allow CoAP.",
        "Enable the adapter hono-coap for the tenant in the registry.";
    DeviceUnknown = "device-unknown", Request,
        "The device is not registered, or disabled; the registry does not tell which.",
        "Register or enable the device in the registry.";
    GatewayNotAllowed = "gateway-not-allowed", Request,
        "The gateway may not speak for the device, or is disabled.",
        "Add the gateway to the device's `via`, and enable both.";
    LimitExceeded = "limit-exceeded", Request,
        "The tenant's data volume is used up.",
        "Raise the tenant's resource limits, or wait for the next period.";
    CommandRouterFailed = "command-router", Request,
        "The command router did not take the registration of a device that waits for commands.",
        "Look at the command router and the connection to it.";
    BrokerUnreachable = "broker-unreachable", Request,
        "There is no connection to the AMQP network.",
        "Look at `/readiness` for which connection is down, and at the AMQP network itself.";
    LinkRefused = "link-refused", Request,
        "The AMQP network refused a link to the tenant's address.",
        "Look at the AMQP network for the address and for the adapter's rights.";
    LinkTimeout = "link-timeout", Request,
        "The AMQP network did not answer the adapter's wish for a link in time.",
        "Look at the AMQP network's load; raise `linkEstablishmentTimeout`.";
    NoConsumer = "no-consumer", Request,
        "No application takes messages of this kind from the tenant.",
        "Start the application that receives the tenant's telemetry or events, or let it grant more credit.";
    ConsumerSilent = "consumer-silent", Request,
        "The application did not say in time whether it has taken the message.",
        "Look at the application's load; raise `sendMessageTimeout`.";
    ConsumerRejected = "consumer-rejected", Request,
        "The application rejected the message.",
        "Look at the application's log: the message is not what it wants.";
    ConsumerReleased = "consumer-released", Request,
        "The application, or the AMQP network, gave the message back untouched.",
        "Look at the application: it may be ending, or have lost its link.";
    ConsumerModified = "consumer-modified", Request,
        "The application, or the AMQP network, could not deal with the message.",
        "Look at the application's log.";
    LinkLost = "link-lost", Request,
        "The AMQP link went away before anybody told what became of the message.",
        "Look at the AMQP network; the device should send again, and may then be heard twice.";
    MessageTooLarge = "message-too-large", Request,
        "The message is larger than the AMQP network takes.",
        "Raise the AMQP network's limit, or lower `maxPayloadSize` so that devices hear of it.";
    Unsettled = "unsettled", Request,
        "The AMQP network told no outcome of the message.",
        "Look at the AMQP network: it breaks the protocol.";
    Congested = "congested", Request,
        "The AMQP network takes the adapter's messages too slowly, or there are too many links.",
        "Look at the AMQP network's load; add replicas.";
    Overloaded = "overloaded", Request,
        "So many requests are in progress that there is no room for another, or the device, its tenant or its address prefix has its share of the room.",
        "Look for a slow registry or AMQP network, and at the gauges of tables; raise `hono.app.maxMemory`, or add replicas.";
    QueryNotSplit = "query-not-split", Request,
        "The device put several query arguments into one Uri-Query option, joined by `&`; such an option means nothing. The request is served as if it had no query.",
        "Let the device send each argument in a Uri-Query option of its own (RFC 7252 section 5.10.1); some modems and tools take the whole query as one.";
    Stopping = "stopping", Request,
        "The adapter is ending.",
        "Nothing: the device is served when it comes again.";
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

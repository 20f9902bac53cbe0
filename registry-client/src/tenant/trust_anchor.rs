//! The certificate authorities that a tenant trusts for its devices (spec: registry-apis A.3, coap-adapter §9).

use serde_json::Value;

use crate::base64;
use crate::members::Members;

/// A certificate authority, as far as it takes to check a device's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustAnchor {
    /// The authority's name in the form of RFC 2253.
    pub subject_dn: Option<String>,
    /// The authority's name as it stands in certificates (DER), to be preferred to the text.
    pub subject_dn_der: Option<Vec<u8>>,
    /// The authority's key (DER, `SubjectPublicKeyInfo`).
    pub public_key: Vec<u8>,
    /// The kind of key: `RSA` or `EC`.
    pub algorithm: String,
    /// How the auth-id is made of the subject of a device's certificate; without it, it is that subject.
    pub auth_id_template: Option<String>,
    /// Whether devices that are not known yet are registered when they show a certificate of this authority.
    pub auto_provisioning_enabled: bool,
    /// How to ask whether a certificate has been revoked; `None` = do not ask.
    pub ocsp: Option<Ocsp>,
}

/// How to ask an OCSP responder about a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ocsp {
    /// Where the responder is; without it the certificate says so.
    pub responder_uri: Option<String>,
    /// The certificate (DER) the responder signs with, if not the authority's.
    pub responder_certificate: Option<Vec<u8>>,
    /// Whether to send a nonce.
    pub nonce_enabled: bool,
}

impl TrustAnchor {
    /// The authority, unless it lacks a name or a key: such entries are skipped, not refused.
    pub(super) fn from_value(value: Value) -> Option<Self> {
        let mut members = Members::of(value)?;
        let subject_dn = members.text("subject-dn");
        let subject_dn_der = bytes(&members, "subject-dn-bytes");
        if subject_dn.is_none() && subject_dn_der.is_none() {
            return None;
        }
        let ocsp = members.flag("ocsp-revocation-enabled").unwrap_or(false);
        Some(Self {
            subject_dn,
            subject_dn_der,
            public_key: bytes(&members, "public-key")?,
            algorithm: members
                .text("algorithm")
                .unwrap_or_else(|| "RSA".to_owned()),
            auth_id_template: members.text("auth-id-template"),
            auto_provisioning_enabled: members.flag("auto-provisioning-enabled").unwrap_or(false),
            ocsp: ocsp.then(|| Ocsp {
                responder_uri: members.text("ocsp-responder-uri"),
                responder_certificate: bytes(&members, "ocsp-responder-cert"),
                nonce_enabled: members.flag("ocsp-nonce-enabled").unwrap_or(false),
            }),
        })
    }
}

fn bytes(members: &Members, name: &str) -> Option<Vec<u8>> {
    base64::decode(members.peek(name)?)
}

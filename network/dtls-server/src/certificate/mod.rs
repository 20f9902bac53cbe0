//! What is asked of a client's certificate beside that it has the key (spec: coap-adapter §9): may it be used for that, and is its
//! issuer one that the tenant trusts.

mod fields;
mod signature;

use std::time::SystemTime;

use dtls_proto::codec::Malformed;
use dtls_proto::crypto::SignatureError;
use thiserror::Error;

use self::fields::{Extensions, read};
pub use self::signature::Signed;
use crate::name::DistinguishedName;

/// A client's own certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// 1, 2 or 3.
    version: u8,
    serial: Vec<u8>,
    issuer: DistinguishedName,
    not_before: SystemTime,
    not_after: SystemTime,
    subject: DistinguishedName,
    public_key: Vec<u8>,
    extensions: Extensions,
}

/// An authority that may issue certificates of devices: a name and a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    /// What it is called.
    pub subject: AnchorName,
    /// Its `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    pub public_key: Vec<u8>,
}

/// The name of a trust anchor, as the registry gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorName {
    /// In DER.
    Der(Vec<u8>),
    /// As RFC 2253 writes it.
    Text(String),
}

/// Why a certificate is not accepted; for the log, the peer hears the same in all cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("not a certificate that can be read")]
    Malformed,
    /// It has a critical extension that nobody here knows.
    #[error("with a critical extension that is not known")]
    UnknownExtension,
    /// Its key usage forbids signing, or its extended key usage authenticating a client.
    #[error("not meant for authenticating a client")]
    UnsuitedUsage,
    /// It is not valid any more.
    #[error("expired")]
    Expired,
    /// It is not valid yet.
    #[error("not valid yet")]
    NotYetValid,
    /// None of the anchors has the name of its issuer.
    #[error("issued by nobody who is trusted")]
    UnknownIssuer,
    /// It is signed by an algorithm that is not supported.
    #[error("signed by an algorithm that is not supported")]
    UnsupportedSignature,
    /// An anchor has the name of its issuer, and a key of a kind that is not supported.
    #[error("issued by an authority whose key is of a kind that is not supported")]
    UnsupportedAnchorKey,
    /// An anchor has the name of its issuer but did not sign it.
    #[error("not signed by its issuer")]
    BadSignature,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] for bytes that are none.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        read(der).map_err(|_| CertificateError::Malformed)
    }

    /// Its version of X.509: 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Who vouches for it.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Whom it is for.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// When it stops being valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificate in DER.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it may authenticate a client: a key usage must include signing, an extended key usage the authentication of clients;
    /// each may be missing.
    ///
    /// # Errors
    /// [`CertificateError::UnsuitedUsage`] if it may not.
    pub fn check_usage(&self) -> Result<(), CertificateError> {
        let extensions = &self.extensions;
        let signs = extensions.signs.unwrap_or(true);
        if signs && (extensions.purposes.is_none() || self.is_for(CLIENT_AUTH)) {
            Ok(())
        } else {
            Err(CertificateError::UnsuitedUsage)
        }
    }

    /// Where the certificate says that a responder for OCSP is (RFC 5280 §4.2.2.1).
    pub fn ocsp_responder(&self) -> Option<&str> {
        self.extensions.ocsp.as_deref()
    }

    /// The content of the serial number.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The key in it, a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Whether it may be used for something with this object identifier (its content in DER), because it says so.
    pub fn is_for(&self, purpose: &[u8]) -> bool {
        let purposes = self.extensions.purposes.as_deref().unwrap_or_default();
        purposes.iter().any(|it| it == purpose)
    }

    /// Whether it is in its time.
    ///
    /// # Errors
    /// [`CertificateError::Expired`] or [`CertificateError::NotYetValid`] if it is not.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), CertificateError> {
        if now < self.not_before {
            Err(CertificateError::NotYetValid)
        } else if now > self.not_after {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether the holder of this key (`SubjectPublicKeyInfo` in DER) signed it.
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        self.verify(public_key).is_ok()
    }

    fn verify(&self, public_key: &[u8]) -> Result<(), CertificateError> {
        let signed = Signed::read(&self.der).map_err(|Malformed| CertificateError::Malformed)?;
        signed.verify(public_key).map_err(|error| match error {
            SignatureError::UnsupportedAlgorithm => CertificateError::UnsupportedSignature,
            SignatureError::UnsupportedKey => CertificateError::UnsupportedAnchorKey,
            SignatureError::Invalid => CertificateError::BadSignature,
        })
    }

    /// Which of the anchors issued it, directly: other certificates of the chain are not looked at. Checks usage and validity too.
    ///
    /// # Errors
    /// [`CertificateError`] of the anchor that came nearest.
    pub fn issued_by(
        &self,
        anchors: &[TrustAnchor],
        now: SystemTime,
    ) -> Result<usize, CertificateError> {
        self.check_usage()?;
        if self.extensions.unknown {
            return Err(CertificateError::UnknownExtension);
        }
        let mut error = CertificateError::UnknownIssuer;
        for (index, anchor) in anchors.iter().enumerate() {
            if !anchor.is_called(&self.issuer) {
                continue;
            }
            match self.verify(&anchor.public_key) {
                Ok(()) => return self.check_validity(now).map(|()| index),
                Err(found) if error != CertificateError::BadSignature => error = found,
                Err(_) => {}
            }
        }
        Err(error)
    }
}

impl TrustAnchor {
    fn is_called(&self, name: &DistinguishedName) -> bool {
        match &self.subject {
            AnchorName::Der(der) => {
                DistinguishedName::from_der(der).is_ok_and(|subject| subject.matches(name))
            }
            AnchorName::Text(text) => name.is_written(text),
        }
    }
}

/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

#[cfg(test)]
mod tests;

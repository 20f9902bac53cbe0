//! What is asked of a client's certificate beside that it has the key (spec: coap-adapter §9): may it be used for that, and is its
//! issuer one that the tenant trusts.

use std::time::{SystemTime, UNIX_EPOCH};

use dtls_proto::codec::{
    Malformed, Reader,
    der::{Tag, element, expect, optional},
};
use rustls_pki_types::{CertificateDer, TrustAnchor as WebpkiAnchor, UnixTime};
use thiserror::Error;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error as WebpkiError, KeyUsage};

use crate::name::DistinguishedName;

/// A client's own certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    suits_clients: bool,
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
    /// It is no X.509 certificate of version 3, or has a critical extension nobody here knows.
    #[error("not a certificate that can be read")]
    Malformed,
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
    /// An anchor has the name of its issuer but did not sign it.
    #[error("not signed by its issuer")]
    BadSignature,
    /// Something else that a path check minds.
    #[error("not acceptable")]
    Unacceptable,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] for bytes that are none.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        read(der).map_err(|_| CertificateError::Malformed)
    }

    /// Who vouches for it.
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Whom it is for.
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
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
        if self.suits_clients {
            Ok(())
        } else {
            Err(CertificateError::UnsuitedUsage)
        }
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
        let mut error = CertificateError::UnknownIssuer;
        for (index, anchor) in anchors.iter().enumerate() {
            if !anchor.is_called(&self.issuer) {
                continue;
            }
            match self.verify(anchor, now) {
                Ok(()) => return Ok(index),
                Err(found) => error = found,
            }
        }
        Err(error)
    }

    fn verify(&self, anchor: &TrustAnchor, now: SystemTime) -> Result<(), CertificateError> {
        let der = CertificateDer::from(self.der.as_slice());
        let certificate = EndEntityCert::try_from(&der).map_err(|error| reason(&error))?;
        let anchors = [WebpkiAnchor {
            // The name is known to match; the bytes may differ in the kind of string.
            subject: content(self.issuer.as_der())?.into(),
            subject_public_key_info: content(&anchor.public_key)?.into(),
            name_constraints: None,
        }];
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &anchors,
                &[],
                UnixTime::since_unix_epoch(since),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(|_| ())
            .map_err(|error| reason(&error))
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

/// What is inside of a SEQUENCE that is all there is.
fn content(der: &[u8]) -> Result<&[u8], CertificateError> {
    let mut reader = Reader::new(der);
    let content = expect(&mut reader, Tag::SEQUENCE).and_then(|content| {
        reader.end()?;
        Ok(content)
    });
    content.map_err(|_| CertificateError::Unacceptable)
}

/// The fields of a `TBSCertificate` that are asked for here (RFC 5280 §4.1).
fn read(der: &[u8]) -> Result<Certificate, Malformed> {
    let mut reader = Reader::new(der);
    let mut certificate = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
    reader.end()?;
    let mut tbs = Reader::new(expect(&mut certificate, Tag::SEQUENCE)?);
    optional(&mut tbs, Tag::context(0))?;
    expect(&mut tbs, Tag::INTEGER)?;
    expect(&mut tbs, Tag::SEQUENCE)?;
    let issuer = DistinguishedName::from_der(sequence(&mut tbs)?)?;
    expect(&mut tbs, Tag::SEQUENCE)?;
    let subject = DistinguishedName::from_der(sequence(&mut tbs)?)?;
    expect(&mut tbs, Tag::SEQUENCE)?;
    let mut suits_clients = true;
    while !tbs.is_empty() {
        let (tag, content) = element(&mut tbs)?;
        if tag == Tag::context(3) {
            suits_clients = extensions_suit(content)?;
        }
    }
    Ok(Certificate {
        der: der.to_vec(),
        issuer,
        subject,
        suits_clients,
    })
}

/// The next element, whole, which must be a SEQUENCE.
fn sequence<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let mut whole = *reader;
    let mut after = *reader;
    expect(&mut after, Tag::SEQUENCE)?;
    let mut behind = after;
    let length = whole
        .remaining()
        .len()
        .checked_sub(behind.remaining().len())
        .ok_or(Malformed)?;
    let taken = reader.bytes(length)?;
    *reader = after;
    Ok(taken)
}

/// Whether the extensions let the certificate authenticate a client.
fn extensions_suit(der: &[u8]) -> Result<bool, Malformed> {
    let mut list = Reader::new(der);
    let mut list = Reader::new(expect(&mut list, Tag::SEQUENCE)?);
    let mut suit = true;
    while !list.is_empty() {
        let mut extension = Reader::new(expect(&mut list, Tag::SEQUENCE)?);
        let kind = expect(&mut extension, Tag::OBJECT_IDENTIFIER)?;
        optional(&mut extension, Tag::BOOLEAN)?;
        let mut value = Reader::new(expect(&mut extension, Tag::OCTET_STRING)?);
        match kind {
            KEY_USAGE => {
                let bits = expect(&mut value, Tag::BIT_STRING)?;
                // The first byte tells how many bits are unused, the first bit is digitalSignature.
                suit &= bits.get(1).is_some_and(|bits| bits & 0x80 != 0);
            }
            EXTENDED_KEY_USAGE => {
                let mut purposes = Reader::new(expect(&mut value, Tag::SEQUENCE)?);
                let mut found = false;
                while !purposes.is_empty() {
                    found |= expect(&mut purposes, Tag::OBJECT_IDENTIFIER)? == CLIENT_AUTH;
                }
                suit &= found;
            }
            _ => {}
        }
    }
    Ok(suit)
}

fn reason(error: &WebpkiError) -> CertificateError {
    match error {
        WebpkiError::CertExpired { .. } => CertificateError::Expired,
        WebpkiError::CertNotValidYet { .. } => CertificateError::NotYetValid,
        WebpkiError::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        WebpkiError::UnknownIssuer => CertificateError::UnknownIssuer,
        WebpkiError::BadDer
        | WebpkiError::BadDerTime
        | WebpkiError::UnsupportedCertVersion
        | WebpkiError::UnsupportedCriticalExtension => CertificateError::Malformed,
        _ => CertificateError::Unacceptable,
    }
}

/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];

/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

#[cfg(test)]
mod tests;

//! What a side proves itself with: its certificates and the key that belongs to the first of them.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use crate::codec::der::{Tag, expect};
use crate::codec::{Malformed, Reader};
use crate::crypto::{Group, SigningKey};

/// A chain of certificates with its private key, on P-256 or P-384.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<Vec<u8>>,
    public_key: Vec<u8>,
    key: SigningKey,
}

/// Why certificates and key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no PEM section with a certificate, or one of them is broken.
    #[error("no certificate, or none that can be read")]
    NoCertificate,
    /// There is no PEM section with a private key, or it is broken.
    #[error("no private key, or none that can be read")]
    NoKey,
    /// The first certificate is no X.509 certificate of version 3.
    #[error("the first certificate is not of X.509 version 3")]
    BadCertificate,
    /// The key is for RSA, with which no suite here can sign.
    #[error("the key is for RSA; the suites with certificates need one on P-256 or P-384")]
    RsaKey,
    /// The key is for something else.
    #[error("the key is not on P-256 or P-384")]
    UnsupportedKey,
    /// The key is not the one in the first certificate.
    #[error("the key does not belong to the first certificate")]
    KeyMismatch,
}

impl Identity {
    /// Reads a chain, the own certificate first, and a key (PKCS#8 or SEC 1), both in PEM.
    ///
    /// # Errors
    /// [`IdentityError`] tells what must be mended.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .map(|certificate| certificate.map(|der| der.as_ref().to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::NoKey)?;
        Self::new(chain, &key)
    }

    fn new(chain: Vec<Vec<u8>>, key: &PrivateKeyDer<'_>) -> Result<Self, IdentityError> {
        let own = chain.first().ok_or(IdentityError::NoCertificate)?;
        let der = CertificateDer::from(own.as_slice());
        let certificate =
            EndEntityCert::try_from(&der).map_err(|_| IdentityError::BadCertificate)?;
        let private = match key {
            PrivateKeyDer::Pkcs1(_) => return Err(IdentityError::RsaKey),
            PrivateKeyDer::Sec1(key) => {
                sec1(key.secret_sec1_der()).map_err(|_| IdentityError::NoKey)?
            }
            PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der())?,
            _ => return Err(IdentityError::UnsupportedKey),
        };
        let spki = certificate.subject_public_key_info();
        let (group, public) = public_key(spki.as_ref()).map_err(|_| IdentityError::KeyMismatch)?;
        let key = SigningKey::new(group, &private, public).ok_or(IdentityError::KeyMismatch)?;
        let public_key = spki.as_ref().to_vec();
        Ok(Self {
            chain,
            public_key,
            key,
        })
    }

    /// The certificates in DER, the own first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// What is shown to who wants a bare key: the `SubjectPublicKeyInfo` of the first certificate (RFC 7250 §3).
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The key of the first certificate.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }
}

/// By their certificates; a key that belongs to the same one is the same.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for Identity {}

/// The number in an `ECPrivateKey` (RFC 5915 §3).
fn sec1(der: &[u8]) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let mut reader = Reader::new(der);
    let mut key = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
    expect(&mut key, Tag::INTEGER)?;
    Ok(Zeroizing::new(
        expect(&mut key, Tag::OCTET_STRING)?.to_vec(),
    ))
}

/// The number in a `PrivateKeyInfo` (RFC 5958 §2) of a key on a curve.
fn pkcs8(der: &[u8]) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let parts = || {
        let mut reader = Reader::new(der);
        let mut info = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
        expect(&mut info, Tag::INTEGER)?;
        let mut algorithm = Reader::new(expect(&mut info, Tag::SEQUENCE)?);
        let algorithm = expect(&mut algorithm, Tag::OBJECT_IDENTIFIER)?;
        Ok((algorithm, expect(&mut info, Tag::OCTET_STRING)?))
    };
    let no_key = |_: Malformed| IdentityError::NoKey;
    match parts().map_err(no_key)? {
        (EC_PUBLIC_KEY, key) => sec1(key).map_err(no_key),
        (RSA_ENCRYPTION, _) => Err(IdentityError::RsaKey),
        _ => Err(IdentityError::UnsupportedKey),
    }
}

/// Curve and point of a `SubjectPublicKeyInfo` (RFC 5480 §2).
fn public_key(der: &[u8]) -> Result<(Group, &[u8]), Malformed> {
    let mut reader = Reader::new(der);
    let mut info = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
    let mut algorithm = Reader::new(expect(&mut info, Tag::SEQUENCE)?);
    let kind = expect(&mut algorithm, Tag::OBJECT_IDENTIFIER)?;
    let group = match expect(&mut algorithm, Tag::OBJECT_IDENTIFIER)? {
        PRIME256V1 if kind == EC_PUBLIC_KEY => Group::Secp256r1,
        SECP384R1 if kind == EC_PUBLIC_KEY => Group::Secp384r1,
        _ => return Err(Malformed),
    };
    match expect(&mut info, Tag::BIT_STRING)?.split_first() {
        Some((0, point)) => Ok((group, point)),
        _ => Err(Malformed),
    }
}

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// 1.2.840.10045.3.1.7
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// 1.3.132.0.34
const SECP384R1: &[u8] = &[0x2b, 0x81, 4, 0, 34];

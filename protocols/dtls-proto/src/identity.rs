//! What a side proves itself with: its certificates and the key that belongs to the first of them.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::codec::certificate::certificate_public_key;
use crate::codec::der::{Tag, expect};
use crate::codec::{Malformed, Reader};
use crate::crypto::{Curve, PublicKeyInfo, SigningKey};

/// A chain of certificates with its private key, on P-256, P-384 or P-521.
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
    /// The first certificate is no X.509 certificate.
    #[error("the first certificate is not an X.509 certificate")]
    BadCertificate,
    /// The key is for RSA, with which no suite here can sign.
    #[error("the key is for RSA; the suites with certificates need one on P-256, P-384 or P-521")]
    RsaKey,
    /// The key is for something else.
    #[error("the key is not on P-256, P-384 or P-521")]
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
        let spki = certificate_public_key(own).map_err(|_| IdentityError::BadCertificate)?;
        let private = match key {
            PrivateKeyDer::Pkcs1(_) => return Err(IdentityError::RsaKey),
            PrivateKeyDer::Sec1(key) => {
                sec1(key.secret_sec1_der()).map_err(|_| IdentityError::NoKey)?
            }
            PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der())?,
            _ => return Err(IdentityError::UnsupportedKey),
        };
        let info = PublicKeyInfo::from_der(spki).map_err(|_| IdentityError::BadCertificate)?;
        let curve = Curve::from_algorithm(info.algorithm).ok_or_else(|| unsuited(&info))?;
        let key = SigningKey::new(curve, &private, info.key).ok_or(IdentityError::KeyMismatch)?;
        let public_key = spki.to_vec();
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

/// What is wrong with a certificate whose key is on no curve that is known, while the private key is on one.
fn unsuited(info: &PublicKeyInfo<'_>) -> IdentityError {
    let mut algorithm = Reader::new(info.algorithm);
    match expect(&mut algorithm, Tag::OBJECT_IDENTIFIER) {
        Ok(EC_PUBLIC_KEY) => IdentityError::UnsupportedKey,
        _ => IdentityError::KeyMismatch,
    }
}

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

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

//! Signatures: ours with the server's key, the peer's with the key in its certificate.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::ring as algorithms;
use webpki::{EndEntityCert, RawPublicKeyEntity};

use crate::codec::certificate::SignatureScheme;
use crate::crypto::Group;

/// A private key that signs by ECDSA; never printed.
pub struct SigningKey {
    group: Group,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// The key with this number on this curve; `None` if `public` isn't its point, or nobody signs on that curve.
    pub(crate) fn new(group: Group, private: &[u8], public: &[u8]) -> Option<Self> {
        let algorithm = match group {
            Group::Secp256r1 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Group::Secp384r1 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Group::X25519 => return None,
        };
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random)
                .ok()?;
        Some(Self { group, pair })
    }

    /// The curve it is on.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// How it signs.
    #[must_use]
    pub fn scheme(&self) -> SignatureScheme {
        match self.group {
            Group::Secp384r1 => SignatureScheme::ECDSA_SHA384,
            Group::Secp256r1 | Group::X25519 => SignatureScheme::ECDSA_SHA256,
        }
    }

    /// The signature over `message`; `None` if there is no randomness to be had.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message).ok()?;
        Some(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, ..)", self.group)
    }
}

/// Whether these are the bytes of a certificate (X.509 version 3) at all.
#[must_use]
pub fn is_certificate(certificate: &[u8]) -> bool {
    EndEntityCert::try_from(&CertificateDer::from(certificate)).is_ok()
}

/// Whether these are the bytes of a `SubjectPublicKeyInfo` that could check a signature.
#[must_use]
pub fn is_public_key(key: &[u8]) -> bool {
    RawPublicKeyEntity::try_from(&SubjectPublicKeyInfoDer::from(key)).is_ok()
}

/// Whether the owner of a bare key (`SubjectPublicKeyInfo` in DER) signed `message`.
#[must_use]
pub fn key_has_signed(
    key: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let der = SubjectPublicKeyInfoDer::from(key);
    let Ok(key) = RawPublicKeyEntity::try_from(&der) else {
        return false;
    };
    candidates(scheme)
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
}

/// Whether the owner of the certificate signed `message`. Whose certificate it is, and who vouches for it, is not asked here.
#[must_use]
pub fn has_signed(
    certificate: &[u8],
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let der = CertificateDer::from(certificate);
    let Ok(certificate) = EndEntityCert::try_from(&der) else {
        return false;
    };
    candidates(scheme).iter().any(|algorithm| {
        certificate
            .verify_signature(*algorithm, message, signature)
            .is_ok()
    })
}

/// The ways of checking a signature that go with a scheme: in TLS 1.2 the curve is the key's affair.
fn candidates(scheme: SignatureScheme) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    match scheme {
        SignatureScheme::ECDSA_SHA256 => {
            vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256]
        }
        SignatureScheme::ECDSA_SHA384 => {
            vec![algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P256_SHA384]
        }
        SignatureScheme::ED25519 => vec![algorithms::ED25519],
        _ => Vec::new(),
    }
}

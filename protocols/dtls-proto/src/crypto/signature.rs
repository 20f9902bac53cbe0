//! Verification of signatures with the public keys of certificates.

use rustls_pki_types::{SignatureVerificationAlgorithm, alg_id};
use thiserror::Error;

use super::ecdsa::{Curve, PORTABLE_ALGORITHMS};
use crate::codec::certificate::SignatureScheme;
use crate::codec::der::{Tag, expect};
use crate::codec::{Malformed, Reader};

/// A `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), split in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKeyInfo<'a> {
    /// The content of the `AlgorithmIdentifier`.
    pub algorithm: &'a [u8],
    /// The key itself: for curves a point.
    pub key: &'a [u8],
}

/// Why a signature is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The public key cannot be read, or nothing here verifies signatures of such keys.
    #[error("the public key is of a kind that is not supported")]
    UnsupportedKey,
    /// Nothing here verifies such signatures.
    #[error("the signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// The owner of the key did not make this signature over this message.
    #[error("the signature is wrong")]
    Invalid,
}

impl<'a> PublicKeyInfo<'a> {
    /// Reads one in DER.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are none.
    pub fn from_der(der: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(der);
        let mut info = Reader::new(expect(&mut reader, Tag::SEQUENCE)?);
        reader.end()?;
        let algorithm = expect(&mut info, Tag::SEQUENCE)?;
        let bits = expect(&mut info, Tag::BIT_STRING)?;
        info.end()?;
        let key = bits.strip_prefix(&[0]).ok_or(Malformed)?;
        Ok(Self { algorithm, key })
    }

    /// Whether a client can prove itself with such a key: one on a curve of [`Curve`], or Ed25519.
    #[must_use]
    pub fn signs_handshakes(&self) -> bool {
        Curve::from_algorithm(self.algorithm).is_some()
            || self.algorithm == alg_id::ED25519.as_ref()
    }

    /// Checks that the owner of the key made `signature` over `message`. `algorithm` is the content of the `AlgorithmIdentifier`
    /// of the signature.
    ///
    /// # Errors
    /// [`SignatureError`] if not, or if nobody here can say.
    pub fn verify(
        &self,
        algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let mut error = SignatureError::UnsupportedAlgorithm;
        for candidate in algorithms() {
            if candidate.signature_alg_id().as_ref() != algorithm {
                continue;
            }
            if candidate.public_key_alg_id().as_ref() != self.algorithm {
                // The algorithm is known, and the key may still be one that it does not go with.
                if error == SignatureError::UnsupportedAlgorithm {
                    error = self.misfit();
                }
                continue;
            }
            match candidate.verify_signature(self.key, message, signature) {
                Ok(()) => return Ok(()),
                Err(_) => error = SignatureError::Invalid,
            }
        }
        Err(error)
    }

    /// As [`PublicKeyInfo::verify`], for a signature of a handshake.
    ///
    /// # Errors
    /// [`SignatureError`] if not, or if nobody here can say.
    pub fn verify_scheme(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let algorithm = match scheme {
            SignatureScheme::ECDSA_SHA256 => alg_id::ECDSA_SHA256,
            SignatureScheme::ECDSA_SHA384 => alg_id::ECDSA_SHA384,
            SignatureScheme::ECDSA_SHA512 => alg_id::ECDSA_SHA512,
            SignatureScheme::ED25519 => alg_id::ED25519,
            _ => return Err(SignatureError::UnsupportedAlgorithm),
        };
        self.verify(algorithm.as_ref(), message, signature)
    }

    /// What is wrong with a signature by an algorithm that does not go with this kind of key.
    fn misfit(&self) -> SignatureError {
        if algorithms().any(|known| known.public_key_alg_id().as_ref() == self.algorithm) {
            SignatureError::Invalid
        } else {
            SignatureError::UnsupportedKey
        }
    }
}

/// Every way of verifying a signature: with RSA (PKCS#1 and PSS, 2048 bits at least), Ed25519, and ECDSA with each hash on each
/// curve.
fn algorithms() -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
    let of_ring = webpki::ALL_VERIFICATION_ALGS.iter().copied();
    of_ring.chain(PORTABLE_ALGORITHMS)
}

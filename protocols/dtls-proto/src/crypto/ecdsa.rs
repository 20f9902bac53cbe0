//! ECDSA with each hash on each curve: TLS 1.2 pairs a signature with a hash, not with a curve (RFC 5246 §7.4.1.4.1).
//!
//! `ring` signs with the hash of a curve's own size and verifies SHA-256 and SHA-384 on P-256 and P-384. RustCrypto computes the
//! other combinations (ADR-0003).

use std::fmt;

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use ring::digest::{self, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use zeroize::Zeroizing;

use crate::codec::certificate::SignatureScheme;

/// A curve of ECDSA keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256, also called secp256r1 and prime256v1.
    P256,
    /// P-384, also called secp384r1.
    P384,
    /// P-521, also called secp521r1.
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The number in IANA's registry of supported groups.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::P256 => 23,
            Self::P384 => 24,
            Self::P521 => 25,
        }
    }

    /// The curve of a key with this `AlgorithmIdentifier` (content in DER).
    #[must_use]
    pub fn from_algorithm(algorithm: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.algorithm().as_ref() == algorithm)
    }

    /// The `AlgorithmIdentifier` of keys on this curve.
    fn algorithm(self) -> AlgorithmIdentifier {
        match self {
            Self::P256 => alg_id::ECDSA_P256,
            Self::P384 => alg_id::ECDSA_P384,
            Self::P521 => alg_id::ECDSA_P521,
        }
    }

    /// Number of bytes of a private key, and of each coordinate of a point.
    fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The hash of the curve's own size.
    fn native_hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }
}

/// A hash that messages are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const fn from_scheme(scheme: SignatureScheme) -> Option<Self> {
        Some(match scheme {
            SignatureScheme::ECDSA_SHA256 => Self::Sha256,
            SignatureScheme::ECDSA_SHA384 => Self::Sha384,
            SignatureScheme::ECDSA_SHA512 => Self::Sha512,
            _ => return None,
        })
    }

    const fn scheme(self) -> SignatureScheme {
        match self {
            Self::Sha256 => SignatureScheme::ECDSA_SHA256,
            Self::Sha384 => SignatureScheme::ECDSA_SHA384,
            Self::Sha512 => SignatureScheme::ECDSA_SHA512,
        }
    }

    fn digest(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest(algorithm, message)
    }
}

/// A private key for ECDSA; never printed, wiped when dropped.
pub struct SigningKey {
    curve: Curve,
    /// Signs with the hash of the curve's own size; `None` on P-521, which `ring` does not have.
    native: Option<EcdsaKeyPair>,
    /// Signs with the other hashes.
    portable: PortableKey,
}

enum PortableKey {
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
}

impl SigningKey {
    /// The key with this number on this curve; `None` if `public` is not its point.
    pub(crate) fn new(curve: Curve, private: &[u8], public: &[u8]) -> Option<Self> {
        // RFC 5915 wants leading zeros; some tools leave them out.
        let mut padded = Zeroizing::new(vec![0; curve.length().checked_sub(private.len())?]);
        padded.extend_from_slice(private);
        let native = match curve {
            Curve::P256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Curve::P384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Curve::P521 => None,
        };
        let native = match native {
            Some(algorithm) => Some(
                EcdsaKeyPair::from_private_key_and_public_key(
                    algorithm,
                    &padded,
                    public,
                    &SystemRandom::new(),
                )
                .ok()?,
            ),
            None => None,
        };
        let portable = PortableKey::new(curve, &padded)?;
        portable.has_point(public).then_some(Self {
            curve,
            native,
            portable,
        })
    }

    /// The curve the key is on.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The scheme with the hash of the curve's own size, which is the fastest.
    #[must_use]
    pub fn native_scheme(&self) -> SignatureScheme {
        self.curve.native_hash().scheme()
    }

    /// The scheme to sign with for a peer that accepts these (two bytes each): the native one if it is among them, else the first
    /// one of the peer that is ECDSA with a hash of SHA-2. `None` if there is none.
    #[must_use]
    pub fn scheme_for(&self, accepted: &[[u8; 2]]) -> Option<SignatureScheme> {
        let native = self.native_scheme();
        let mut first = None;
        for code in accepted {
            let scheme = SignatureScheme(u16::from_be_bytes(*code));
            if scheme == native {
                return Some(native);
            }
            if first.is_none() && Hash::from_scheme(scheme).is_some() {
                first = Some(scheme);
            }
        }
        first
    }

    /// The signature over `message` by this scheme, in DER; `None` if the scheme is not ECDSA, or the system has no randomness.
    #[must_use]
    pub fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        match &self.native {
            Some(native) if scheme == self.native_scheme() => {
                let signature = native.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            _ => {
                let digest = Hash::from_scheme(scheme)?.digest(message);
                self.portable.sign(digest.as_ref())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, ..)", self.curve)
    }
}

impl PortableKey {
    fn new(curve: Curve, private: &[u8]) -> Option<Self> {
        Some(match curve {
            Curve::P256 => Self::P256(Box::new(p256::ecdsa::SigningKey::from_slice(private).ok()?)),
            Curve::P384 => Self::P384(Box::new(p384::ecdsa::SigningKey::from_slice(private).ok()?)),
            Curve::P521 => Self::P521(Box::new(p521::ecdsa::SigningKey::from_slice(private).ok()?)),
        })
    }

    /// Whether this is its public key, uncompressed.
    fn has_point(&self, public: &[u8]) -> bool {
        match self {
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes() == public,
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes() == public,
            Self::P521(key) => key.verifying_key().to_sec1_point(false).as_bytes() == public,
        }
    }

    /// The signature over a message with this digest, with the nonce of RFC 6979.
    fn sign(&self, digest: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(digest).ok()?;
                signature.to_der().as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(digest).ok()?;
                signature.to_der().as_bytes().to_vec()
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign_prehash(digest).ok()?;
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

/// The combinations that `ring` cannot verify.
pub(super) static PORTABLE_ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 5] = [
    &Portable(Curve::P256, Hash::Sha512),
    &Portable(Curve::P384, Hash::Sha512),
    &Portable(Curve::P521, Hash::Sha256),
    &Portable(Curve::P521, Hash::Sha384),
    &Portable(Curve::P521, Hash::Sha512),
];

/// Verifies signatures by RustCrypto.
#[derive(Debug)]
struct Portable(Curve, Hash);

impl SignatureVerificationAlgorithm for Portable {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.algorithm()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.1 {
            Hash::Sha256 => alg_id::ECDSA_SHA256,
            Hash::Sha384 => alg_id::ECDSA_SHA384,
            Hash::Sha512 => alg_id::ECDSA_SHA512,
        }
    }

    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        // Uncompressed points only, as with `ring`.
        if public_key.first() != Some(&4) {
            return Err(InvalidSignature);
        }
        let digest = self.1.digest(message);
        let digest = digest.as_ref();
        let verified = match self.0 {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(public_key).and_then(|key| {
                key.verify_prehash(digest, &p256::ecdsa::Signature::from_der(signature)?)
            }),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(public_key).and_then(|key| {
                key.verify_prehash(digest, &p384::ecdsa::Signature::from_der(signature)?)
            }),
            Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(public_key).and_then(|key| {
                key.verify_prehash(digest, &p521::ecdsa::Signature::from_der(signature)?)
            }),
        };
        verified.map_err(|_| InvalidSignature)
    }
}

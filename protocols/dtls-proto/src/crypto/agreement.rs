//! Ephemeral Diffie-Hellman over elliptic curves (RFC 8422 §5.10); the curves themselves are `ring`'s.

use std::fmt;

use ring::agreement::{self, EphemeralPrivateKey, PublicKey, UnparsedPublicKey};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

/// A curve both sides may agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Group {
    /// Curve25519 (RFC 7748).
    X25519,
    /// P-256, mandatory for CoAP with certificates (RFC 7252 §9.1.3.2).
    Secp256r1,
    /// P-384.
    Secp384r1,
}

impl Group {
    /// Every curve, the favourite of a client first.
    pub const ALL: [Self; 3] = [Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// The curve with this code, if this crate can use it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.code() == code)
    }

    /// The number in IANA's registry of supported groups.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::X25519 => 29,
            Self::Secp256r1 => 23,
            Self::Secp384r1 => 24,
        }
    }

    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::Secp256r1 => &agreement::ECDH_P256,
            Self::Secp384r1 => &agreement::ECDH_P384,
        }
    }
}

/// Our half of an agreement, good for one handshake.
pub struct EphemeralKey {
    group: Group,
    private: EphemeralPrivateKey,
    public: PublicKey,
}

impl EphemeralKey {
    /// A new key from the system's randomness; `None` if it has none to give.
    #[must_use]
    pub fn generate(group: Group) -> Option<Self> {
        let private =
            EphemeralPrivateKey::generate(group.algorithm(), &SystemRandom::new()).ok()?;
        let public = private.compute_public_key().ok()?;
        Some(Self {
            group,
            private,
            public,
        })
    }

    /// Which curve it is on.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// What the peer must be sent: a point, uncompressed, or the 32 bytes of X25519.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.public.as_ref()
    }

    /// The secret in common with the owner of `peer`; `None` if that is no point of the curve, or one that gives the secret away.
    #[must_use]
    pub fn agree(self, peer: &[u8]) -> Option<SharedSecret> {
        let peer = UnparsedPublicKey::new(self.group.algorithm(), peer);
        agreement::agree_ephemeral(self.private, &peer, |secret| {
            SharedSecret(Zeroizing::new(secret.to_vec()))
        })
        .ok()
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EphemeralKey({:?}, ..)", self.group)
    }
}

/// What both sides of an agreement have in common; wiped when dropped, never printed.
pub struct SharedSecret(pub(crate) Zeroizing<Vec<u8>>);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_every_curve() {
        for group in Group::ALL {
            let (a, b) = (
                EphemeralKey::generate(group).unwrap(),
                EphemeralKey::generate(group).unwrap(),
            );
            let (a_public, b_public) = (a.public().to_vec(), b.public().to_vec());
            assert_eq!(
                a.agree(&b_public).unwrap().0,
                b.agree(&a_public).unwrap().0,
                "{group:?}"
            );
        }
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for group in Group::ALL {
            for peer in [&[][..], &[4], &[0; 32], &[4; 65], &[2; 33], &[4; 97]] {
                // Any 32 bytes but those of small order are a point of Curve25519.
                let key = EphemeralKey::generate(group).unwrap();
                assert!(key.agree(peer).is_none(), "{group:?} {peer:?}");
            }
        }
    }
}

//! What the master secret is made from, by key exchange.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{Psk, SharedSecret};

/// The premaster secret; wiped when dropped, never printed.
pub struct PremasterSecret(Zeroizing<Vec<u8>>);

impl PremasterSecret {
    /// Of the plain PSK key exchange (RFC 4279 §2): as many zeros as the key has bytes, then the key.
    #[must_use]
    pub fn psk(key: &Psk) -> Self {
        Self::of(&Zeroizing::new(vec![0; key.bytes().len()]), key)
    }

    /// Of a PSK key exchange with ephemeral Diffie-Hellman (RFC 5489 §2): the secret agreed on, then the key.
    #[must_use]
    pub fn ecdhe_psk(shared: &SharedSecret, key: &Psk) -> Self {
        Self::of(&shared.0, key)
    }

    /// Of ephemeral Diffie-Hellman alone (RFC 8422 §5.10).
    #[must_use]
    pub fn ecdhe(shared: SharedSecret) -> Self {
        Self(shared.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Both parts, each behind its length.
    fn of(other: &[u8], key: &Psk) -> Self {
        // Room for all of it, so that no copy stays behind in memory given back.
        let room = other.len().saturating_add(key.bytes().len());
        let mut secret = Zeroizing::new(Vec::with_capacity(room.saturating_add(4)));
        for part in [other, key.bytes()] {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            secret.extend_from_slice(&length.to_be_bytes());
            secret.extend_from_slice(part);
        }
        Self(secret)
    }
}

impl fmt::Debug for PremasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PremasterSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_stands_behind_as_many_zeros() {
        let secret = PremasterSecret::psk(&Psk::from(b"abc".as_slice()));
        assert_eq!(secret.bytes(), b"\0\x03\0\0\0\0\x03abc");
    }

    #[test]
    fn an_agreed_secret_stands_before_the_key() {
        let shared = SharedSecret(Zeroizing::new(b"shared".to_vec()));
        let secret = PremasterSecret::ecdhe_psk(&shared, &Psk::from(b"abc".as_slice()));
        assert_eq!(secret.bytes(), b"\0\x06shared\0\x03abc");
    }
}

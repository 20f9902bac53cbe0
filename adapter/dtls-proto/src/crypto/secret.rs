//! Pre-shared keys as they come from outside.

use std::fmt;

use zeroize::Zeroizing;

/// A pre-shared key; wiped when dropped, never printed.
#[derive(Clone)]
pub struct Psk(Zeroizing<Vec<u8>>);

impl Psk {
    /// Takes the key's bytes. A server treats a key that is empty or longer than 65,535 bytes as no key at all.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether the protocol can express the key, and whether it is a secret at all.
    pub(crate) fn is_usable(&self) -> bool {
        !self.0.is_empty() && u16::try_from(self.0.len()).is_ok()
    }

    /// The premaster secret of the plain PSK key exchange (RFC 4279 §2): as many zeros as the key has bytes, then the key, each
    /// behind its length.
    pub(crate) fn premaster_secret(&self) -> Zeroizing<Vec<u8>> {
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        // Room for all of it, so that no copy stays behind in memory given back.
        let room = self.0.len().saturating_mul(2).saturating_add(4);
        let mut secret = Zeroizing::new(Vec::with_capacity(room));
        secret.extend_from_slice(&length.to_be_bytes());
        secret.resize(self.0.len().saturating_add(2), 0);
        secret.extend_from_slice(&length.to_be_bytes());
        secret.extend_from_slice(&self.0);
        secret
    }
}

impl From<&[u8]> for Psk {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

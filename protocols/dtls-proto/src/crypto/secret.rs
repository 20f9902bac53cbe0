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

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
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

//! A word nobody may read in a log.

use zeroize::Zeroizing;

/// A password. It is wiped from memory in the end, and shows in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a word into custody.
    #[must_use]
    pub fn new(word: impl Into<String>) -> Self {
        Self(Zeroizing::new(word.into()))
    }

    /// The secret itself, to be sent to the peer.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

//! Keys, which are wiped when no longer needed and never printed.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

/// A pre-shared key.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    /// The key's bytes, never none.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The key, unless the text is not of the standard alphabet with padding, or stands for nothing.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        // Decoding writes into memory of the right size, so no copy is left behind.
        let mut bytes = Zeroizing::new(vec![0; text.len() / 4 * 3 + 3]);
        let length = BASE64_STANDARD.decode_slice(text, &mut bytes).ok()?;
        bytes.truncate(length);
        (length > 0).then_some(Self(bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(..)")
    }
}

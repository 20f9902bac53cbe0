//! The running hash over a handshake's messages (RFC 5246 §7.4.9, RFC 6347 §4.2.6).

use std::fmt;

use ring::digest::{Context, SHA256};

/// The hash over all messages so far, each as if sent in one fragment; the first ClientHello and the HelloVerifyRequest stay out.
#[derive(Clone)]
pub struct Transcript(Context);

impl Transcript {
    /// Over nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes in a whole message with its header, as [`crate::codec::handshake::message`] makes it.
    pub fn add(&mut self, message: &[u8]) {
        self.0.update(message);
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let digest = self.0.clone().finish();
        let mut hash = [0; 32];
        for (byte, source) in hash.iter_mut().zip(digest.as_ref()) {
            *byte = *source;
        }
        hash
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(..)")
    }
}

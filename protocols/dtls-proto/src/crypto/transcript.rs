//! The running hash over a handshake's messages (RFC 5246 §7.4.9, RFC 6347 §4.2.6).

use std::fmt;

use ring::digest::Context;

use crate::crypto::{HashAlgorithm, TranscriptHash};

/// The hash over all messages so far, each as if sent in one fragment; the first ClientHello and the HelloVerifyRequest stay out.
#[derive(Clone)]
pub struct Transcript {
    context: Context,
    /// The messages themselves, where one of them will be signed: a signature has a hash of its own.
    messages: Option<Vec<u8>>,
}

impl Transcript {
    /// Over nothing yet; keeps the hash only.
    #[must_use]
    pub fn new(hash: HashAlgorithm) -> Self {
        Self {
            context: Context::new(hash.digest()),
            messages: None,
        }
    }

    /// Over nothing yet; keeps the messages too, until [`Transcript::forget_messages`].
    #[must_use]
    pub fn with_messages(hash: HashAlgorithm) -> Self {
        Self {
            messages: Some(Vec::new()),
            ..Self::new(hash)
        }
    }

    /// Takes in a whole message with its header, as [`crate::codec::handshake::message`] makes it.
    pub fn add(&mut self, message: &[u8]) {
        self.context.update(message);
        if let Some(messages) = &mut self.messages {
            messages.extend_from_slice(message);
        }
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> TranscriptHash {
        TranscriptHash::new(self.context.clone().finish())
    }

    /// All messages so far, as CertificateVerify signs them (RFC 5246 §7.4.8); none if they are not kept.
    #[must_use]
    pub fn messages(&self) -> &[u8] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// Nothing will be signed any more.
    pub fn forget_messages(&mut self) {
        self.messages = None;
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript(..)")
    }
}

//! The hash functions of the suites.

use std::fmt;

use ring::{digest, hmac};

/// What a suite hashes its transcript and derives its keys with (RFC 5246 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// What every suite of TLS 1.2 uses if it does not say otherwise.
    Sha256,
    /// What the suites with AES-256 in Galois/counter mode use.
    Sha384,
}

impl HashAlgorithm {
    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
        }
    }

    pub(crate) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        }
    }
}

/// The hash over a handshake's messages so far, as long as its algorithm makes it.
#[derive(Clone, Copy)]
pub struct TranscriptHash(digest::Digest);

impl TranscriptHash {
    pub(crate) fn new(digest: digest::Digest) -> Self {
        Self(digest)
    }
}

impl AsRef<[u8]> for TranscriptHash {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl fmt::Debug for TranscriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TranscriptHash(..)")
    }
}

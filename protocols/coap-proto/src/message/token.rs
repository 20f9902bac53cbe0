//! Message id and token (RFC 7252 §3), the two names by which messages find each other.

use std::fmt;

/// Tells the messages of one sender apart for the time of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u16);

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

/// What the client chose to recognise the response by: 0 to 8 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Token {
    length: u8,
    bytes: [u8; Self::MAX_LENGTH],
}

impl Token {
    /// RFC 7252 §3: lengths 9 to 15 are reserved.
    pub const MAX_LENGTH: usize = 8;

    /// `None` if longer than [`Self::MAX_LENGTH`].
    #[must_use]
    pub fn new(value: &[u8]) -> Option<Self> {
        let mut token = Self {
            length: u8::try_from(value.len()).ok()?,
            ..Self::default()
        };
        token.bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(token)
    }

    /// The bytes as the client sent them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    pub(crate) const fn length(self) -> u8 {
        self.length
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

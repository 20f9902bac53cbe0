//! Connection ids (RFC 9146): what tells an association from others when the address no longer does.

use std::fmt;

/// An id of up to 20 bytes; the empty one means that records carry none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    length: u8,
    bytes: [u8; Self::MAX_LENGTH],
}

impl ConnectionId {
    /// No id.
    pub const EMPTY: Self = Self {
        length: 0,
        bytes: [0; Self::MAX_LENGTH],
    };

    /// The longest id that is used here, in bytes; RFC 9146 §3 would allow 255.
    pub const MAX_LENGTH: usize = 20;

    /// An id of these bytes; `None` if there are too many.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self {
            length: u8::try_from(id.len()).ok()?,
            bytes,
        })
    }

    /// Whether records carry none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes it has, as it stands on the wire.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }
}

impl AsRef<[u8]> for ConnectionId {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionId(")?;
        for byte in self.as_ref() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

//! Bytes to values and back: records, handshake messages, alerts. Decides nothing, keeps nothing.
//!
//! Everything that decodes takes a [`Reader`] or a slice and answers [`Malformed`] for whatever doesn't fit. Everything that
//! encodes appends to a `Vec<u8>`. Codes (content types, handshake types, extensions, alerts) are newtypes round the number on
//! the wire, not enums: unknown numbers must pass through.

pub mod alert;
pub mod certificate;
pub mod connection_id;
pub mod der;
pub mod extension;
pub mod handshake;
pub mod hello;
pub mod key_exchange;
pub mod path;
pub mod record;
pub mod ticket;

use thiserror::Error;

/// The bytes are not what the standard says must stand here: too few, too many, or a length that lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed")]
pub struct Malformed;

/// A protocol version as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolVersion(pub u16);

impl ProtocolVersion {
    /// DTLS 1.0; today only the outer form of the first flights (RFC 6347 §4.2.1).
    pub const DTLS_1_0: Self = Self(0xfeff);
    /// DTLS 1.2, the version this crate speaks.
    pub const DTLS_1_2: Self = Self(0xfefd);

    /// Whether a peer that offers this version as its highest can speak DTLS 1.2 (higher versions have lower numbers).
    #[must_use]
    pub fn allows_1_2(self) -> bool {
        self.0 >> 8 == 0xfe && self.0 <= Self::DTLS_1_2.0
    }
}

/// A cursor over bytes of a peer.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub fn remaining(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Malformed`] if none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, the most significant first.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, the most significant first.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u24(&mut self) -> Result<u32, Malformed> {
        self.array::<3>()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Six bytes, the most significant first.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn u48(&mut self) -> Result<u64, Malformed> {
        self.array::<6>()
            .map(|[a, b, c, d, e, f]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// A vector with a length of one byte (RFC 5246 §4.3).
    ///
    /// # Errors
    /// [`Malformed`] if the length says more than is left.
    pub fn vector8(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    /// A vector with a length of two bytes (RFC 5246 §4.3).
    ///
    /// # Errors
    /// [`Malformed`] if the length says more than is left.
    pub fn vector16(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// A vector with a length of three bytes (RFC 5246 §4.3).
    ///
    /// # Errors
    /// [`Malformed`] if the length says more than is left.
    pub fn vector24(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u24()?).map_err(|_| Malformed)?;
        self.bytes(length)
    }

    /// Demands that all was read.
    ///
    /// # Errors
    /// [`Malformed`] if something is left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Appends the low three bytes of `value`.
pub fn put_u24(out: &mut Vec<u8>, value: u32) {
    let [_, a, b, c] = value.to_be_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// Appends the low six bytes of `value`.
pub fn put_u48(out: &mut Vec<u8>, value: u64) {
    let [_, _, rest @ ..] = value.to_be_bytes();
    out.extend_from_slice(&rest);
}

/// Appends `content` behind a length of one byte; what is past 255 bytes is cut off.
pub fn put_vector8(out: &mut Vec<u8>, content: &[u8]) {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(content.iter().take(usize::from(length)));
}

/// Appends `content` behind a length of two bytes; what is past 65,535 bytes is cut off.
pub fn put_vector16(out: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(content.iter().take(usize::from(length)));
}

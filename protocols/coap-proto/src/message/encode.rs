//! From a message to bytes (RFC 7252 §3).

use std::borrow::Cow;

use super::decode::{EXTENDED_BY_BYTE, EXTENDED_BY_TWO};
use super::{Message, Options, PAYLOAD_MARKER, VERSION};

/// The message cannot be written in the format; the caller put too much into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Option values end at 65804 bytes (RFC 7252 §3.1).
    #[error("value of option {0} is too long")]
    OptionTooLong(u16),
}

impl Message {
    /// Writes one datagram. Options may have been added in any order; those of one number keep theirs.
    ///
    /// # Errors
    /// If an option value is longer than the format can tell.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut datagram = Vec::with_capacity(self.payload.len().saturating_add(SMALL_HEADER));
        datagram.push((VERSION << 6) | (self.kind.bits() << 4) | self.token.length());
        datagram.push(self.code.to_byte());
        datagram.extend_from_slice(&self.id.0.to_be_bytes());
        datagram.extend_from_slice(self.token.as_bytes());
        let mut last = 0;
        for (number, value) in sorted(&self.options).iter() {
            option(&mut datagram, number.saturating_sub(last), number, value)?;
            last = number;
        }
        if !self.payload.is_empty() {
            datagram.push(PAYLOAD_MARKER);
            datagram.extend_from_slice(&self.payload);
        }
        Ok(datagram)
    }
}

/// Bytes that a message with these options takes beside its payload and the marker before it.
pub(crate) fn overhead(token: usize, options: &Options) -> usize {
    let mut length = FIXED_HEADER.saturating_add(token);
    let mut last = 0;
    for (number, value) in sorted(options).iter() {
        let delta = extension(number.saturating_sub(last).into());
        let option = delta
            .saturating_add(extension(value.len()))
            .saturating_add(1);
        length = length.saturating_add(option).saturating_add(value.len());
        last = number;
    }
    length
}

/// Bytes of an option's delta or length behind its nibble.
const fn extension(value: usize) -> usize {
    if value >= EXTENDED_BY_TWO {
        2
    } else if value >= EXTENDED_BY_BYTE {
        1
    } else {
        0
    }
}

fn sorted(options: &Options) -> Cow<'_, Options> {
    if options.is_sorted() {
        return Cow::Borrowed(options);
    }
    let mut occurrences: Vec<_> = options.iter().collect();
    occurrences.sort_by_key(|(number, _)| *number);
    Cow::Owned(occurrences.into_iter().collect())
}

fn option(
    datagram: &mut Vec<u8>,
    delta: u16,
    number: u16,
    value: &[u8],
) -> Result<(), EncodeError> {
    let delta = Extended::new(usize::from(delta)).ok_or(EncodeError::OptionTooLong(number))?;
    let length = Extended::new(value.len()).ok_or(EncodeError::OptionTooLong(number))?;
    datagram.push((delta.nibble() << 4) | length.nibble());
    delta.write(datagram);
    length.write(datagram);
    datagram.extend_from_slice(value);
    Ok(())
}

/// An option's delta or length as nibble and further bytes (RFC 7252 §3.1).
enum Extended {
    Nibble(u8),
    Byte(u8),
    Two(u16),
}

impl Extended {
    fn new(value: usize) -> Option<Self> {
        if let Some(two) = value.checked_sub(EXTENDED_BY_TWO) {
            return u16::try_from(two).ok().map(Self::Two);
        }
        match value.checked_sub(EXTENDED_BY_BYTE) {
            Some(byte) => u8::try_from(byte).ok().map(Self::Byte),
            None => u8::try_from(value).ok().map(Self::Nibble),
        }
    }

    const fn nibble(&self) -> u8 {
        match self {
            Self::Nibble(nibble) => *nibble,
            Self::Byte(_) => 13,
            Self::Two(_) => 14,
        }
    }

    fn write(&self, datagram: &mut Vec<u8>) {
        match self {
            Self::Nibble(_) => {}
            Self::Byte(byte) => datagram.push(*byte),
            Self::Two(two) => datagram.extend_from_slice(&two.to_be_bytes()),
        }
    }
}

/// Version, type, token length, code and message id.
const FIXED_HEADER: usize = 4;

/// Room for header, token and a few short options, so that most messages take one allocation.
const SMALL_HEADER: usize = 32;

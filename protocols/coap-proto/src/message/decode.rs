//! From bytes to a message, refusing every message format error (RFC 7252 §3, §4.1).

use super::{Code, Message, MessageId, Options, PAYLOAD_MARKER, Token, Type, VERSION};

/// The four bytes every message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it asks of the message layer.
    pub kind: Type,
    /// Method, response code, or empty.
    pub code: Code,
    /// The sender's name for the message.
    pub id: MessageId,
}

/// Why bytes are no CoAP message, and what could be read all the same, to reset it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct DecodeError {
    /// Absent if there are fewer than four bytes or the version is not 1.
    pub header: Option<Header>,
    /// The first fault found.
    #[source]
    pub error: FormatError,
}

/// A message format error (RFC 7252 §3); the sender's fault, or damage on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer than the four bytes of the header.
    #[error("shorter than a header")]
    TooShort,
    /// To be ignored without an answer (§3).
    #[error("version is not 1")]
    UnknownVersion,
    /// 9 to 15 are reserved (§3).
    #[error("token length is above 8")]
    TokenLength,
    /// Fewer bytes than the token length tells.
    #[error("token is cut off")]
    TruncatedToken,
    /// An empty message ends with its message id (§4.1).
    #[error("empty message has more than a header")]
    BytesAfterEmpty,
    /// A nibble of 15 that is no payload marker (§3.1).
    #[error("option delta or length is 15")]
    ReservedNibble,
    /// The message ends within an option.
    #[error("option is cut off")]
    TruncatedOption,
    /// Deltas add up to more than 65535.
    #[error("option number is above 65535")]
    OptionNumber,
    /// A marker needs a byte after it (§3).
    #[error("payload marker without payload")]
    MarkerWithoutPayload,
}

impl Message {
    /// Reads one datagram.
    ///
    /// # Errors
    /// If it breaks the format. Options are not judged here, only that they can be told apart.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(datagram);
        let (header, token_length) = header(&mut reader).map_err(|error| DecodeError {
            header: None,
            error,
        })?;
        body(header, token_length, reader).map_err(|error| DecodeError {
            header: Some(header),
            error,
        })
    }
}

fn header(reader: &mut Reader<'_>) -> Result<(Header, usize), FormatError> {
    let [first, code, high, low] = reader.array().ok_or(FormatError::TooShort)?;
    if first >> 6 != VERSION {
        return Err(FormatError::UnknownVersion);
    }
    let header = Header {
        kind: Type::from_bits(first >> 4),
        code: Code::from_byte(code),
        id: MessageId(u16::from_be_bytes([high, low])),
    };
    Ok((header, usize::from(first & 0x0F)))
}

fn body(
    header: Header,
    token_length: usize,
    mut reader: Reader<'_>,
) -> Result<Message, FormatError> {
    if token_length > Token::MAX_LENGTH {
        return Err(FormatError::TokenLength);
    }
    if header.code == Code::EMPTY && (token_length > 0 || !reader.0.is_empty()) {
        return Err(FormatError::BytesAfterEmpty);
    }
    let token = reader
        .take(token_length)
        .and_then(Token::new)
        .ok_or(FormatError::TruncatedToken)?;
    let options = options(&mut reader)?;
    Ok(Message {
        kind: header.kind,
        code: header.code,
        id: header.id,
        token,
        options,
        payload: reader.0.to_vec(),
    })
}

/// Reads options, and the payload marker if there is one.
fn options(reader: &mut Reader<'_>) -> Result<Options, FormatError> {
    let mut options = Options::with_room(reader.0.len().min(USUAL_OPTIONS));
    let mut number: u16 = 0;
    while let Some(first) = reader.byte() {
        if first == PAYLOAD_MARKER {
            if reader.0.is_empty() {
                return Err(FormatError::MarkerWithoutPayload);
            }
            break;
        }
        let delta = extended(first >> 4, reader)?;
        let length = extended(first & 0x0F, reader)?;
        number = u16::try_from(delta)
            .ok()
            .and_then(|delta| number.checked_add(delta))
            .ok_or(FormatError::OptionNumber)?;
        options.push(
            number,
            reader.take(length).ok_or(FormatError::TruncatedOption)?,
        );
    }
    Ok(options)
}

/// An option's delta or length: the nibble itself, or what the bytes after it add (RFC 7252 §3.1).
fn extended(nibble: u8, reader: &mut Reader<'_>) -> Result<usize, FormatError> {
    match nibble {
        0..=12 => Ok(usize::from(nibble)),
        13 => {
            let byte = reader.byte().ok_or(FormatError::TruncatedOption)?;
            Ok(usize::from(byte).saturating_add(EXTENDED_BY_BYTE))
        }
        14 => {
            let bytes = reader.array().ok_or(FormatError::TruncatedOption)?;
            Ok(usize::from(u16::from_be_bytes(bytes)).saturating_add(EXTENDED_BY_TWO))
        }
        _ => Err(FormatError::ReservedNibble),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

/// Room for the values of most requests, so that they take one allocation.
const USUAL_OPTIONS: usize = 48;

/// RFC 7252 §3.1: a nibble of 13 means one more byte, minus 13.
pub(super) const EXTENDED_BY_BYTE: usize = 13;

/// RFC 7252 §3.1: a nibble of 14 means two more bytes, minus 269.
pub(super) const EXTENDED_BY_TWO: usize = 269;

//! The CoAP message and its byte form (RFC 7252 §3), strict in what is accepted.
//!
//! Only format lives here; which option is known and how often it may come is told by [`option`], what to do about it by the
//! endpoint. The codec is our own: strict validation needs a full walk over the options anyway, and that walk is the decoder.

mod code;
mod decode;
mod encode;
pub mod option;
mod token;
pub mod uint;

pub use code::Code;
pub use decode::{DecodeError, FormatError, Header};
pub use encode::EncodeError;
pub(crate) use encode::overhead;
pub use option::Options;
pub use token::{MessageId, Token};

/// What a message asks of the message layer (RFC 7252 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Wants an acknowledgement, and is sent again until one comes (§4.2).
    Confirmable,
    /// Sent once, wants none (§4.3).
    NonConfirmable,
    /// Tells that a confirmable message arrived, and may carry the response to it.
    Acknowledgement,
    /// Tells that a message arrived but makes no sense to the receiver.
    Reset,
}

impl Type {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// One CoAP message, request, response or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it asks of the message layer.
    pub kind: Type,
    /// Method, response code, or [`Code::EMPTY`].
    pub code: Code,
    /// Pairs acknowledgements and resets with messages, and tells duplicates.
    pub id: MessageId,
    /// Pairs a response with its request.
    pub token: Token,
    /// Options in ascending order of their numbers once encoded or decoded.
    pub options: Options,
    /// The body; empty means that there is none, as the format cannot tell the two apart.
    pub payload: Vec<u8>,
}

impl Message {
    /// A message without token, options and payload: an empty ACK, a reset, a ping (RFC 7252 §4.1).
    #[must_use]
    pub fn empty(kind: Type, id: MessageId) -> Self {
        Self {
            kind,
            code: Code::EMPTY,
            id,
            token: Token::default(),
            options: Options::default(),
            payload: Vec::new(),
        }
    }
}

/// RFC 7252 §3: the only version there is.
const VERSION: u8 = 1;

/// RFC 7252 §3: stands between options and payload.
const PAYLOAD_MARKER: u8 = 0xFF;

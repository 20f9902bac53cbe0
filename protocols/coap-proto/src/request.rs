//! A request as the caller sees it, and the rules of options by which it may be refused first (RFC 7252 §5.4).
//!
//! An option of wrong length, or one too many of a kind that may come once, is treated like an unknown one (§5.4.3, §5.4.5):
//! dropped if elective, reason to refuse if critical. Uri-Path and Uri-Query that are not UTF-8 count as such, too.

use crate::block::Block;
use crate::message::option::{self, Definition, Occurrence};
use crate::message::{Code, Message, MessageId, Options, Token, Type};
use crate::response::Response;

/// Whether the client wants to know that its request arrived (RFC 7252 §4.2, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// It is sent again until acknowledged.
    Confirmable,
    /// It is sent once.
    NonConfirmable,
}

/// A well-formed, whole request all of whose critical options are known.
///
/// The method may be one nobody knows (0.08 to 0.31), to be answered 4.05 (RFC 7252 §5.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    reliability: Reliability,
    code: Code,
    id: MessageId,
    token: Token,
    uri_path: Vec<String>,
    uri_query: Vec<String>,
    options: Options,
    payload: Vec<u8>,
}

impl Request {
    /// Whether the request was confirmable.
    #[must_use]
    pub const fn reliability(&self) -> Reliability {
        self.reliability
    }

    /// The method.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The client's message id, for logs.
    #[must_use]
    pub const fn message_id(&self) -> MessageId {
        self.id
    }

    /// The client's token, for logs.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The path's segments as sent; empty ones count.
    #[must_use]
    pub fn uri_path(&self) -> &[String] {
        &self.uri_path
    }

    /// The query's arguments as sent, one per option.
    #[must_use]
    pub fn uri_query(&self) -> &[String] {
        &self.uri_query
    }

    /// The media type of the body, if told.
    #[must_use]
    pub fn content_format(&self) -> Option<u16> {
        self.uint(option::CONTENT_FORMAT)
    }

    /// The media type the client wants back, if told.
    #[must_use]
    pub fn accept(&self) -> Option<u16> {
        self.uint(option::ACCEPT)
    }

    /// All options but the dropped ones, ascending; those of the first block, without Block1, Block2 and Size1, if the body came
    /// in blocks.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The body, empty if there is none.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Takes the body out.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// The request in a message; `None` if it is none, or one that the endpoint refuses. For tests of what comes after.
    #[must_use]
    pub fn of(message: Message) -> Option<Self> {
        let reliability = match message.kind {
            Type::Confirmable if message.code.is_request() => Reliability::Confirmable,
            Type::NonConfirmable if message.code.is_request() => Reliability::NonConfirmable,
            Type::Confirmable | Type::NonConfirmable | Type::Acknowledgement | Type::Reset => {
                return None;
            }
        };
        let (request, verdict) = Self::from_message(reliability, message);
        verdict.is_ok().then_some(request)
    }

    /// Which block of the body this is.
    pub(crate) fn block1(&self) -> Option<Block> {
        self.options.first(option::BLOCK1).and_then(Block::decode)
    }

    /// Which block of the answer is wanted.
    pub(crate) fn block2(&self) -> Option<Block> {
        self.options.first(option::BLOCK2).and_then(Block::decode)
    }

    /// How long the body is to be in all.
    pub(crate) fn size1(&self) -> Option<usize> {
        let size = self.options.uint(option::SIZE1)?;
        Some(usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// This message as if it had come with all of the body.
    pub(crate) fn with_body(self, options: Options, payload: Vec<u8>) -> Self {
        Self {
            options,
            payload,
            ..self
        }
    }

    pub(crate) fn no_response(&self) -> NoResponse {
        let mask = self
            .options
            .uint(option::NO_RESPONSE)
            .and_then(|mask| u8::try_from(mask).ok());
        NoResponse(mask.unwrap_or_default())
    }

    fn uint(&self, number: u16) -> Option<u16> {
        self.options
            .uint(number)
            .and_then(|value| u16::try_from(value).ok())
    }

    /// Applies the rules of options to a message with a method; what is refused still has all it takes to be answered.
    pub(crate) fn from_message(
        reliability: Reliability,
        message: Message,
    ) -> (Self, Result<(), Refusal>) {
        let mut request = Self {
            reliability,
            code: message.code,
            id: message.id,
            token: message.token,
            uri_path: Vec::new(),
            uri_query: Vec::new(),
            options: Options::default(),
            payload: message.payload,
        };
        let verdict = request.take_options(message.options);
        (request, verdict)
    }

    fn take_options(&mut self, options: Options) -> Result<(), Refusal> {
        let dropped = self.read_options(&options);
        let some_dropped = dropped == Ok(Dropped::Some);
        self.options = if some_dropped {
            without_faults(&options)
        } else {
            options
        };
        dropped.map(|_| ())
    }

    fn read_options(&mut self, options: &Options) -> Result<Dropped, Refusal> {
        let mut last = None;
        let mut dropped = Dropped::None;
        for (number, value) in options.iter() {
            let fault = fault(number, value, last == Some(number));
            last = Some(number);
            match fault {
                Some(refusal) if option::is_critical(number) => return Err(refusal),
                Some(Refusal::Repeated(_) | Refusal::Malformed(_)) => dropped = Dropped::Some,
                Some(Refusal::Unknown(_) | Refusal::Proxy | Refusal::Bert(_)) | None => {}
            }
            match number {
                option::PROXY_URI | option::PROXY_SCHEME => return Err(Refusal::Proxy),
                option::URI_PATH => self.uri_path.push(text(number, value)?),
                option::URI_QUERY => self.uri_query.push(text(number, value)?),
                _ => {}
            }
        }
        match [option::BLOCK1, option::BLOCK2]
            .into_iter()
            .find(|block| has_reserved_size(options, *block))
        {
            Some(block) => Err(Refusal::Bert(block)),
            None => Ok(dropped),
        }
    }
}

/// Whether elective options in forms not allowed were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    None,
    Some,
}

/// What an option does not conform to.
fn fault(number: u16, value: &[u8], again: bool) -> Option<Refusal> {
    let Some(definition) = Definition::of(number) else {
        return Some(Refusal::Unknown(number));
    };
    if again && definition.occurrence == Occurrence::Once {
        return Some(Refusal::Repeated(number));
    }
    (!definition.allows_length(value.len())).then_some(Refusal::Malformed(number))
}

/// A block option with an SZX of 7, which over UDP is reserved (RFC 7959 §2.2, RFC 8323 §6).
fn has_reserved_size(options: &Options, block: u16) -> bool {
    options
        .first(block)
        .is_some_and(|value| Block::decode(value).is_none())
}

/// Drops known options in forms that are not; unknown elective ones are harmless and stay.
fn without_faults(options: &Options) -> Options {
    let mut last = None;
    options
        .iter()
        .filter(|&(number, value)| {
            let fault = fault(number, value, last == Some(number));
            last = Some(number);
            matches!(fault, None | Some(Refusal::Unknown(_)))
        })
        .collect()
}

fn text(number: u16, value: &[u8]) -> Result<String, Refusal> {
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| Refusal::Malformed(number))
}

/// Why a request is not handed to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unknown(u16),
    Repeated(u16),
    Malformed(u16),
    /// Blocks of a size for reliable transports only (RFC 8323 §6).
    Bert(u16),
    /// We are no proxy (RFC 7252 §5.10.2).
    Proxy,
}

impl Refusal {
    /// Without Content-Format, as a diagnostic payload (RFC 7252 §5.5.2).
    pub(crate) fn response(self) -> Response {
        let text = match self {
            Self::Unknown(number) => format!("Unknown critical option {number} is not supported!"),
            Self::Repeated(number) => format!("Critical option {number} must not be repeated!"),
            Self::Malformed(number) => format!("Critical option {number} has an invalid value!"),
            Self::Bert(number) => {
                let option = if number == option::BLOCK1 {
                    "Block1"
                } else {
                    "Block2"
                };
                let text = format!("{option} BERT used for UDP!");
                return Response::new(Code::BAD_REQUEST).payload(text);
            }
            Self::Proxy => return Response::new(Code::PROXYING_NOT_SUPPORTED),
        };
        Response::new(Code::BAD_OPTION).payload(text)
    }
}

/// The classes of responses the client does not want (RFC 7967 §2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NoResponse(u8);

impl NoResponse {
    /// Bit 1 stands for 2.xx, bit 3 for 4.xx, bit 4 for 5.xx. 2.31 is no answer yet, and without it no upload would go on.
    pub(crate) fn suppresses(self, code: Code) -> bool {
        if code == Code::CONTINUE {
            return false;
        }
        code.class()
            .checked_sub(1)
            .is_some_and(|bit| self.0 & (1 << bit) != 0)
    }
}

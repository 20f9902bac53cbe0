//! A request body that comes in blocks, each after the other (RFC 7959 §2.5, §2.9).
//!
//! Codes and texts are those of the reference: spec coap-adapter §8, observed §4. Like the reference, a block is judged by where
//! it begins and where the next one must begin; a last block may be longer than its size tells.

use super::{Block, BlockSize};
use crate::message::{Code, Options, option};
use crate::request::Request;
use crate::response::Response;

/// What has come of a body.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Of the first block, as the request is to have them.
    options: Options,
    body: Vec<u8>,
    /// Maximum length of the body.
    limit: usize,
    /// Size of blocks that the client is asked to go on with, if its first one was larger.
    asked_size: Option<BlockSize>,
}

impl Upload {
    /// Begins with the options of a block, not yet with its payload. `asked_size` is the size that
    /// the client is asked to go on with, if the block is larger.
    pub(crate) fn start(first: &Request, asked_size: Option<BlockSize>, max_body: usize) -> Self {
        let announced = first.size1().unwrap_or(max_body);
        Self {
            options: first
                .options()
                .iter()
                .filter(|(number, _)| !is_of_transfer(*number))
                .collect(),
            body: Vec::new(),
            limit: announced.min(max_body),
            asked_size,
        }
    }

    /// Takes in a block of this body.
    ///
    /// # Errors
    /// If it does not belong there; the transfer is over then.
    pub(crate) fn add(&mut self, block: Block, request: &Request) -> Result<Progress, Fault> {
        if self.options.uint(option::CONTENT_FORMAT)
            != request.options().uint(option::CONTENT_FORMAT)
        {
            return Err(Fault::ContentFormat);
        }
        let (offset, position) = (block.offset(), self.body.len());
        if self.is_renumbered(block, request.payload()) {
            return Ok(Progress::Continue);
        }
        if offset != position {
            return Err(Fault::Offset { offset, position });
        }
        let (length, left) = (request.payload().len(), self.limit.saturating_sub(position));
        if length > left {
            return Err(Fault::TooLarge { length, left });
        }
        self.body.extend_from_slice(request.payload());
        if !block.more {
            return Ok(Progress::Complete);
        }
        let (position, size) = (self.body.len(), block.size.bytes());
        if position.checked_rem(size) != Some(0) {
            return Err(Fault::Misaligned { position, size });
        }
        Ok(Progress::Continue)
    }

    /// Whether a client sends again what it sent in a larger block: asked for smaller blocks, go-coap
    /// does not scale the block number (RFC 7959 §2.3) and begins too early in the body.
    fn is_renumbered(&self, block: Block, payload: &[u8]) -> bool {
        let size = block.size.bytes();
        let end = block.offset().saturating_add(size);
        let is_asked = block.more && block.num > 0 && self.asked_size == Some(block.size);
        is_asked && self.body.get(block.offset()..end) == Some(payload)
    }

    /// The request as if the body had come with its last block.
    pub(crate) fn into_request(self, last: Request) -> Request {
        last.with_body(self.options, self.body)
    }

    /// The memory it takes.
    pub(crate) fn size(&self) -> usize {
        self.body.capacity().saturating_add(self.options.size())
    }
}

/// Whether the body is all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Continue,
    Complete,
}

/// Why a block ends the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    ContentFormat,
    Offset { offset: usize, position: usize },
    TooLarge { length: usize, left: usize },
    Misaligned { position: usize, size: usize },
}

impl Fault {
    /// Without Content-Format, as a diagnostic payload (RFC 7252 §5.5.2).
    pub(crate) fn response(self) -> Response {
        let (code, text) = match self {
            Self::ContentFormat => (
                Code::REQUEST_ENTITY_INCOMPLETE,
                "unexpected Content-Format".to_owned(),
            ),
            Self::Offset { offset, position } => (
                Code::REQUEST_ENTITY_INCOMPLETE,
                format!(
                    "request block1 offset {offset} doesn't match the current position {position}!"
                ),
            ),
            Self::TooLarge { length, left } => (
                Code::REQUEST_ENTITY_TOO_LARGE,
                format!("response {length} exceeds the left buffer {left}"),
            ),
            Self::Misaligned { position, size } => (
                Code::REQUEST_ENTITY_INCOMPLETE,
                format!("Block1 buffer position {position} doesn't align with blocksize {size}!"),
            ),
        };
        Response::new(code).payload(text)
    }
}

/// The answer to a body that is, or is announced to be, larger than allowed; tells what is (RFC 7252 §5.9.2.9).
pub(crate) fn too_large(max_body: usize) -> Response {
    let size = u64::try_from(max_body).unwrap_or(u64::MAX);
    Response::new(Code::REQUEST_ENTITY_TOO_LARGE)
        .option(option::SIZE1, crate::message::uint::encode(size))
        .payload(format!("body too large, max. {max_body} bytes"))
}

/// Options that tell of blocks, not of the whole.
const fn is_of_transfer(number: u16) -> bool {
    matches!(number, option::BLOCK1 | option::BLOCK2 | option::SIZE1)
}

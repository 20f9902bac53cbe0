//! One block out of an answer (RFC 7959 §2.4).

use super::{Asked, Block, BlockSize};
use crate::message::{Code, Options, option, overhead, uint};
use crate::response::Response;

/// How an answer is to travel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As it is, or the one block of it that was asked for.
    Whole(Response),
    /// The first block; the answer is to be kept for the others.
    First { block: Response, whole: Response },
    /// Not at all: its options leave no room for a block.
    TooLarge,
}

/// What [`cut`] does with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It goes out as it is.
    Whole,
    /// The block that was asked for goes out.
    Asked(Block),
    /// The first block goes out, in blocks of this size.
    First(BlockSize),
    /// Its options leave no room for a block.
    TooLarge,
}

/// How large messages to one peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Size of blocks where nothing demands smaller ones.
    pub(crate) preferred: BlockSize,
    /// Largest payload that is not sent in blocks.
    pub(crate) max_unblocked: usize,
    /// Largest message: what a DTLS record to the peer may carry.
    pub(crate) max_message: usize,
    /// Length of the request's token.
    pub(crate) token: usize,
}

impl Sizes {
    /// Whether a response fits, with `more` bytes of options to come.
    pub(crate) fn fit(self, response: &Response, more: usize) -> bool {
        let payload = response.payload.len().saturating_add(PAYLOAD_MARKER);
        let beside = payload.saturating_add(more);
        // Almost always there is room for far more than the response takes.
        let bound = response.options.max_encoded_length();
        beside.saturating_add(bound).saturating_add(MAX_HEADER) <= self.max_message
            || beside.saturating_add(overhead(self.token, &response.options)) <= self.max_message
    }

    /// Largest first blocks that fit beside these options; `None` if not even the smallest do.
    pub(crate) fn first_block(self, options: &Options) -> Option<BlockSize> {
        self.block(options, FIRST_BLOCK_OPTIONS)
    }

    /// The same for blocks behind the first.
    pub(crate) fn later_block(self, options: &Options) -> Option<BlockSize> {
        self.block(options, BLOCK_OPTION)
    }

    fn block(self, options: &Options, block_options: usize) -> Option<BlockSize> {
        let taken = overhead(self.token, options)
            .saturating_add(block_options)
            .saturating_add(PAYLOAD_MARKER);
        let room = self.max_message.checked_sub(taken)?;
        BlockSize::at_most(room).map(|size| size.min(self.preferred))
    }

    /// Most bytes of payload that fit beside these options.
    pub(crate) fn payload(self, options: &Options) -> usize {
        let taken = overhead(self.token, options).saturating_add(PAYLOAD_MARKER);
        self.max_message.saturating_sub(taken)
    }
}

/// Decides how an answer travels: in blocks if it has to, or if the client asks for blocks it does
/// not fit in. Blocks are as large as what the client asks for, what is preferred, and what a
/// message to the client may carry allow (RFC 7959 §2.2: a server may begin with any size).
///
/// A client that asks for a later block without one before it gets that one, provided there is one.
pub(crate) fn plan(response: &Response, asked: &Asked, sizes: Sizes) -> Plan {
    let confirmed = asked.block1.map_or(0, |_| BLOCK_OPTION);
    let fits = sizes.fit(response, confirmed);
    let or_nothing = |fits| if fits { Plan::Whole } else { Plan::TooLarge };
    if response.options.first(option::BLOCK2).is_some() {
        return or_nothing(fits);
    }
    if let Some(asked) = asked.block2.filter(|asked| asked.num > 0) {
        let is_error = response.code.class() != 2;
        if is_error && asked.offset() >= response.payload.len() {
            return or_nothing(fits);
        }
        return match sizes.block(&response.options, BLOCK_OPTION.saturating_add(confirmed)) {
            Some(size) => Plan::Asked(asked.limited(size)),
            None => Plan::TooLarge,
        };
    }
    let unblocked = match asked.block2 {
        Some(asked) => asked.size.min(sizes.preferred).bytes(),
        None => usize::MAX,
    };
    let length = response.payload.len();
    if fits && length <= unblocked.min(sizes.max_unblocked) {
        return Plan::Whole;
    }
    match sizes.first_block(&response.options) {
        // One block that holds all of it would need no options for blocks.
        Some(size) if length > 0 => {
            Plan::First(asked.block2.map_or(size, |asked| asked.size.min(size)))
        }
        _ => Plan::TooLarge,
    }
}

/// Cuts an answer as [`plan`] says.
pub(crate) fn cut(response: Response, asked: &Asked, sizes: Sizes) -> Cut {
    match plan(&response, asked, sizes) {
        Plan::Whole => Cut::Whole(response),
        Plan::Asked(block) => Cut::Whole(block_of(&response, block)),
        Plan::First(size) => {
            let first = Block {
                num: 0,
                more: true,
                size,
            };
            Cut::First {
                block: block_of(&response, first),
                whole: response,
            }
        }
        Plan::TooLarge => Cut::TooLarge,
    }
}

/// A block with all options of the whole; 4.02 if there is none there.
///
/// So the reference answers where it keeps nothing; where it does, it sends an empty block instead, which looks like an end.
pub(crate) fn block_of(whole: &Response, block: Block) -> Response {
    let start = block.offset();
    let end = start
        .saturating_add(block.size.bytes())
        .min(whole.payload.len());
    let Some(payload) = whole
        .payload
        .get(start..end)
        .filter(|payload| !payload.is_empty())
    else {
        return Response::new(Code::BAD_OPTION);
    };
    let mut response = Response {
        code: whole.code,
        options: whole.options.clone(),
        payload: payload.to_vec(),
    };
    let block = Block {
        more: end < whole.payload.len(),
        ..block
    };
    response.options.push(option::BLOCK2, &block.encode());
    if block.num == 0 && response.options.first(option::SIZE2).is_none() {
        let size = u64::try_from(whole.payload.len()).unwrap_or(u64::MAX);
        response.options.push(option::SIZE2, &uint::encode(size));
    }
    response
}

/// The byte before a payload.
const PAYLOAD_MARKER: usize = 1;

/// Header with the longest token.
const MAX_HEADER: usize = 4 + 8;

/// A block option: one byte, up to one of delta, up to three of value.
const BLOCK_OPTION: usize = 5;

/// What the first block has more than the whole: Block2, Size2 and, at the end of an upload,
/// Block1.
const FIRST_BLOCK_OPTIONS: usize = BLOCK_OPTION + (1 + 1 + 4) + BLOCK_OPTION;

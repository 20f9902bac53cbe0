//! One block out of an answer (RFC 7959 §2.4).

use super::{Block, BlockSize};
use crate::message::{Code, option, uint};
use crate::response::Response;

/// How an answer is to travel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As it is, or the one block of it that was asked for.
    Whole(Response),
    /// The first block; the answer is to be kept for the others.
    First { block: Response, whole: Response },
}

/// Cuts an answer if it has to be, or if the client asks for blocks it does not fit in.
///
/// A client that asks for a later block without one before it gets that one, provided there is one.
pub(crate) fn cut(
    response: Response,
    asked: Option<Block>,
    preferred: BlockSize,
    max_unblocked: usize,
) -> Cut {
    if response.options.first(option::BLOCK2).is_some() {
        return Cut::Whole(response);
    }
    if let Some(asked) = asked.filter(|asked| asked.num > 0) {
        let is_error = response.code.class() != 2;
        return Cut::Whole(if is_error && asked.offset() >= response.payload.len() {
            response
        } else {
            block_of(&response, asked.limited(preferred))
        });
    }
    let size = asked.map_or(preferred, |asked| asked.size.min(preferred));
    let fits = match asked {
        Some(_) => size.bytes().min(max_unblocked),
        None => max_unblocked,
    };
    if response.payload.len() <= fits {
        return Cut::Whole(response);
    }
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

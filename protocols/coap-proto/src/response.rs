//! What the caller answers with (RFC 7252 §5.2), before it becomes a message.

use crate::block::Block;
use crate::message::option::{self, Definition, Occurrence};
use crate::message::{Code, Options, uint};

/// A response without type, message id and token, which the endpoint adds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Of class 2, 4 or 5.
    pub code: Code,
    /// In any order.
    pub options: Options,
    /// Empty for none.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without options and payload.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            options: Options::default(),
            payload: Vec::new(),
        }
    }

    /// Sets the body.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Adds one occurrence of an option.
    #[must_use]
    pub fn option(mut self, number: u16, value: impl AsRef<[u8]>) -> Self {
        self.options.push(number, value.as_ref());
        self
    }

    /// Tells the media type of the body (RFC 7252 §5.10.3).
    #[must_use]
    pub fn content_format(self, content_format: u16) -> Self {
        self.option(option::CONTENT_FORMAT, uint::encode(content_format.into()))
    }

    /// Tells for how many seconds the answer holds, or with 5.03 when to try again (RFC 7252 §5.10.5).
    #[must_use]
    pub fn max_age(self, seconds: u32) -> Self {
        self.option(option::MAX_AGE, uint::encode(seconds.into()))
    }

    /// Tells that a block of the request arrived, unless the caller does.
    pub(crate) fn confirm(&mut self, block: Block) {
        if self.options.first(option::BLOCK1).is_none() {
            self.options.push(option::BLOCK1, &block.encode());
        }
    }

    /// Whether it can be sent: a response code, and options as the standards allow them (length, occurrences), at most
    /// 16 MiB of payload.
    ///
    /// The endpoint sends 5.00 instead of an invalid one; a caller with something to undo asks first.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.code.is_response()
            && self.payload.len() <= LARGEST_BODY
            && self.options.iter().all(|(number, value)| {
                Definition::of(number).is_none_or(|definition| {
                    definition.allows_length(value.len())
                        && (definition.occurrence == Occurrence::Repeatable
                            || self.options.values(number).nth(1).is_none())
                })
            })
            && self
                .options
                .iter()
                .all(|(_, value)| value.len() <= LONGEST_OPTION)
    }
}

/// What 2^20 of the smallest blocks hold (RFC 7959 §2.2).
const LARGEST_BODY: usize = 16 << 20;

/// What the format can tell of a length (RFC 7252 §3.1).
const LONGEST_OPTION: usize = 65_804;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_element_over_255_bytes_makes_a_response_invalid() {
        let response =
            |length| Response::new(Code::CHANGED).option(option::LOCATION_PATH, vec![b'x'; length]);
        assert!(response(255).is_valid());
        assert!(!response(256).is_valid());
    }

    #[test]
    fn two_content_formats_or_a_method_as_code_are_invalid() {
        assert!(
            !Response::new(Code::CONTENT)
                .content_format(0)
                .content_format(50)
                .is_valid()
        );
        assert!(!Response::new(Code::POST).is_valid());
        assert!(!Response::new(Code::EMPTY).is_valid());
    }

    #[test]
    fn text_plain_is_an_option_without_bytes() {
        assert_eq!(
            Response::new(Code::CONTENT)
                .content_format(0)
                .options
                .first(option::CONTENT_FORMAT),
            Some(&[][..])
        );
    }
}

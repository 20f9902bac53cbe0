//! What blocks of one body have in common: the method, the URI (RFC 7959 §2.4, §2.5) and the list of
//! Request-Tag options (RFC 9175 §3.2).

use crate::message::option;
use crate::request::Request;

/// Method, host, port, path, query and Request-Tags of a request, to be compared only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target(Box<[u8]>);

impl Target {
    pub(crate) fn of(request: &Request) -> Self {
        let parts = || {
            request
                .options()
                .iter()
                .filter(|(number, _)| is_part_of_key(*number))
        };
        let length = parts().fold(1, |length: usize, (_, value)| {
            length.saturating_add(value.len()).saturating_add(PREFIX)
        });
        let mut target = Vec::with_capacity(length);
        target.push(request.code().to_byte());
        for (number, value) in parts() {
            target.extend_from_slice(&number.to_be_bytes());
            target.extend_from_slice(&value.len().to_be_bytes());
            target.extend_from_slice(value);
        }
        Self(target.into_boxed_slice())
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

const fn is_part_of_key(number: u16) -> bool {
    matches!(
        number,
        option::URI_HOST
            | option::URI_PORT
            | option::URI_PATH
            | option::URI_QUERY
            | option::REQUEST_TAG
    )
}

/// Number and length before each value.
const PREFIX: usize = size_of::<u16>() + size_of::<usize>();

//! Request methods and response codes (RFC 7252 §12.1, RFC 8132, RFC 7959, RFC 8516).

use std::fmt;

/// A method or response code, written `class.detail`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $class:literal . $detail:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self(($class << 5) | $detail);)*
        }
    };
}

codes! {
    /// 0.00: an empty message.
    EMPTY = 0 . 0;
    /// 0.01.
    GET = 0 . 1;
    /// 0.02.
    POST = 0 . 2;
    /// 0.03.
    PUT = 0 . 3;
    /// 0.04.
    DELETE = 0 . 4;
    /// 0.05 (RFC 8132).
    FETCH = 0 . 5;
    /// 0.06 (RFC 8132).
    PATCH = 0 . 6;
    /// 0.07 (RFC 8132).
    IPATCH = 0 . 7;
    /// 2.01 Created.
    CREATED = 2 . 1;
    /// 2.02 Deleted.
    DELETED = 2 . 2;
    /// 2.03 Valid.
    VALID = 2 . 3;
    /// 2.04 Changed.
    CHANGED = 2 . 4;
    /// 2.05 Content.
    CONTENT = 2 . 5;
    /// 2.31 Continue (RFC 7959).
    CONTINUE = 2 . 31;
    /// 4.00 Bad Request.
    BAD_REQUEST = 4 . 0;
    /// 4.01 Unauthorized.
    UNAUTHORIZED = 4 . 1;
    /// 4.02 Bad Option.
    BAD_OPTION = 4 . 2;
    /// 4.03 Forbidden.
    FORBIDDEN = 4 . 3;
    /// 4.04 Not Found.
    NOT_FOUND = 4 . 4;
    /// 4.05 Method Not Allowed.
    METHOD_NOT_ALLOWED = 4 . 5;
    /// 4.06 Not Acceptable.
    NOT_ACCEPTABLE = 4 . 6;
    /// 4.08 Request Entity Incomplete (RFC 7959).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8;
    /// 4.09 Conflict (RFC 8132).
    CONFLICT = 4 . 9;
    /// 4.12 Precondition Failed.
    PRECONDITION_FAILED = 4 . 12;
    /// 4.13 Request Entity Too Large.
    REQUEST_ENTITY_TOO_LARGE = 4 . 13;
    /// 4.15 Unsupported Content-Format.
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15;
    /// 4.22 Unprocessable Entity (RFC 8132).
    UNPROCESSABLE_ENTITY = 4 . 22;
    /// 4.29 Too Many Requests (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29;
    /// 5.00 Internal Server Error.
    INTERNAL_SERVER_ERROR = 5 . 0;
    /// 5.01 Not Implemented.
    NOT_IMPLEMENTED = 5 . 1;
    /// 5.02 Bad Gateway.
    BAD_GATEWAY = 5 . 2;
    /// 5.03 Service Unavailable.
    SERVICE_UNAVAILABLE = 5 . 3;
    /// 5.04 Gateway Timeout.
    GATEWAY_TIMEOUT = 5 . 4;
    /// 5.05 Proxying Not Supported.
    PROXYING_NOT_SUPPORTED = 5 . 5;
}

impl Code {
    /// `class.detail`; `None` if the class is above 7 or the detail above 31.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Option<Self> {
        if class > 7 || detail > 31 {
            return None;
        }
        Some(Self((class << 5) | detail))
    }

    /// The code in a message's second byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The byte it takes in a message.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// 0 request, 2 success, 4 client error, 5 server error; 1, 3, 6 and 7 are reserved or not for this transport.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// What comes after the dot.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0b1_1111
    }

    /// Whether it is a method, known or not: 0.01 to 0.31.
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    /// Whether it is of a response class: 2, 4 or 5.
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_the_standard_does() {
        assert_eq!(Code::CHANGED.to_string(), "2.04");
        assert_eq!(Code::TOO_MANY_REQUESTS.to_string(), "4.29");
        assert_eq!(Code::CHANGED.to_byte(), 0x44);
        assert_eq!(Code::new(4, 29), Some(Code::TOO_MANY_REQUESTS));
        assert_eq!((Code::new(8, 0), Code::new(2, 32)), (None, None));
    }

    #[test]
    fn classes_tell_requests_from_responses() {
        for byte in 0..=u8::MAX {
            let code = Code::from_byte(byte);
            assert_eq!(code.is_request(), (1..32).contains(&byte), "{code}");
            assert_eq!(code.is_response(), matches!(byte >> 5, 2 | 4 | 5), "{code}");
        }
    }
}

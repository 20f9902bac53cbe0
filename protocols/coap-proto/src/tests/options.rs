//! Rules of options (RFC 7252 §5.4) as a table: what reaches the caller, what is dropped, what is refused.

use super::*;

/// What becomes of a request with an option.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It reaches the caller, and the option does, too.
    Kept,
    /// It reaches the caller without the option.
    Dropped,
    /// It is answered with a code and a text.
    Refused(Code, String),
}

fn fate(request: &Message, number: u16) -> Fate {
    let mut server = Server::new();
    let sent = server.receive(&request.encode().unwrap());
    if let Some((_, request)) = server.request() {
        assert_eq!(sent, []);
        let before = usize::from(number == option::URI_PATH);
        return if request.options().values(number).count() > before {
            Fate::Kept
        } else {
            Fate::Dropped
        };
    }
    let answer = &sent[0];
    assert_eq!(
        (answer.kind, answer.id, answer.token),
        (Type::Acknowledgement, request.id, request.token)
    );
    assert!(
        answer.options.is_empty(),
        "no Content-Format with a diagnostic payload"
    );
    Fate::Refused(
        answer.code,
        String::from_utf8(answer.payload.clone()).unwrap(),
    )
}

fn malformed(number: u16) -> Fate {
    Fate::Refused(
        Code::BAD_OPTION,
        format!("Critical option {number} has an invalid value!"),
    )
}

fn unknown(number: u16) -> Fate {
    Fate::Refused(
        Code::BAD_OPTION,
        format!("Unknown critical option {number} is not supported!"),
    )
}

fn repeated(number: u16) -> Fate {
    Fate::Refused(
        Code::BAD_OPTION,
        format!("Critical option {number} must not be repeated!"),
    )
}

/// Of 16 bytes, as a block option of `x` tells.
fn no_block1(num: usize) -> Fate {
    let offset = num * 16;
    let text = format!("request block1 offset {offset} doesn't match the current position 0!");
    Fate::Refused(Code::REQUEST_ENTITY_INCOMPLETE, text)
}

fn no_block2(num: usize) -> Fate {
    let text = format!("nothing is kept of which to send block {num}!");
    Fate::Refused(Code::REQUEST_ENTITY_INCOMPLETE, text)
}

fn no_proxy() -> Fate {
    Fate::Refused(Code::PROXYING_NOT_SUPPORTED, String::new())
}

/// RFC 7252 §5.10 table 4, RFC 7641 §2, RFC 7959 §2.1 and §4, RFC 7967 §2: shortest and longest values.
#[test]
fn lengths_outside_the_table_make_an_option_an_unknown_one() {
    use Fate::{Dropped, Kept};
    let rows = [
        (option::IF_MATCH, 0, Kept),
        (option::IF_MATCH, 8, Kept),
        (option::IF_MATCH, 9, malformed(1)),
        (option::URI_HOST, 0, malformed(3)),
        (option::URI_HOST, 1, Kept),
        (option::URI_HOST, 255, Kept),
        (option::URI_HOST, 256, malformed(3)),
        (option::ETAG, 0, Dropped),
        (option::ETAG, 8, Kept),
        (option::ETAG, 9, Dropped),
        (option::IF_NONE_MATCH, 0, Kept),
        (option::IF_NONE_MATCH, 1, malformed(5)),
        (option::OBSERVE, 0, Kept),
        (option::OBSERVE, 3, Kept),
        (option::OBSERVE, 4, Dropped),
        (option::URI_PORT, 2, Kept),
        (option::URI_PORT, 3, malformed(7)),
        (option::URI_PATH, 0, Kept),
        (option::URI_PATH, 255, Kept),
        (option::URI_PATH, 256, malformed(11)),
        (option::CONTENT_FORMAT, 0, Kept),
        (option::CONTENT_FORMAT, 2, Kept),
        (option::CONTENT_FORMAT, 3, Dropped),
        (option::MAX_AGE, 4, Kept),
        (option::MAX_AGE, 5, Dropped),
        (option::URI_QUERY, 0, Kept),
        (option::URI_QUERY, 255, Kept),
        (option::URI_QUERY, 256, malformed(15)),
        (option::ACCEPT, 2, Kept),
        (option::ACCEPT, 3, malformed(17)),
        (option::BLOCK2, 0, Kept),
        (option::BLOCK2, 3, no_block2(0x78_787)),
        (option::BLOCK2, 4, malformed(23)),
        (option::BLOCK1, 3, no_block1(0x78_787)),
        (option::BLOCK1, 4, malformed(27)),
        (option::SIZE2, 4, Kept),
        (option::SIZE2, 5, Dropped),
        (option::PROXY_URI, 1, no_proxy()),
        (option::PROXY_URI, 0, malformed(35)),
        (option::PROXY_SCHEME, 4, no_proxy()),
        (option::SIZE1, 4, Kept),
        (option::SIZE1, 5, Dropped),
        (option::NO_RESPONSE, 1, Kept),
        (option::NO_RESPONSE, 2, Dropped),
        (option::HONO_TIME, 0, Kept),
        (option::HONO_TIME, 300, Kept),
        (9, 1, unknown(9)),
        (65_003, 1, unknown(65_003)),
        (65_535, 0, unknown(65_535)),
        (65_002, 20, Kept),
        (2, 0, Kept),
    ];
    for (number, length, expected) in rows {
        let request = with_option(con(7), number, &vec![b'x'; length]);
        assert_eq!(
            fate(&request, number),
            expected,
            "option {number} of {length} bytes"
        );
    }
}

/// RFC 7252 §5.4.5.
#[test]
fn one_too_many_is_an_unknown_one() {
    for (number, value, expected) in [
        (option::URI_HOST, &b"h"[..], repeated(3)),
        (option::ACCEPT, &[50], repeated(17)),
        (option::BLOCK1, &[1], repeated(27)),
        (option::CONTENT_FORMAT, &[50], Fate::Kept),
        (option::URI_PATH, b"x", Fate::Kept),
    ] {
        let request = with_option(with_option(con(7), number, value), number, value);
        assert_eq!(fate(&request, number), expected, "option {number}");
    }
    let mut server = Server::new();
    let request = with_option(
        with_option(con(7), option::CONTENT_FORMAT, &[50]),
        option::CONTENT_FORMAT,
        &[60],
    );
    server.receive(&request.encode().unwrap());
    let (_, request) = server.request().unwrap();
    assert_eq!(
        (
            request.content_format(),
            request.options().values(option::CONTENT_FORMAT).count()
        ),
        (Some(50), 1)
    );
}

#[test]
fn a_path_or_query_that_is_no_text_is_a_bad_option() {
    for number in [option::URI_PATH, option::URI_QUERY] {
        assert_eq!(
            fate(&with_option(con(7), number, &[0xC3, 0x28]), number),
            malformed(number)
        );
    }
}

/// RFC 7252 §5.4.1: "MUST cause the message to be rejected", which may be silent (§4.3).
#[test]
fn a_non_confirmable_request_with_an_unknown_critical_option_is_dropped_in_silence() {
    let mut server = Server::new();
    assert_eq!(
        server.receive(&with_option(non(7), 65_003, &[1]).encode().unwrap()),
        []
    );
    assert_eq!(server.request(), None);
    assert!(server.is_empty());
    assert_eq!(server.endpoint.statistics().bad_options, 1);
}

#[test]
fn a_refusal_is_repeated_for_a_duplicate() {
    let mut server = Server::new();
    let request = with_option(con(7), 65_003, &[1]).encode().unwrap();
    let refusal = server.receive(&request);
    assert_eq!(server.receive(&request), refusal);
}

#[test]
fn a_request_shows_what_was_sent() {
    let mut request = message(Type::Confirmable, Code::PUT, 7);
    for (number, value) in [
        (option::URI_PATH, &b"t"[..]),
        (option::URI_PATH, b""),
        (option::URI_PATH, b"4712"),
        (option::CONTENT_FORMAT, &[0x2b, 0x67]),
        (option::URI_QUERY, b"hono-ttd=10"),
        (option::URI_QUERY, b"empty"),
        (option::ACCEPT, &[40]),
        (option::BLOCK1, &[0x0e]),
    ] {
        request.options.push(number, value);
    }
    request.payload = b"21".to_vec();
    let request = Request::of(request).unwrap();
    assert_eq!(request.code(), Code::PUT);
    assert_eq!(request.uri_path(), ["t", "", "4712"]);
    assert_eq!(request.uri_query(), ["hono-ttd=10", "empty"]);
    assert_eq!(
        (request.content_format(), request.accept()),
        (Some(11_111), Some(40))
    );
    assert_eq!(request.options().first(option::BLOCK1), Some(&[0x0e][..]));
    assert_eq!(request.payload(), b"21");
}

#[test]
fn an_unknown_method_reaches_the_caller() {
    let mut server = Server::new();
    server.receive(
        &message(Type::Confirmable, Code::new(0, 8).unwrap(), 7)
            .encode()
            .unwrap(),
    );
    assert_eq!(server.request().unwrap().1.code().to_string(), "0.08");
}

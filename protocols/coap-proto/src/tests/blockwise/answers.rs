//! Answers by Block2 (RFC 7959 §2.4, §3.1, §3.3; spec coap-adapter §8).

use super::*;
use crate::message::uint;

/// An answer with options of its own, as commands have.
fn command(length: usize) -> Response {
    changed()
        .option(option::LOCATION_PATH, "c")
        .option(option::LOCATION_QUERY, "hono-command=setLight")
        .content_format(0)
        .payload(body(length))
}

/// Answers a request with a body of so many bytes.
fn respond_to(server: &mut Server, request: &Message, length: usize) -> Message {
    let (exchange, _) = whole(server, request);
    server.respond(exchange, command(length)).remove(0)
}

/// RFC 7959 §3.1 figure 2 as POST, with blocks of the preferred size.
#[test]
fn a_large_answer_is_sent_in_blocks_without_the_caller_seeing_more_than_one_request() {
    let mut server = Server::new();
    let first = respond_to(&mut server, &con(1), 1500);
    assert_eq!(first.options.first(option::BLOCK2), Some(&[0x0d][..]));
    assert_eq!(first.options.uint(option::SIZE2), Some(1500));
    let mut received = first.payload;
    for (num, more) in [(1, 1), (2, 0)] {
        let request = fetch(1 + u16::try_from(num).unwrap(), block(num, 0, 512));
        let next = answer(&mut server, &request);
        assert_eq!(next.code, Code::CHANGED);
        assert_eq!(told(&next, option::BLOCK2).1, Some(block(num, more, 512)));
        for number in [
            option::LOCATION_PATH,
            option::LOCATION_QUERY,
            option::CONTENT_FORMAT,
        ] {
            assert_eq!(next.options.first(number), first.options.first(number));
        }
        assert_eq!(
            next.options.first(option::SIZE2),
            None,
            "told with the first block only"
        );
        received.extend(next.payload);
    }
    assert_eq!(received, body(1500));
    assert_eq!(server.endpoint.statistics().blocks_served, 2);
    server.pass(SECOND * 300);
    assert!(server.is_empty());
}

/// Payload, Block2 of the request, Block2 of the answer, and how much of the payload comes.
#[test]
fn an_answer_is_cut_if_it_is_large_or_the_client_wants_smaller_blocks() {
    let rows = [
        (1024, None, None, 1024),
        (1025, None, Some(block(0, 1, 512)), 512),
        (600, Some(block(0, 0, 1024)), Some(block(0, 1, 512)), 512),
        (512, Some(block(0, 0, 1024)), None, 512),
        (512, Some(block(0, 0, 512)), None, 512),
        (100, Some(block(0, 0, 64)), Some(block(0, 1, 64)), 64),
        (64, Some(block(0, 0, 64)), None, 64),
        (3000, Some(block(0, 0, 16)), Some(block(0, 1, 16)), 16),
        (0, Some(block(0, 0, 16)), None, 0),
    ];
    for (length, asked, expected, sent) in rows {
        let mut server = Server::new();
        let request = asked.map_or_else(|| con(1), |asked| fetch(1, asked));
        let first = respond_to(&mut server, &request, length);
        assert_eq!(
            told(&first, option::BLOCK2).1,
            expected,
            "{length} {asked:?}"
        );
        assert_eq!(first.payload, body(length)[..sent], "{length} {asked:?}");
        assert_eq!(server.endpoint.transfers(), usize::from(expected.is_some()));
    }
}

/// RFC 7959 §3.1 figures 3 and 4: early and late negotiation.
#[test]
fn a_client_may_change_to_other_sizes_on_the_way() {
    let mut server = Server::new();
    let sent = body(2000);
    respond_to(&mut server, &con(1), 2000);
    for (id, asked, expected, range) in [
        (2, block(16, 0, 32), block(16, 1, 32), 512..544),
        (3, block(1, 0, 1024), block(2, 1, 512), 1024..1536),
        (4, block(3, 0, 512), block(3, 0, 512), 1536..2000),
        (5, block(0x7c, 0, 16), block(0x7c, 0, 16), 1984..2000),
        (6, block(1, 0, 512), block(1, 1, 512), 512..1024),
    ] {
        let next = answer(&mut server, &fetch(id, asked));
        assert_eq!(told(&next, option::BLOCK2).1, Some(expected));
        assert_eq!(next.payload, sent[range]);
    }
}

#[test]
fn there_is_no_block_behind_the_end() {
    let mut server = Server::new();
    respond_to(&mut server, &con(1), 1536);
    for (id, num) in [(2, 3), (3, 0xf_ffff)] {
        let refusal = answer(&mut server, &fetch(id, block(num, 0, 512)));
        assert_eq!(
            told(&refusal, option::BLOCK2),
            (Code::BAD_OPTION, None, String::new())
        );
    }
    assert_eq!(
        answer(&mut server, &fetch(4, block(2, 0, 512)))
            .payload
            .len(),
        512
    );
}

/// It would be taken for a new upload, with the body it does not have.
#[test]
fn a_later_block_of_nothing_never_reaches_the_caller() {
    let mut server = Server::new();
    respond_to(&mut server, &con(1), 1500);
    let expected = (
        Code::REQUEST_ENTITY_INCOMPLETE,
        None,
        "nothing is kept of which to send block 1!".to_owned(),
    );
    let other = with_option(fetch(2, block(1, 0, 512)), option::URI_QUERY, b"empty");
    let put = Message {
        code: Code::PUT,
        ..fetch(3, block(1, 0, 512))
    };
    for request in [other, put] {
        assert_eq!(
            told(&answer(&mut server, &request), option::BLOCK2),
            expected
        );
    }
    server.receive_from(1, &fetch(4, block(1, 0, 512)).encode().unwrap());
    assert_eq!(server.request(), None);
    server.pass(SECOND * 300);
    assert_eq!(
        told(
            &answer(&mut server, &fetch(5, block(1, 0, 512))),
            option::BLOCK2
        ),
        expected
    );
    assert_eq!(server.endpoint.statistics().incomplete, 4);
}

/// RFC 7959 §2.4: random access, to what is asked for without changing anything.
#[test]
fn a_get_for_a_later_block_is_answered_with_that_block() {
    let links = || {
        Response::new(Code::CONTENT)
            .content_format(40)
            .payload(body(66))
    };
    let get = |id, block2| Message {
        code: Code::GET,
        ..fetch(id, block2)
    };
    for (asked, response, expected, range) in [
        (
            block(1, 0, 32),
            links(),
            (Code::CONTENT, Some(block(1, 1, 32))),
            32..64,
        ),
        (
            block(2, 0, 32),
            links(),
            (Code::CONTENT, Some(block(2, 0, 32))),
            64..66,
        ),
        (block(3, 0, 32), links(), (Code::BAD_OPTION, None), 0..0),
        (
            block(3, 0, 32),
            Response::new(Code::NOT_FOUND),
            (Code::NOT_FOUND, None),
            0..0,
        ),
    ] {
        let mut server = Server::new();
        let (exchange, _) = whole(&mut server, &get(1, asked));
        let sent = server.respond(exchange, response).remove(0);
        assert_eq!((sent.code, told(&sent, option::BLOCK2).1), expected);
        assert_eq!(sent.payload, body(66)[range]);
        assert_eq!(server.endpoint.transfers(), 0);
    }
}

#[test]
fn a_get_for_a_later_block_gets_the_preferred_size_at_most() {
    let mut server = Server::new();
    let get = Message {
        code: Code::GET,
        ..fetch(1, block(1, 0, 1024))
    };
    let sent = respond_to(&mut server, &get, 2000);
    assert_eq!(told(&sent, option::BLOCK2).1, Some(block(2, 1, 512)));
    assert_eq!(sent.payload, body(2000)[1024..1536]);
}

#[test]
fn a_separate_answer_is_sent_in_blocks_too_and_its_blocks_are_asked_for_as_ever() {
    let mut server = Server::new();
    let exchange = server.accept(&con(1));
    server.acknowledge(exchange);
    let first = server.respond(exchange, command(1500)).remove(0);
    assert_eq!(
        (first.kind, told(&first, option::BLOCK2).1),
        (Type::Confirmable, Some(block(0, 1, 512)))
    );
    let (_, again) = server.pass(SECOND * 3).remove(0);
    assert_eq!(again, first, "a retransmission is the same block");
    server.receive(&ack(first.id));
    let next = answer(&mut server, &fetch(2, block(1, 0, 512)));
    assert_eq!(next.payload, body(1500)[512..1024]);
    let repeated = answer(&mut server, &fetch(2, block(1, 0, 512)));
    assert_eq!(repeated, next, "a duplicate");
}

/// RFC 7959 §3.3 figure 11: "Atomic Block-Wise POST with Block-Wise Response".
#[test]
fn an_upload_in_blocks_may_be_answered_in_blocks() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 128), &body(128)));
    let last = with_option(
        upload(2, block(1, 0, 128), b"x"),
        option::BLOCK2,
        &block(0, 0, 64).encode(),
    );
    let first = respond_to(&mut server, &last, 100);
    assert_eq!(told(&first, option::BLOCK1).1, Some(block(1, 0, 128)));
    assert_eq!(told(&first, option::BLOCK2).1, Some(block(0, 1, 64)));
    let next = answer(&mut server, &fetch(3, block(1, 0, 64)));
    assert_eq!(
        (next.payload.len(), next.options.first(option::BLOCK1)),
        (36, None)
    );
}

#[test]
fn a_new_large_answer_takes_the_place_of_the_old() {
    let mut server = Server::new();
    respond_to(&mut server, &con(1), 1500);
    respond_to(&mut server, &con(2), 1200);
    assert_eq!(server.endpoint.transfers(), 1);
    assert_eq!(
        answer(&mut server, &fetch(3, block(2, 0, 512)))
            .payload
            .len(),
        1200 - 1024
    );
}

#[test]
fn block_options_of_the_callers_own_are_left_alone() {
    let mut server = Server::new();
    let (exchange, _) = whole(&mut server, &upload(1, block(0, 0, 64), b"x"));
    let own = changed()
        .option(option::BLOCK2, block(4, 1, 1024).encode())
        .option(option::BLOCK1, block(0, 0, 16).encode())
        .payload(body(1024));
    let sent = server.respond(exchange, own).remove(0);
    assert_eq!(told(&sent, option::BLOCK2).1, Some(block(4, 1, 1024)));
    assert_eq!(told(&sent, option::BLOCK1).1, Some(block(0, 0, 16)));
    let (exchange, _) = whole(&mut server, &con(2));
    let sized = command(1500).option(option::SIZE2, uint::encode(9));
    let sent = server.respond(exchange, sized).remove(0);
    assert_eq!(
        sent.options.values(option::SIZE2).collect::<Vec<_>>(),
        [[9]]
    );
}

#[test]
fn an_answer_beyond_the_numbers_of_blocks_or_the_bytes_kept_is_an_internal_error() {
    for (max_block_bytes, length) in [(64 << 20, (16 << 20) + 1), (2000, 2000)] {
        let mut server = Server::with(Config {
            max_block_bytes,
            ..Config::default()
        });
        let (exchange, _) = whole(&mut server, &con(1));
        let sent = server
            .respond(exchange, changed().payload(vec![0; length]))
            .remove(0);
        assert_eq!(
            (sent.code, sent.payload),
            (Code::INTERNAL_SERVER_ERROR, vec![])
        );
        assert_eq!(server.endpoint.transfers(), 0);
    }
    assert!(changed().payload(vec![0; 16 << 20]).is_valid());
}

#[test]
fn nothing_is_kept_for_a_client_that_wants_no_response() {
    let mut server = Server::new();
    let (exchange, _) = whole(&mut server, &with_option(con(1), option::NO_RESPONSE, &[2]));
    server.acknowledge(exchange);
    server.respond(exchange, command(1500));
    assert_eq!(server.endpoint.transfers(), 0);
}

//! Uploads by Block1 that go well (RFC 7959 §2.3, §2.5, §3.2; spec coap-adapter §8).

use super::*;

/// RFC 7959 §3.2 figure 7: "Simple Atomic Block-Wise PUT", here as POST.
#[test]
fn blocks_become_one_request_that_is_answered_with_the_last_block_confirmed() {
    let mut server = Server::new();
    let sent = body(2 * 128 + 40);
    for num in 0..2 {
        let at = usize::try_from(num).unwrap() * 128;
        let block1 = block(num, 1, 128);
        let request = upload(1 + u16::try_from(num).unwrap(), block1, &sent[at..at + 128]);
        let expected = (Code::CONTINUE, Some(block1), String::new());
        assert_eq!(
            told(&answer(&mut server, &request), option::BLOCK1),
            expected
        );
    }
    let last = upload(3, block(2, 0, 128), &sent[256..]);
    let (exchange, request) = whole(&mut server, &last);
    assert_eq!(request.payload(), sent);
    assert_eq!(
        (request.uri_path(), request.token()),
        (&["t".to_owned()][..], last.token)
    );
    assert_eq!(request.options().len(), 1, "only the path");
    let response = server.respond(exchange, changed()).remove(0);
    let expected = (Code::CHANGED, Some(block(2, 0, 128)), String::new());
    assert_eq!(told(&response, option::BLOCK1), expected);
    let statistics = server.endpoint.statistics();
    assert_eq!(
        (
            statistics.requests,
            statistics.continued,
            statistics.reassembled
        ),
        (1, 2, 1)
    );
    server.pass(SECOND * 247);
    assert!(server.is_empty());
}

/// RFC 7959 §3.2 figure 9: the server answers with a smaller size, and the client goes on with it.
#[test]
fn a_client_is_told_the_preferred_size_and_may_go_on_with_it_or_not() {
    let sent = body(1024 + 512 + 1);
    for (second, size) in [(block(2, 1, 512), 512), (block(1, 0, 1024), 513)] {
        let mut server = Server::new();
        let first = answer(&mut server, &upload(1, block(0, 1, 1024), &sent[..1024]));
        let expected = (Code::CONTINUE, Some(block(0, 1, 512)), String::new());
        assert_eq!(told(&first, option::BLOCK1), expected);
        let second = upload(2, second, &sent[1024..1024 + size]);
        let (_, request) = if size == 512 {
            answer(&mut server, &second);
            whole(&mut server, &upload(3, block(3, 0, 512), &sent[1536..]))
        } else {
            whole(&mut server, &second)
        };
        assert_eq!(request.payload(), sent);
    }
}

#[test]
fn the_first_block_begins_anew() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 512), &body(512)));
    answer(&mut server, &upload(2, block(1, 1, 512), &body(512)));
    let anew = with_option(
        upload(3, block(0, 1, 512), &[7; 512]),
        option::CONTENT_FORMAT,
        &[60],
    );
    assert_eq!(answer(&mut server, &anew).code, Code::CONTINUE);
    assert_eq!(server.endpoint.transfers(), 1);
    let last = with_option(
        upload(4, block(1, 0, 512), b"x"),
        option::CONTENT_FORMAT,
        &[60],
    );
    let (_, request) = whole(&mut server, &last);
    assert_eq!((request.payload().len(), request.payload()[0]), (513, 7));
    assert_eq!(request.content_format(), Some(60));
}

/// The state is that of a peer, a method and a URI with its query (RFC 7959 §2.5).
#[test]
fn uploads_to_different_targets_do_not_meet() {
    let mut server = Server::new();
    let query = |message| with_option(message, option::URI_QUERY, b"hono-ttd=1");
    let host = |message| with_option(message, option::URI_HOST, b"h");
    let put = |message| Message {
        code: Code::PUT,
        ..message
    };
    let first = |id, byte| upload(id, block(0, 1, 16), &[byte; 16]);
    let last = |id| upload(id, block(1, 0, 16), b"!");
    answer(&mut server, &first(1, b'a'));
    answer(&mut server, &query(first(2, b'b')));
    answer(&mut server, &put(first(3, b'c')));
    answer(&mut server, &host(first(4, b'd')));
    server.receive_from(1, &first(1, b'e').encode().unwrap());
    assert_eq!(server.endpoint.transfers(), 5);
    for (request, byte) in [
        (host(last(8)), b'd'),
        (last(5), b'a'),
        (put(last(6)), b'c'),
        (query(last(7)), b'b'),
    ] {
        assert_eq!(whole(&mut server, &request).1.payload()[..16], [byte; 16]);
    }
    server.receive_from(1, &last(5).encode().unwrap());
    assert_eq!(server.request().unwrap().1.payload()[..16], [b'e'; 16]);
}

#[test]
fn an_upload_is_forgotten_five_minutes_after_its_last_block() {
    for (waits, outcome) in [
        (&[299, 299][..], None),
        (
            &[299, 300][..],
            Some("request block1 offset 32 doesn't match the current position 0!"),
        ),
    ] {
        let mut server = Server::new();
        answer(&mut server, &upload(1, block(0, 1, 16), &[1; 16]));
        server.pass(SECOND * waits[0]);
        answer(&mut server, &upload(2, block(1, 1, 16), &[1; 16]));
        server.pass(SECOND * waits[1]);
        let last = upload(3, block(2, 0, 16), b"x");
        match outcome {
            None => assert_eq!(whole(&mut server, &last).1.payload().len(), 33),
            Some(text) => assert_eq!(told(&answer(&mut server, &last), option::BLOCK1).2, text),
        }
        assert_eq!(server.endpoint.transfers(), 0);
        assert_eq!(
            server.endpoint.statistics().expired_transfers,
            u64::from(outcome.is_some())
        );
    }
}

#[test]
fn an_upload_is_over_even_if_the_timer_is_served_late() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 16), &[1; 16]));
    server.now += SECOND * 300;
    let late = answer(&mut server, &upload(2, block(1, 0, 16), b"x"));
    assert_eq!(late.code, Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn a_repeated_block_is_a_duplicate_and_adds_nothing() {
    let mut server = Server::new();
    let first = upload(1, block(0, 1, 16), &[1; 16]);
    let acknowledged = answer(&mut server, &first);
    assert_eq!(answer(&mut server, &first), acknowledged);
    let last = upload(2, block(1, 0, 16), b"x");
    let (exchange, request) = whole(&mut server, &last);
    assert_eq!(request.payload().len(), 17);
    assert_eq!(answer(&mut server, &first), acknowledged, "late on the way");
    assert_eq!(server.receive(&last.encode().unwrap()), [], "undecided");
    let response = server.respond(exchange, changed());
    assert_eq!(server.receive(&last.encode().unwrap()), response);
    assert_eq!(server.request(), None);
}

#[test]
fn the_answer_to_an_upload_may_come_separately_or_be_an_error() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 16), &[1; 16]));
    let (exchange, _) = whole(&mut server, &upload(2, block(1, 0, 16), b"x"));
    server.acknowledge(exchange);
    let response = server
        .respond(exchange, Response::new(Code::SERVICE_UNAVAILABLE))
        .remove(0);
    assert_eq!(response.kind, Type::Confirmable);
    let expected = (
        Code::SERVICE_UNAVAILABLE,
        Some(block(1, 0, 16)),
        String::new(),
    );
    assert_eq!(told(&response, option::BLOCK1), expected);
}

#[test]
fn non_confirmable_blocks_are_answered_by_non_confirmable_messages() {
    let mut server = Server::new();
    let as_non = |message| Message {
        kind: Type::NonConfirmable,
        ..message
    };
    let sent = server.receive(
        &as_non(upload(1, block(0, 1, 16), &[1; 16]))
            .encode()
            .unwrap(),
    );
    assert_eq!(
        (sent[0].kind, sent[0].code),
        (Type::NonConfirmable, Code::CONTINUE)
    );
    let (_, request) = whole(&mut server, &as_non(upload(2, block(1, 0, 16), b"x")));
    assert_eq!(request.payload().len(), 17);
}

#[test]
fn a_single_block_is_a_whole_request() {
    let mut server = Server::new();
    let (exchange, request) = whole(&mut server, &upload(1, block(0, 0, 64), b"21"));
    assert_eq!(request.payload(), b"21");
    let response = server.respond(exchange, changed()).remove(0);
    assert_eq!(told(&response, option::BLOCK1).1, Some(block(0, 0, 64)));
}

/// RFC 7967: a client that wants to hear of errors only must still be told to go on.
#[test]
fn a_client_that_wants_no_response_is_told_to_continue() {
    let mut server = Server::new();
    let quiet = |message| with_option(message, option::NO_RESPONSE, &[2]);
    let first = answer(&mut server, &quiet(upload(1, block(0, 1, 16), &[1; 16])));
    assert_eq!(first.code, Code::CONTINUE);
    let last = quiet(upload(2, block(1, 0, 16), b"x"));
    let (exchange, _) = whole(&mut server, &last);
    assert_eq!(server.acknowledge(exchange).len(), 1);
    assert_eq!(server.respond(exchange, changed()), []);
}

/// Two uploads that only differ in their Request-Tags became one body, answered 2.04: the option was
/// no part of the key of a transfer (RFC 9175 §3).
#[test]
fn uploads_with_different_request_tags_are_different_uploads() {
    let lists: [&[&[u8]]; 6] = [&[], &[b""], &[b"A"], &[b"B"], &[b"A", b"B"], &[b"AB"]];
    let tagged = |list: &[&[u8]], message| {
        list.iter().fold(message, |message, tag| {
            with_option(message, option::REQUEST_TAG, tag)
        })
    };
    let mut server = Server::new();
    let fill = |number: usize, length| vec![u8::try_from(number).unwrap(); length];
    let mut id = 0;
    let mut next = || {
        id += 1;
        id
    };
    for num in 0..2 {
        for (number, list) in lists.iter().enumerate() {
            let part = upload(next(), block(num, 1, 64), &fill(number, 64));
            let continued = answer(&mut server, &tagged(list, part));
            assert_eq!(continued.code, Code::CONTINUE, "{list:?}");
        }
    }
    assert_eq!(server.endpoint.transfers(), lists.len());
    for (number, list) in lists.iter().enumerate() {
        let last = upload(next(), block(2, 0, 64), &fill(number, 10));
        let (_, request) = whole(&mut server, &tagged(list, last));
        assert_eq!(request.payload(), fill(number, 138), "{list:?}");
    }
}

#[test]
fn a_block_with_the_tag_of_no_upload_is_incomplete() {
    let mut server = Server::new();
    let first = with_option(
        upload(1, block(0, 1, 64), &body(64)),
        option::REQUEST_TAG,
        b"A",
    );
    answer(&mut server, &first);
    let second = with_option(upload(2, block(1, 0, 64), b"x"), option::REQUEST_TAG, b"B");
    let refusal = answer(&mut server, &second);
    assert_eq!(refusal.code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(server.endpoint.transfers(), 1, "the other upload goes on");
}

/// go-coap 3.8 does not scale the block number when it is asked for smaller blocks: it sends the
/// second half of its first block again, and was refused with 4.08.
#[test]
fn a_client_that_does_not_scale_the_block_number_is_served() {
    for (first, then) in [(1024, 512), (1024, 256), (512, 128)] {
        let mut server = Server::with(Config {
            preferred_block_size: BlockSize::at_most(then).unwrap(),
            ..Config::default()
        });
        let sent = body(2000);
        answer(&mut server, &upload(1, block(0, 1, first), &sent[..first]));
        let mut num = 1;
        let request = loop {
            let (begin, end) = (num * then, ((num + 1) * then).min(sent.len()));
            let more = u8::from(end < sent.len());
            let number = u32::try_from(num).unwrap();
            let id = u16::try_from(num).unwrap() + 1;
            let part = upload(id, block(number, more, then), &sent[begin..end]);
            if more == 0 {
                break whole(&mut server, &part).1;
            }
            let confirmed = told(&answer(&mut server, &part), option::BLOCK1);
            let expected = Some(block(number, 1, then));
            assert_eq!(confirmed, (Code::CONTINUE, expected, String::new()));
            num += 1;
        };
        assert_eq!(request.payload(), sent, "{first} {then}");
    }
}

#[test]
fn a_smaller_block_that_says_something_else_ends_the_transfer() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 1024), &body(1024)));
    let other = vec![0xff; 512];
    let refusal = answer(&mut server, &upload(2, block(1, 1, 512), &other));
    assert_eq!(refusal.code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(server.endpoint.transfers(), 0);
}

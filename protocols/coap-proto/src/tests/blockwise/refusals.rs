//! Uploads that are refused (RFC 7959 §2.2, §2.9; spec coap-adapter §8, observed §4).

use super::*;

/// A block that ends a transfer after `position` bytes with Content-Format 50, in blocks of 512.
#[test]
fn a_block_that_does_not_belong_ends_the_transfer() {
    let json = |message| with_option(message, option::CONTENT_FORMAT, &[50]);
    let wrong_offset = |offset| {
        let text =
            format!("request block1 offset {offset} doesn't match the current position 512!");
        (Code::REQUEST_ENTITY_INCOMPLETE, None, text)
    };
    let rows = [
        (
            "gap",
            json(upload(2, block(2, 1, 512), &body(512))),
            wrong_offset(1024),
        ),
        (
            "smaller size",
            json(upload(2, block(1, 0, 256), &body(1))),
            wrong_offset(256),
        ),
        (
            "larger size",
            json(upload(2, block(1, 0, 1024), &body(1))),
            wrong_offset(1024),
        ),
        (
            "far away",
            json(upload(2, block(0xf_ffff, 0, 1024), &body(1))),
            wrong_offset(0xf_ffff * 1024),
        ),
        (
            "short block",
            json(upload(2, block(1, 1, 512), &body(100))),
            (
                Code::REQUEST_ENTITY_INCOMPLETE,
                None,
                "Block1 buffer position 612 doesn't align with blocksize 512!".to_owned(),
            ),
        ),
        (
            "other format",
            with_option(
                upload(2, block(1, 0, 512), b"x"),
                option::CONTENT_FORMAT,
                &[60],
            ),
            (
                Code::REQUEST_ENTITY_INCOMPLETE,
                None,
                "unexpected Content-Format".to_owned(),
            ),
        ),
        (
            "no format",
            upload(2, block(1, 0, 512), b"x"),
            (
                Code::REQUEST_ENTITY_INCOMPLETE,
                None,
                "unexpected Content-Format".to_owned(),
            ),
        ),
    ];
    for (name, second, expected) in rows {
        let mut server = Server::new();
        answer(&mut server, &json(upload(1, block(0, 1, 512), &body(512))));
        let refusal = answer(&mut server, &second);
        assert_eq!(told(&refusal, option::BLOCK1), expected, "{name}");
        assert!(refusal.options.is_empty(), "{name}: a diagnostic payload");
        assert_eq!(server.endpoint.transfers(), 0, "{name}");
        let again = answer(&mut server, &json(upload(3, block(1, 0, 512), b"x")));
        assert_eq!(
            told(&again, option::BLOCK1).2,
            "request block1 offset 512 doesn't match the current position 0!",
            "{name}"
        );
    }
}

#[test]
fn a_body_may_get_as_large_as_allowed_or_announced_and_no_larger() {
    for (size1, max_body, fits) in [
        (None, 2048, 2048),
        (Some(1500), 2048, 1500),
        (Some(0), 2048, 0),
    ] {
        let announce = |message| match size1 {
            Some(size) => with_option(message, option::SIZE1, &crate::message::uint::encode(size)),
            None => message,
        };
        for excess in [0, 1] {
            let mut server = Server::with(Config {
                max_body,
                ..Config::default()
            });
            let sent = body(fits + excess);
            let mut blocks = sent.chunks(512).zip(0..).peekable();
            let mut outcome = None;
            while let Some((payload, num)) = blocks.next() {
                let more = u8::from(blocks.peek().is_some());
                let request = announce(upload(
                    u16::try_from(num).unwrap(),
                    block(num, more, 512),
                    payload,
                ));
                server
                    .endpoint
                    .handle_datagram(server.now, &0, &request.encode().unwrap());
                outcome = server.sent().pop();
            }
            if excess == 0 {
                let received = server
                    .request()
                    .map(|(_, request)| request.payload().to_vec());
                assert_eq!(received.unwrap_or_default(), sent);
                continue;
            }
            let (length, left) = (sent.len() % 512, fits % 512);
            let text = format!("response {length} exceeds the left buffer {left}");
            let refusal = outcome.unwrap();
            assert_eq!(
                told(&refusal, option::BLOCK1),
                (Code::REQUEST_ENTITY_TOO_LARGE, None, text)
            );
            assert!(refusal.options.is_empty());
            assert!(server.request().is_none());
            assert_eq!(server.endpoint.transfers(), 0);
        }
    }
}

#[test]
fn a_body_announced_or_come_as_too_large_is_refused_at_once_with_the_limit() {
    let announced = with_option(
        upload(2, block(1, 1, 512), &body(512)),
        option::SIZE1,
        &[8, 1],
    );
    let undivided = Message {
        payload: body(2049),
        ..con(2)
    };
    let much = with_option(upload(2, block(0, 0, 16), b"x"), option::SIZE1, &[255; 4]);
    for request in [announced, undivided, much] {
        let mut server = Server::new();
        answer(&mut server, &upload(1, block(0, 1, 512), &body(512)));
        let refusal = answer(&mut server, &request);
        assert_eq!(refusal.code, Code::REQUEST_ENTITY_TOO_LARGE);
        assert_eq!(refusal.payload, b"body too large, max. 2048 bytes");
        assert_eq!(
            refusal.options,
            [(option::SIZE1, &[8, 0][..])].into_iter().collect()
        );
        assert_eq!(server.endpoint.statistics().too_large, 1);
    }
    let mut server = Server::new();
    let (_, request) = whole(
        &mut server,
        &Message {
            payload: body(2048),
            ..con(1)
        },
    );
    assert_eq!(request.payload().len(), 2048);
}

/// RFC 7959 §2.2: 7 is reserved; recorded from the reference.
#[test]
fn the_reserved_size_is_refused() {
    for (number, text) in [
        (option::BLOCK1, "Block1 BERT used for UDP!"),
        (option::BLOCK2, "Block2 BERT used for UDP!"),
    ] {
        let mut server = Server::new();
        let refusal = answer(&mut server, &with_option(con(1), number, &[7]));
        assert_eq!(
            told(&refusal, number),
            (Code::BAD_REQUEST, None, text.to_owned())
        );
        let silent = with_option(non(2), number, &[7]);
        assert_eq!(server.receive(&silent.encode().unwrap()), []);
        assert_eq!(server.request(), None);
    }
}

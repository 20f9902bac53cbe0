//! Peers to which only small messages can be sent: DTLS sessions with `max_fragment_length` or
//! `record_size_limit` (RFC 6066 §4, RFC 8449).

use super::*;

/// What a command of Hono takes at most beside its payload, but for the names.
fn command(length: usize, name: usize) -> Response {
    changed()
        .option(
            option::LOCATION_QUERY,
            format!("hono-command={}", "n".repeat(name)),
        )
        .option(option::LOCATION_PATH, b"command_response")
        .option(option::LOCATION_PATH, "t".repeat(name))
        .option(option::LOCATION_PATH, "d".repeat(name))
        .option(option::LOCATION_PATH, "r".repeat(name))
        .option(option::HONO_TIME, [1; 8])
        .content_format(60)
        .payload(body(length))
}

/// Answers a request of a peer with that limit; fetches the rest of the answer in blocks. Tells the
/// first message and the body as the peer puts it together. Nothing may exceed the limit.
fn fetched(limit: usize, request: &Message, response: &Response) -> (Message, Vec<u8>) {
    let mut server = Server::new();
    let give = |server: &mut Server, message: &Message| {
        let datagram = message.encode().unwrap();
        let now = server.now;
        server
            .endpoint
            .handle_datagram_of(now, &0, None, limit, &datagram);
    };
    let receive = |server: &mut Server| {
        let sent = server.endpoint.poll_transmit().expect("an answer");
        assert!(sent.payload.len() <= limit, "{} bytes", sent.payload.len());
        Message::decode(&sent.payload).expect("well-formed")
    };
    give(&mut server, request);
    let (exchange, _) = server.request().expect("a request");
    let (now, endpoint) = (server.now, &server.endpoint);
    let can_send = endpoint.can_send(now, exchange, response);
    server.endpoint.respond(now, exchange, response.clone());
    let first = receive(&mut server);
    assert_eq!(can_send, first.code == response.code, "{limit}");
    let (mut message, mut whole) = (first.clone(), first.payload.clone());
    let mut id = 100;
    while let Some(got) = message
        .options
        .first(option::BLOCK2)
        .and_then(Block::decode)
    {
        if !got.more {
            break;
        }
        let num = u32::try_from(whole.len() / got.size.bytes()).unwrap();
        give(&mut server, &fetch(id, block(num, 0, got.size.bytes())));
        message = receive(&mut server);
        assert_eq!(message.code, first.code);
        whole.extend_from_slice(&message.payload);
        id += 1;
    }
    (first, whole)
}

/// Symptom: a command of 480 bytes and more for a device with a `max_fragment_length` of 512 got
/// lost, and so did the first block of a longer one, while its application heard `accepted`. Cause:
/// blocks were cut without regard to what a record to the device may carry.
#[test]
fn an_answer_fits_the_record_whatever_its_size_and_options() {
    let sizes = [0, 1, 100, 470, 480, 512, 700, 900, 1000, 1024, 1025, 3000];
    for limit in [512, 1024, 2048, 4096, usize::MAX] {
        for size in sizes {
            for name in [0, 10, 60] {
                let response = command(size, name);
                let (first, whole) = fetched(limit, &con(1), &response);
                assert_eq!(first.code, Code::CHANGED, "{limit} {size} {name}");
                assert_eq!(whole, response.payload, "{limit} {size} {name}");
            }
        }
    }
}

/// Blocks are no smaller than they have to be.
#[test]
fn the_largest_block_that_fits_is_chosen() {
    for (limit, size, expected) in [
        (512, 900, 256),
        (1024, 3000, 512),
        (1024, 1020, 512),
        (usize::MAX, 3000, 512),
        (300, 900, 256),
        (250, 900, 128),
        (64, 100, 32),
    ] {
        let response = changed().payload(body(size));
        let (first, _) = fetched(limit, &con(1), &response);
        let (_, got, _) = told(&first, option::BLOCK2);
        assert_eq!(got, Some(block(0, 1, expected)), "{limit} {size}");
    }
    // Room for the whole is used to the last byte: header, token, payload marker.
    let full = changed().payload(body(512 - 4 - 2 - 1));
    assert_eq!(fetched(512, &con(1), &full).0.payload, full.payload);
}

/// A device that begins with a block size of its own (RFC 7959 §2.4) gets that or a smaller one.
#[test]
fn early_negotiation_is_held_to_the_record_too() {
    for (asked, expected) in [(16, 16), (64, 64), (256, 256), (512, 256), (1024, 256)] {
        let response = command(900, 4);
        let request = fetch(1, block(0, 0, asked));
        let (first, whole) = fetched(512, &request, &response);
        let (_, got, _) = told(&first, option::BLOCK2);
        assert_eq!(got, Some(block(0, 1, expected)), "{asked}");
        assert_eq!(whole, response.payload);
    }
}

/// The answer to the last block of an upload confirms it, which takes a few bytes more.
#[test]
fn an_answer_to_an_upload_in_blocks_fits_with_its_confirmation() {
    for length in 480..512 {
        let response = changed().payload(body(length));
        let (first, whole) = fetched(512, &upload(1, block(0, 0, 512), b"x"), &response);
        assert!(first.options.first(option::BLOCK1).is_some());
        assert_eq!(whole, response.payload, "{length}");
    }
}

/// What refuses a request before the caller sees it has a text for people, which is cut.
#[test]
fn the_text_of_a_refusal_is_cut_to_the_record() {
    let mut server = Server::new();
    let request = fetch(1, block(3, 0, 64)).encode().unwrap();
    let (now, limit) = (server.now, 24);
    server
        .endpoint
        .handle_datagram_of(now, &0, None, limit, &request);
    let sent = server.endpoint.poll_transmit().expect("a refusal");
    assert_eq!(sent.payload.len(), limit);
    let answer = Message::decode(&sent.payload).unwrap();
    assert_eq!(answer.code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(answer.payload, b"nothing is kept o");
}

/// Options that fill the record leave no room for any block: the caller can know before it answers.
#[test]
fn an_answer_whose_options_leave_no_room_cannot_be_sent() {
    let response = command(0, 100);
    let (first, _) = fetched(256, &con(1), &response);
    assert_eq!(first.code, Code::INTERNAL_SERVER_ERROR);
    let (first, _) = fetched(512, &con(1), &response);
    assert_eq!(first.code, Code::CHANGED);
}

/// Each of these would lose the answer without a word to the caller.
#[test]
fn an_answer_that_would_not_go_out_cannot_be_sent() {
    let can_send = |config: Config, request: &Message, response: &Response| {
        let mut server = Server::with(config);
        let (exchange, _) = whole(&mut server, request);
        server.endpoint.can_send(server.now, exchange, response)
    };
    let large = changed().payload(body(3000));
    let config = Config::default;
    assert!(can_send(config(), &con(1), &large));
    // No success is wanted (RFC 7967 §2.1); what a CON carries goes out all the same.
    let unwanted = |message| with_option(message, option::NO_RESPONSE, &[2]);
    assert!(!can_send(config(), &unwanted(non(1)), &changed()));
    assert!(can_send(config(), &unwanted(con(1)), &changed()));
    // Nothing can be kept to be asked for.
    let mut tight = config();
    tight.max_block_bytes = 2000;
    assert!(!can_send(tight, &con(1), &large));
    // A response that breaks the format.
    let broken = changed().content_format(1).content_format(2);
    assert!(!can_send(config(), &con(1), &broken));
    // An exchange that is over.
    let mut server = Server::new();
    let exchange = server.accept(&con(1));
    server.respond(exchange, changed());
    let now = server.now;
    assert!(!server.endpoint.can_send(now, exchange, &changed()));
    assert_eq!(server.endpoint.peer_of(exchange), Some(&0));
    server.endpoint.forget_peer(&0);
    assert!(!server.endpoint.can_send(now, exchange, &changed()));
    assert_eq!(server.endpoint.peer_of(exchange), None);
}

/// Message ids of our own run out (RFC 7252 §4.4).
#[test]
fn an_answer_without_a_message_id_cannot_be_sent() {
    let mut server = Server::new();
    for id in 0..=u16::MAX {
        let exchange = server.accept(&non(id));
        assert!(server.endpoint.can_send(server.now, exchange, &changed()));
        assert_eq!(server.respond(exchange, changed()).len(), 1);
    }
    let exchange = server.accept(&non(0));
    assert!(!server.endpoint.can_send(server.now, exchange, &changed()));
    assert_eq!(server.respond(exchange, changed()), []);
}

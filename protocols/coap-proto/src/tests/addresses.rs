//! What is sent to addresses that are not proved (RFC 7252 §11.3, RFC 9175 §2.4).

use super::*;
use crate::block::Block;

/// A server on a port without security.
fn open_server() -> Server {
    let mut server = Server::new();
    server.endpoint.require_address_validation([7; 16]);
    server
}

/// A confirmable request without token and options.
fn bare(code: Code, id: u16) -> Message {
    Message {
        code,
        ..Message::empty(Type::Confirmable, MessageId(id))
    }
}

fn links() -> Response {
    Response::new(Code::CONTENT)
        .content_format(40)
        .payload(vec![b'x'; 58])
}

fn refusal() -> Response {
    Response::new(Code::BAD_REQUEST)
        .content_format(0)
        .payload("content type [null] does not match payload")
}

/// A diagnostic text was up to ten times as long as the request it answered.
#[test]
fn an_error_loses_its_text_where_it_would_be_three_times_the_request() {
    let mut server = open_server();
    let request = with_option(bare(Code::PUT, 1), option::URI_PATH, b"t");
    let exchange = server.accept(&request);
    let [sent] = &server.respond(exchange, refusal())[..] else {
        panic!("one answer");
    };
    assert_eq!((sent.code, &*sent.payload), (Code::BAD_REQUEST, &b""[..]));
    assert_eq!(sent.options.first(option::CONTENT_FORMAT), None);
    assert!(sent.options.first(option::ECHO).is_some());
    assert!(sent.encode().unwrap().len() <= 3 * request.encode().unwrap().len());
    let long = Message {
        payload: body(20),
        ..with_option(bare(Code::PUT, 2), option::URI_PATH, b"t")
    };
    let exchange = server.accept(&long);
    let sent = server.respond(exchange, refusal());
    assert_eq!(
        sent[0].payload,
        refusal().payload,
        "a longer request gets it"
    );
}

#[test]
fn what_the_endpoint_refuses_itself_loses_its_text() {
    for number in [9, 65_001] {
        let mut server = open_server();
        let request = with_option(bare(Code::GET, 1), number, b"");
        let sent = server.receive(&request.encode().unwrap());
        assert_eq!(
            (sent[0].code, &*sent[0].payload),
            (Code::BAD_OPTION, &b""[..])
        );
    }
}

/// RFC 9175 §2.4: 4.01 with Echo, and the answer to a client that sends it back.
#[test]
fn a_long_answer_to_a_get_waits_until_the_address_is_proved() {
    let mut server = open_server();
    let get = |id| with_option(bare(Code::GET, id), option::URI_PATH, b"core");
    let exchange = server.accept(&get(1));
    let sent = server.respond(exchange, links());
    assert_eq!(sent[0].code, Code::UNAUTHORIZED);
    let echo = sent[0].options.first(option::ECHO).unwrap().to_vec();
    for (id, value, expected) in [
        (2, &[0; 8][..], Code::UNAUTHORIZED),
        (3, &echo, Code::CONTENT),
        (4, &[], Code::CONTENT),
    ] {
        let request = match value {
            [] => get(id),
            _ => with_option(get(id), option::ECHO, value),
        };
        let exchange = server.accept(&request);
        let sent = server.respond(exchange, links());
        assert_eq!(sent[0].code, expected, "{id}");
    }
    server.pass(SECOND * 300);
    let exchange = server.accept(&get(5));
    let sent = server.respond(exchange, links());
    assert_eq!(sent[0].code, Code::UNAUTHORIZED, "not proved for ever");
    let request = with_option(get(6), option::ECHO, &echo);
    server
        .endpoint
        .handle_datagram(server.now, &1, &request.encode().unwrap());
    let exchange = server.request().unwrap().0;
    let sent = server.respond(exchange, links());
    assert_eq!(
        sent[0].code,
        Code::UNAUTHORIZED,
        "it proves one address only"
    );
}

#[test]
fn a_large_answer_to_an_upload_is_sent_in_small_blocks() {
    let mut server = open_server();
    let request = |id| Message {
        payload: body(10),
        ..with_option(con(id), option::CONTENT_FORMAT, &[])
    };
    let exchange = server.accept(&request(1));
    let whole = body(100);
    let response = changed().payload(whole.clone());
    let first = server.respond(exchange, response).remove(0);
    let block2 = Block::decode(first.options.first(option::BLOCK2).unwrap()).unwrap();
    assert!(block2.more);
    let mut received = first.payload;
    let mut id = 1;
    while received.len() < whole.len() {
        id += 1;
        let num = u32::try_from(received.len() / block2.size.bytes()).unwrap();
        let next = Block {
            num,
            more: false,
            ..block2
        };
        let ask = with_option(request(id), option::BLOCK2, &next.encode());
        let ask = Message {
            payload: Vec::new(),
            ..ask
        };
        let datagram = ask.encode().unwrap();
        let sent = server.receive(&datagram).remove(0);
        assert!(sent.encode().unwrap().len() <= 3 * datagram.len());
        received.extend_from_slice(&sent.payload);
    }
    assert_eq!(received, whole);
}

/// Without an acknowledgement the same response was sent five times.
#[test]
fn retransmissions_count_as_well() {
    let mut server = open_server();
    let request = with_option(bare(Code::POST, 1), option::URI_PATH, b"telemetry");
    let length = request.encode().unwrap().len();
    let exchange = server.accept(&request);
    let mut sent = server.acknowledge(exchange);
    sent.extend(server.respond(exchange, changed().payload("0123456789012345")));
    assert_eq!(sent.len(), 2);
    sent.extend(
        server
            .pass(SECOND * 100)
            .into_iter()
            .map(|(_, message)| message),
    );
    let bytes: usize = sent.iter().map(|sent| sent.encode().unwrap().len()).sum();
    assert!(bytes <= 3 * length, "{bytes} for {length}");
    assert_eq!(
        server.receive(&request.encode().unwrap()).len(),
        1,
        "repeated with the request"
    );
}

#[test]
fn a_proved_address_gets_all_retransmissions() {
    let mut server = open_server();
    let exchange = server.accept(&with_option(bare(Code::GET, 1), option::URI_PATH, b"core"));
    let sent = server.respond(exchange, links());
    let echo = sent[0].options.first(option::ECHO).unwrap();
    let exchange = server.accept(&with_option(con(2), option::ECHO, echo));
    server.acknowledge(exchange);
    server.respond(exchange, changed().payload(body(500)));
    assert_eq!(server.pass(SECOND * 100).len(), 4);
}

/// Whatever an address sends without proving itself, no answer is longer than three times its
/// request, and all together are not either.
#[test]
fn nothing_is_multiplied_by_more_than_three() {
    arbtest::arbtest(|bytes| {
        let mut server = open_server();
        let (mut received, mut sent) = (0, 0);
        let mut waiting = Vec::new();
        for _ in 0..bytes.arbitrary_len::<[u8; 5]>()? {
            let [id, kind, step, length, block]: [u8; 5] = bytes.arbitrary()?;
            let mut request = Message {
                payload: body(usize::from(length % 40)),
                ..bare(
                    if kind & 1 == 0 { Code::GET } else { Code::POST },
                    u16::from(id % 32),
                )
            };
            if kind & 2 != 0 {
                request.kind = Type::NonConfirmable;
            }
            match kind >> 2 & 7 {
                0 => request.options.push(option::BLOCK2, &[block]),
                1 => request.options.push(option::BLOCK1, &[block]),
                2 => request.options.push(9, &[]),
                3 => request.options.push(option::ECHO, &[block; 8]),
                _ => {}
            }
            let datagram = request.encode().unwrap();
            received += datagram.len();
            server.endpoint.handle_datagram(server.now, &0, &datagram);
            if let Some(Event::Request { exchange, .. }) = server.endpoint.poll_event() {
                waiting.push((exchange, datagram.len()));
            }
            let mut largest = datagram.len();
            if step & 1 == 0 && !waiting.is_empty() {
                let (exchange, length) = waiting.remove(usize::from(step) % waiting.len());
                largest = largest.max(length);
                if step & 2 == 0 {
                    let acknowledgement = server.acknowledge(exchange);
                    sent += acknowledgement
                        .iter()
                        .map(|message| message.encode().unwrap().len())
                        .sum::<usize>();
                }
                let response = match step >> 2 & 3 {
                    0 => changed(),
                    1 => refusal(),
                    2 => links(),
                    _ => changed()
                        .payload(body(300))
                        .option(option::LOCATION_PATH, body(90)),
                };
                server.endpoint.respond(server.now, exchange, response);
            }
            for message in server.sent() {
                let length = message.encode().unwrap().len();
                assert!(length <= 3 * largest, "{length} for {largest}: {message:?}");
                sent += length;
            }
            if step & 32 != 0 {
                let time = SECOND * u32::from(step >> 6);
                let later = server.pass(time);
                sent += later
                    .iter()
                    .map(|(_, sent)| sent.encode().unwrap().len())
                    .sum::<usize>();
                while server.endpoint.poll_event().is_some() {}
            }
            assert!(sent <= 3 * received, "{sent} for {received}");
        }
        Ok(())
    });
}

fn body(length: usize) -> Vec<u8> {
    vec![b'x'; length]
}

//! Uploads and answers in blocks as recorded from the reference adapter, byte for byte.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn case(name: &str) -> Value {
    let cases = "../../tests/vectors/golden/cases";
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), cases, &format!("{name}.json")]
        .iter()
        .collect();
    serde_json::from_slice(&std::fs::read(&path).expect(name)).expect(name)
}

fn bytes(value: &Value) -> Vec<u8> {
    hex(value.as_str().expect("hexadecimal digits"))
}

/// Every datagram, what it is answered with, and what the application received of it.
fn replay(name: &str) {
    let case = case(name);
    let mut server = Server::new();
    for (at, exchange) in case["exchanges"].as_array().expect(name).iter().enumerate() {
        let datagram = bytes(&exchange["request"]["raw_hex"]);
        server.endpoint.handle_datagram(server.now, &0, &datagram);
        let downstream = exchange["downstream"].as_array().expect(name);
        let handed_on = server.request();
        assert_eq!(handed_on.is_some(), !downstream.is_empty(), "{name} {at}");
        if let Some((id, request)) = handed_on {
            assert_eq!(
                request.payload(),
                bytes(&downstream[0]["data"]["binary"]),
                "{name} {at}"
            );
            server.endpoint.respond(server.now, id, changed());
        }
        let sent = server.endpoint.poll_transmit().expect(name).payload;
        assert_eq!(
            *sent,
            bytes(&exchange["response"]["raw_hex"]),
            "{name} {at}"
        );
        assert_eq!(server.endpoint.poll_transmit(), None, "{name} {at}");
    }
}

#[test]
fn uploads_are_answered_as_recorded() {
    for name in [
        "block1-event",
        "block1-ok",
        "block1-restart",
        "block1-size1-too-big",
        "block1-start-in-middle",
        "block1-szx7",
    ] {
        replay(name);
    }
}

#[test]
fn commands_are_cut_as_recorded() {
    for name in ["cmd-1024-body", "cmd-big-body"] {
        let case = case(name);
        let exchange = &case["exchanges"][0];
        let command = case["commands"][0]["command"]["body"].as_str().expect(name);
        let mut response = changed().payload(command);
        for option in exchange["response"]["options"].as_array().expect(name) {
            let number = u16::try_from(option[0].as_u64().expect(name)).expect(name);
            if ![option::BLOCK2, option::SIZE2].contains(&number) {
                response = response.option(number, bytes(&option[2]));
            }
        }
        let mut server = Server::new();
        server.receive(&bytes(&exchange["request"]["raw_hex"]));
        let (id, _) = server.request().expect(name);
        server.endpoint.respond(server.now, id, response);
        let sent = server.endpoint.poll_transmit().expect(name).payload;
        assert_eq!(*sent, bytes(&exchange["response"]["raw_hex"]), "{name}");
    }
}

/// Observed §4: no Size1, body grows over the limit of 2048.
#[test]
fn a_body_that_grows_too_large_is_refused_as_recorded() {
    let mut server = Server::new();
    for num in 0..2 {
        let request = upload(
            1 + u16::try_from(num).unwrap(),
            block(num, 1, 1024),
            &body(1024),
        );
        assert_eq!(answer(&mut server, &request).code, Code::CONTINUE);
    }
    let refusal = answer(&mut server, &upload(3, block(2, 1, 1024), &body(1024)));
    assert_eq!(refusal.code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(refusal.payload, b"response 1024 exceeds the left buffer 0");
    assert!(refusal.options.is_empty());
}

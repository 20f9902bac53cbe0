//! What the reference adapter was recorded to answer, byte for byte.

use super::*;
use crate::FormatErrors;

/// Datagram, and what must come back without the caller's doing.
#[test]
fn what_no_resource_sees_is_answered_as_recorded() {
    let rows = [
        ("reserved class 6", "40c00007", Some("70000007")),
        ("empty with a token", "41000005aa", Some("70000005")),
        ("marker without payload", "40020003b174ff", None),
        ("option delta 15", "4002000af0", None),
        ("token length 9", "49020001000000000000000000", None),
        (
            "unknown critical option",
            "44025c870f2e34e7b1741132e1fcd201ff7b2274223a32317d",
            Some(
                "64825c870f2e34e7ff556e6b6e6f776e20637269746963616c206f7074696f6e203635303033206973206e6f7420737570706f7274656421",
            ),
        ),
        ("ping", "40001234", Some("70001234")),
    ];
    for (name, datagram, answer) in rows {
        let mut server = Server::new();
        server
            .endpoint
            .handle_datagram(server.now, &0, &hex(datagram));
        let sent = server
            .endpoint
            .poll_transmit()
            .map(|transmit| transmit.payload.to_vec());
        assert_eq!(sent, answer.map(hex), "{name}");
        assert_eq!(server.request(), None, "{name}");
    }
}

/// Datagram, response, and what must go out.
#[test]
fn responses_go_out_as_recorded() {
    let no_consumer = Response::new(Code::SERVICE_UNAVAILABLE)
        .max_age(2)
        .content_format(0)
        .payload("no");
    let rows = [
        (
            "telemetry",
            "44025c8f12821317b1741132ff7b2274223a32317d",
            changed(),
            "64445c8f12821317",
        ),
        (
            ".well-known without core",
            "44015c8436a52d51bb2e77656c6c2d6b6e6f776e",
            Response::new(Code::METHOD_NOT_ALLOWED),
            "64855c8436a52d51",
        ),
        (
            "no consumer",
            "44025c8f12821317b174",
            no_consumer,
            "64a35c8f12821317c02102ff6e6f",
        ),
    ];
    for (name, datagram, response, answer) in rows {
        let mut server = Server::new();
        assert_eq!(server.receive(&hex(datagram)), [], "{name}");
        let exchange = server.request().expect(name).0;
        server.endpoint.respond(server.now, exchange, response);
        assert_eq!(
            *server.endpoint.poll_transmit().expect(name).payload,
            hex(answer),
            "{name}"
        );
    }
}

#[test]
fn a_non_confirmable_upload_is_answered_as_recorded_but_for_the_message_id() {
    let mut server = Server::new();
    server.receive(&hex("54025c90ddf81c50b1741132ff7b2274223a32317d"));
    let (exchange, request) = server.request().unwrap();
    assert_eq!(
        (request.content_format(), request.payload()),
        (Some(50), &b"{\"t\":21}"[..])
    );
    server.endpoint.respond(server.now, exchange, changed());
    let sent = server.endpoint.poll_transmit().unwrap().payload;
    assert_eq!(
        (&sent[..2], &sent[4..]),
        (&hex("5444")[..], &hex("ddf81c50")[..])
    );
}

#[test]
fn format_errors_of_confirmable_requests_are_reset_if_so_configured() {
    let config = Config {
        format_errors: FormatErrors::Reset,
        ..Config::default()
    };
    for datagram in ["40020003b174ff", "4002000af0", "49020001000000000000000000"] {
        let mut server = Server::with(config.clone());
        assert_eq!(
            server.receive(&hex(datagram))[0].kind,
            Type::Reset,
            "{datagram}"
        );
    }
}

/// RFC 7252 §4.2, §4.3: confirmable nonsense is reset, any other is ignored.
#[test]
fn messages_for_no_server_are_rejected() {
    let rows = [
        ("response", "40450001", Some("70000001")),
        (
            "response with a format error",
            "40450001f0",
            Some("70000001"),
        ),
        ("class 1", "40210001", Some("70000001")),
        ("class 7", "40e10001", Some("70000001")),
        ("token cut off", "4402000112", Some("70000001")),
        ("version 2", "80020001", None),
        ("three bytes", "400200", None),
        ("nothing", "", None),
        ("empty NON", "50000001", None),
        ("NON response", "50450001", None),
        ("NON class 6", "50c00001", None),
        ("NON with a token cut off", "5402000112", None),
        ("request as ACK", "60020001", None),
        ("request as RST", "70020001", None),
        ("stray ACK", "60000001", None),
        ("stray RST", "70000001", None),
        ("empty ACK with a token", "61000001aa", None),
    ];
    for (name, datagram, answer) in rows {
        let mut server = Server::new();
        let sent = server.receive(&hex(datagram));
        let sent = sent.first().map(|message| message.encode().unwrap());
        assert_eq!(sent, answer.map(hex), "{name}");
        assert_eq!(server.request(), None, "{name}");
        assert!(server.is_empty(), "{name}");
    }
}

//! Options and queries that are too long, too many, no text or no number (RFC 7252 §5.4, spec: coap-adapter §3): what may be left
//! out is left out, what may not is answered 4.02, and both ports go on.

use sandbox::{
    device::{CoapRequest, CoapResponse, Device},
    northbound::{Application, Behaviour, Received},
};

use crate::scene::{
    A_WHILE, CONTENT_FORMAT, SOON, TIME, application, device, is_served, plain, stand, told, values,
};

const IF_MATCH: u16 = 1;
const URI_HOST: u16 = 3;
const ETAG: u16 = 4;
const IF_NONE_MATCH: u16 = 5;
const OBSERVE: u16 = 6;
const URI_PORT: u16 = 7;
const URI_PATH: u16 = 11;
const MAX_AGE: u16 = 14;
const URI_QUERY: u16 = 15;
const HOP_LIMIT: u16 = 16;
const ACCEPT: u16 = 17;
const BLOCK2: u16 = 23;
const BLOCK1: u16 = 27;
const SIZE2: u16 = 28;
const PROXY_URI: u16 = 35;
const PROXY_SCHEME: u16 = 39;
const SIZE1: u16 = 60;
const NO_RESPONSE: u16 = 258;

const LONG: &[u8] = &[b'x'; 256];
const NO_TEXT: &[u8] = &[0xc3, 0x28];
const FULL: [u8; 8] = [0xff; 8];

/// In what way an option is wrong, and what is said of it.
enum Wrong {
    Value,
    Again,
    Unknown,
}

/// Critical options: what is wrong with them is told (RFC 7252 §5.4.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_option_in_a_form_that_is_none_is_a_bad_option() {
    use Wrong::{Again, Unknown, Value};
    let rows: [(u16, &[&[u8]], Wrong); 30] = [
        (URI_PATH, &[LONG], Value),
        (URI_PATH, &[&[b'x'; 1100]], Value),
        (URI_PATH, &[NO_TEXT], Value),
        (URI_PATH, &[b"", &[0xff]], Value),
        (URI_QUERY, &[LONG], Value),
        (URI_QUERY, &[NO_TEXT], Value),
        (URI_QUERY, &[b"hono-ttd=1", b"hono-ttd=\xff"], Value),
        (URI_HOST, &[b""], Value),
        (URI_HOST, &[LONG], Value),
        (URI_HOST, &[b"a", b"b"], Again),
        (URI_PORT, &[&[1, 2, 3]], Value),
        (URI_PORT, &[&[1], &[1]], Again),
        (IF_MATCH, &[&[1; 9]], Value),
        (IF_NONE_MATCH, &[&[1]], Value),
        (IF_NONE_MATCH, &[b"", b""], Again),
        (ACCEPT, &[&[1, 2, 3]], Value),
        (ACCEPT, &[&FULL], Value),
        (ACCEPT, &[&[50], &[50]], Again),
        (BLOCK1, &[&[0; 4]], Value),
        (BLOCK1, &[&FULL], Value),
        (BLOCK1, &[&[0x06], &[0x06]], Again),
        (BLOCK2, &[&[0; 4]], Value),
        (BLOCK2, &[&[0x06], &[0x16]], Again),
        (PROXY_URI, &[b""], Value),
        (PROXY_SCHEME, &[b""], Value),
        (9, &[b"oscore"], Unknown),
        (13, &[b""], Unknown),
        (65_003, &[b"x"], Unknown),
        (65_003, &[b"x", b"x"], Unknown),
        (65_535, &[LONG], Unknown),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for (message_id, (number, given, wrong)) in (0x100..).zip(rows) {
        let name = format!("{number} {given:x?}");
        let text = match wrong {
            Value => format!("Critical option {number} has an invalid value!"),
            Again => format!("Critical option {number} must not be repeated!"),
            Unknown => format!("Unknown critical option {number} is not supported!"),
        };
        for port in &mut ports {
            let request = with(CoapRequest::put("t/T/d").body(0, "x"), number, given);
            let response = port.request(&request, SOON).await.unwrap();
            assert_eq!(told(&response), ("4.02".to_owned(), text.clone()), "{name}");
            assert_eq!(response.options, [], "{name}");
            // Where no acknowledgement is wanted, nothing is said.
            let silent = request.non_confirmable().encode(message_id, b"non");
            port.send_raw(&silent).await.unwrap();
        }
    }
    for port in &mut ports {
        assert_eq!(port.receive(A_WHILE).await.unwrap(), None);
    }
    let proxied = CoapRequest::put("t/T/d")
        .body(0, "x")
        .option(PROXY_URI, b"coap://other/t");
    let response = ports[0].request(&proxied, SOON).await.unwrap();
    assert_eq!(told(&response), ("5.05".to_owned(), String::new()));
    assert_eq!(application.receive(A_WHILE).await, None);
    is_served(&mut ports[0], &mut application, "as ever").await;
    stand.stop().await;
}

/// Hono ignores these critical options, so a device that sends one is served there. RFC 7252 §5.4.1
/// demands 4.02: with OSCORE and EDHOC the payload is encrypted, with Q-Block it is a part of a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn critical_options_that_hono_ignores_are_bad_options() {
    const OSCORE: u16 = 9;
    const Q_BLOCK1: u16 = 19;
    const EDHOC: u16 = 21;
    const Q_BLOCK2: u16 = 31;
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for number in [OSCORE, Q_BLOCK1, EDHOC, Q_BLOCK2] {
        for port in &mut ports {
            let request = CoapRequest::put("t/T/d").body(0, "x").option(number, &[]);
            let response = port.request(&request, SOON).await.unwrap();
            let text = format!("Unknown critical option {number} is not supported!");
            assert_eq!(told(&response), ("4.02".to_owned(), text));
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// Elective options: in a form that is none they count as not there, and so do those that are unknown (RFC 7252 §5.4.1, §5.4.3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_elective_option_in_a_form_that_is_none_is_as_good_as_absent() {
    let octets = "application/octet-stream";
    let text = "text/plain";
    let rows: [(u16, &[&[u8]], &str); 29] = [
        (CONTENT_FORMAT, &[], octets),
        (CONTENT_FORMAT, &[&[0, 0, 50]], octets),
        (CONTENT_FORMAT, &[&FULL], octets),
        (CONTENT_FORMAT, &[b""], text),
        (CONTENT_FORMAT, &[&[0]], text),
        (CONTENT_FORMAT, &[&[0, 50]], "application/json"),
        (CONTENT_FORMAT, &[&[0xff, 0xff]], "unknown/65535"),
        (CONTENT_FORMAT, &[&[50], &[60]], "application/json"),
        (CONTENT_FORMAT, &[&[0, 0, 50], &[60]], octets),
        (ETAG, &[b""], octets),
        (ETAG, &[&[1; 9]], octets),
        (ETAG, &[&[1], &[2], &[3]], octets),
        (OBSERVE, &[b""], octets),
        (OBSERVE, &[&[0xff; 3]], octets),
        (OBSERVE, &[&[0; 4]], octets),
        (OBSERVE, &[&[0], &[0]], octets),
        (MAX_AGE, &[&[0xff; 5]], octets),
        (MAX_AGE, &[&[1], &[2]], octets),
        (HOP_LIMIT, &[&[0]], octets),
        (SIZE1, &[&[0xff; 5]], octets),
        (SIZE1, &[&[1], &[2]], octets),
        (SIZE2, &[&FULL], octets),
        (NO_RESPONSE, &[&[2, 2]], octets),
        (ACCEPT, &[&[0xff, 0xff]], octets),
        (URI_HOST, &[NO_TEXT], octets),
        (IF_MATCH, &[b"", &[1; 8]], octets),
        (2, &[LONG], octets),
        (65_002, &[NO_TEXT, LONG], octets),
        (65_534, &[b""], octets),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for (number, given, content_type) in rows {
        let name = format!("{number} {given:x?}");
        for port in &mut ports {
            let mut request = CoapRequest::put("e/T/d");
            request.payload = b"x".to_vec();
            // An empty body needs a Content-Format, a body none.
            let (response, received) =
                serve(port, &mut application, &with(request, number, given)).await;
            assert_eq!(
                told(&response),
                ("2.04".to_owned(), String::new()),
                "{name}"
            );
            assert_eq!(response.options, [], "{name}");
            let found = &received.sections["properties"]["content-type"]["symbol"];
            assert_eq!(found, content_type, "{name}");
        }
    }
    // The time is asked for by any value.
    for given in [&[&b""[..]][..], &[&FULL], &[&[0; 300]], &[b"x", b"y"]] {
        for port in &mut ports {
            let request = with(CoapRequest::put("t/T/d").body(0, "x"), TIME, given);
            let (response, _) = serve(port, &mut application, &request).await;
            assert_eq!(values(&response, TIME).len(), 1, "{given:x?}");
        }
    }
    stand.stop().await;
}

/// What is no decimal number of 32 bits counts as absent, and of several the last counts: nobody waits then, and nobody is told
/// that somebody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_to_wait_that_is_none_is_as_good_as_absent() {
    let rows: [&[&str]; 24] = [
        &["hono-ttd"],
        &["hono-ttd="],
        &["hono-ttd=x"],
        &["hono-ttd=6O"],
        &["hono-ttd= 60"],
        &["hono-ttd=60 "],
        &["hono-ttd=60s"],
        &["hono-ttd=60.0"],
        &["hono-ttd=6e1"],
        &["hono-ttd=0x3c"],
        &["hono-ttd=60=60"],
        &["hono-ttd=--60"],
        &["hono-ttd=2147483648"],
        &["hono-ttd=-2147483649"],
        &["hono-ttd=4294967296"],
        &["hono-ttd=18446744073709551676"],
        &["hono-ttd=99999999999999999999999999999999999999999999999"],
        &["hono-ttd=-60"],
        &["hono-ttd=0"],
        &["hono-ttd=60", "hono-ttd=x"],
        &["hono-ttd=60", "hono-ttd"],
        &["Hono-Ttd=60"],
        &["hono-ttd =60", "=60", "=", ""],
        &["hono%2Dttd=60"],
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut plain = plain(&stand).await;
    for queries in rows {
        let request = queries
            .iter()
            .fold(CoapRequest::put("e/T/d").body(0, "x"), |request, query| {
                request.query(query)
            });
        let (response, received) = serve(&mut plain, &mut application, &request).await;
        assert_eq!(
            told(&response),
            ("2.04".to_owned(), String::new()),
            "{queries:?}"
        );
        assert!(
            received.application_property("ttd", "int").is_null(),
            "{queries:?}"
        );
    }
    // The last one counts also where it is the good one; a plus is a sign as well.
    for queries in [["hono-ttd=x", "hono-ttd=1"], ["hono-ttd=60", "hono-ttd=+1"]] {
        let request = CoapRequest::put("e/T/d")
            .body(0, "x")
            .query(queries[0])
            .query(queries[1]);
        let (_, received) = serve(&mut plain, &mut application, &request).await;
        assert_eq!(
            received.application_property("ttd", "int"),
            1,
            "{queries:?}"
        );
    }
    stand.stop().await;
}

/// An answer to a command whose status or id is none goes nowhere, and the device is told what was understood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_or_id_that_is_none_is_refused_in_words() {
    let status = [
        (None, "null"),
        (Some(""), "null"),
        (Some("x"), "null"),
        (Some("200.0"), "null"),
        (Some(" 200"), "null"),
        (Some("2147483848"), "null"),
        (Some("4294967496"), "null"),
        (Some("-1"), "-1"),
        (Some("0"), "0"),
        (Some("100"), "100"),
        (Some("199"), "199"),
        (Some("300"), "300"),
        (Some("399"), "399"),
        (Some("600"), "600"),
        (Some("2147483647"), "2147483647"),
    ];
    let ids = [
        "",
        "0",
        "00",
        "0zz",
        "x01cr",
        "-01cr",
        "0+1cr",
        "003cr",
        "0ffcr",
        "00",
        "\u{e9}01cr",
    ];
    let stand = stand().await;
    let mut application = Application::attach(
        stand.amqp(),
        "T",
        &["command_response/T/r"],
        Behaviour::Accept,
    )
    .await
    .unwrap();
    let mut known = device(&stand, "sensor").await;
    let refused = |id: &str, status: &str| {
        let text =
            format!("command-request-id [{id}] or status code [{status}] is missing/invalid");
        ("4.00".to_owned(), text)
    };
    for (status, shown) in status {
        let mut request = CoapRequest::post("cr/001cr").body(0, "x");
        if let Some(status) = status {
            request = request.query(&format!("hono-cmd-status={status}"));
        }
        let response = known.request(&request, SOON).await.unwrap();
        assert_eq!(told(&response), refused("001cr", shown), "{status:?}");
    }
    for id in ids {
        let request = CoapRequest::post(&format!("cr/{id}")).query("hono-cmd-status=200");
        let response = known.request(&request, SOON).await.unwrap();
        assert_eq!(told(&response), refused(id, "200"));
    }
    for path in ["cr", "cr/T/001cr", "cr/T/d/x/001cr"] {
        let request = CoapRequest::post(path).query("hono-cmd-status=200");
        let response = known.request(&request, SOON).await.unwrap();
        assert_eq!(told(&response), refused("null", "200"), "{path}");
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    for status in ["200", "299", "400", "599", "+204"] {
        let request = CoapRequest::post("cr/001cr").query(&format!("hono-cmd-status={status}"));
        let (response, received) = serve(&mut known, &mut application, &request).await;
        assert_eq!(response.code(), "2.04", "{status}");
        let expected: i32 = status.parse().unwrap();
        assert_eq!(received.application_property("status", "int"), expected);
    }
    stand.stop().await;
}

/// Adds an option of that number for each value.
fn with(request: CoapRequest, number: u16, given: &[&[u8]]) -> CoapRequest {
    given
        .iter()
        .fold(request, |request, value| request.option(number, value))
}

async fn serve(
    device: &mut Device,
    application: &mut Application,
    request: &CoapRequest,
) -> (CoapResponse, Received) {
    let response = device.request(request, SOON).await.unwrap();
    let received = application.receive(SOON).await;
    (
        response,
        received.unwrap_or_else(|| panic!("nothing came of {request:?}")),
    )
}

//! What there is on the server, and what is no matter of it, by method and path; and the media types that both sides have names for
//! (spec: coap-adapter §1, §2, §6).

use std::fs;

use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Behaviour, Body, Message, Outcome, command},
};

use crate::scene::{
    A_WHILE, CONTENT_FORMAT, SOON, application, device, plain, stand, told, values, workspace,
};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
/// GET, POST, PUT, DELETE (RFC 7252 §5.8), FETCH, PATCH, iPATCH (RFC 8132), and one that is none.
const METHODS: [u8; 9] = [GET, POST, PUT, 4, 5, 6, 7, 8, 31];
const ACCEPT: u16 = 17;

async fn assert_told(device: &mut Device, request: &CoapRequest, code: &str, text: &str) {
    let response = device.request(request, SOON).await.unwrap();
    let name = format!("{request:?}");
    assert_eq!(
        told(&response),
        (code.to_owned(), text.to_owned()),
        "{name}"
    );
    let format: &[&[u8]] = match (code, text) {
        ("2.05", _) => &[&[40]],
        (_, "") => &[],
        _ => &[&[]],
    };
    assert_eq!(values(&response, CONTENT_FORMAT), format, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_of_every_path_has_its_answer() {
    let nowhere = [
        "",
        "/",
        "c",
        "c/T/d",
        "command",
        "command/T/d",
        "x",
        "T",
        "E",
        "CR",
        "tt",
        "telemetr",
        "Telemetry",
        "events",
        "command_respons",
        "well-known",
        ".well-known/other",
        ".well-known/core/x",
    ];
    let here = [
        "t",
        "telemetry",
        "e",
        "event",
        "cr",
        "command_response",
        "t/T/d",
        "e//d",
        "cr/x",
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    let request = |method, path: &str| {
        let mut request = CoapRequest::new(method, path);
        if path.is_empty() {
            // The root has no segment at all.
            request.options.clear();
        }
        request.payload = b"x".to_vec();
        request
    };
    for port in &mut ports {
        for method in METHODS {
            for path in nowhere {
                assert_told(port, &request(method, path), "4.04", "").await;
            }
            assert_told(port, &request(method, ".well-known"), "4.05", "").await;
            if method != GET {
                assert_told(port, &request(method, ".well-known/core"), "4.05", "").await;
            }
            if ![POST, PUT].contains(&method) {
                for path in here {
                    assert_told(port, &request(method, path), "4.05", "Error Code: 405").await;
                }
            }
        }
        let links = "</command_response>,</cr>,</e>,</event>,</t>,</telemetry>";
        let core = || request(GET, ".well-known/core");
        assert_told(port, &core(), "2.05", links).await;
        for (filter, passed) in [
            ("href=/event", "</event>"),
            ("href=/t*", "</t>,</telemetry>"),
            ("rt=core.rd", ""),
            ("if=x*", ""),
        ] {
            assert_told(port, &core().query(filter), "2.05", passed).await;
        }
        assert_told(port, &core().option(ACCEPT, &[40]), "2.05", links).await;
        assert_told(port, &core().option(ACCEPT, &[50]), "4.06", "").await;
        let two = core().query("rt=x").query("if=y");
        assert_told(port, &two, "4.02", "only one search query is supported!").await;
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// Segments that no resource asks for are passed over, and where a message came to is told as it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_of_its_first_segments() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for path in [
        "t/T/d",
        "telemetry/T/d",
        "e/T/d",
        "event/T/d",
        "t/T/d/x",
        "e/T/d//x/y/",
    ] {
        for port in &mut ports {
            assert_told(port, &CoapRequest::put(path).body(0, "x"), "2.04", "").await;
            let received = application.receive(SOON).await.unwrap();
            let endpoint = if path.starts_with('t') {
                "telemetry"
            } else {
                "event"
            };
            assert_eq!(received.link, format!("{endpoint}/T"), "{path}");
            assert_eq!(
                received.application_property("device_id", "string"),
                "d",
                "{path}"
            );
            let sent_to = received.application_property("orig_address", "string");
            assert_eq!(sent_to, &format!("/{path}"), "{path}");
        }
    }
    for path in ["t", "telemetry", "e", "event", "t/", "e/T/other"] {
        assert_told(
            &mut ports[0],
            &CoapRequest::post(path).body(0, "x"),
            "2.04",
            "",
        )
        .await;
        let received = application.receive(SOON).await.unwrap();
        assert_eq!(
            received.application_property("device_id", "string"),
            "d",
            "{path}"
        );
    }
    stand.stop().await;
}

/// A number going up is a media type, and that media type coming down is the number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_registered_format_has_its_media_type_both_ways() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = plain(&stand).await;
    let table = fs::read_to_string(workspace().join("tests/vectors/content-formats.tsv")).unwrap();
    let mut seen = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (number, media_type) = line.split_once('\t').unwrap();
        let number: u16 = number.parse().unwrap();
        let waiting = CoapRequest::put("e/T/d")
            .body(number, "x")
            .query("hono-ttd=60");
        let (response, ()) = tokio::join!(device.request(&waiting, SOON), async {
            let event = application.receive(SOON).await.unwrap();
            let told = &event.sections["properties"]["content-type"]["symbol"];
            assert_eq!(told, media_type, "{number}");
            let mut order = Message {
                body: Body::Data(b"y".to_vec()),
                ..command("T", "d", "go")
            };
            order.properties.content_type = Some(media_type.to_owned());
            let outcome = application.send_command("T", &order, SOON).await;
            assert_eq!(outcome.unwrap(), Some(Outcome::Accepted), "{number}");
        });
        let response = response.unwrap();
        let bytes = number.to_be_bytes();
        let value: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        assert_eq!(values(&response, CONTENT_FORMAT), [value], "{media_type}");
        seen += 1;
    }
    assert_eq!(seen, 53);
    stand.stop().await;
}

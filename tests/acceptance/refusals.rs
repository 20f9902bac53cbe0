//! What is wrong with a request is told by code and text, in the words of the reference, and nothing goes north.

use std::time::Duration;

use sandbox::{
    device::{CoapRequest, Device, Error},
    northbound::Behaviour,
};

use crate::scene::{
    A_WHILE, CONTENT_FORMAT, SOON, TIME, application, device, is_served, plain, session, stand,
    told, values,
};

const NO_FORMAT: &str = "content type [null] does not match payload";
const EMPTY_WITH_BODY: &str =
    "content type [application/vnd.eclipse-hono-empty-notification] does not match payload";
const UNKNOWN_DEVICE: &str = "device is disabled or not registered";
const NO_PATH: &str = "request URI must contain tenant and device ID";

/// By the port without security (spec: coap-adapter §2, §4, observed §4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_session_only_a_put_with_tenant_and_device_is_taken() {
    let post = |path| CoapRequest::post(path).body(0, "x");
    let put = |path| CoapRequest::put(path).body(0, "x");
    let rows = [
        (
            "POST",
            post("t"),
            "4.01",
            "DTLS session does not contain authenticated Device",
        ),
        (
            "POST with a path",
            post("t/T/d"),
            "4.01",
            "DTLS session does not contain authenticated Device",
        ),
        ("no tenant, no device", put("t"), "4.04", NO_PATH),
        ("no device", put("e/T"), "4.04", NO_PATH),
        ("empty tenant", put("t//d"), "4.04", NO_PATH),
        ("empty device", put("t/T/"), "4.04", NO_PATH),
        ("unknown tenant", put("t/NONE/d"), "4.04", "no such tenant"),
        ("unknown device", put("t/T/none"), "4.04", UNKNOWN_DEVICE),
        ("disabled device", put("t/T/off"), "4.04", UNKNOWN_DEVICE),
        (
            "disabled tenant",
            put("t/OFF/d"),
            "4.03",
            "tenant is disabled or not registered",
        ),
        (
            "adapter not enabled",
            put("t/NO-COAP/d"),
            "4.03",
            "adapter is disabled",
        ),
        (
            "event as NON",
            put("e/T/d").non_confirmable(),
            "4.00",
            "event endpoint supports confirmable request messages only",
        ),
        (
            "nothing at all",
            CoapRequest::put("t/T/d"),
            "4.00",
            NO_FORMAT,
        ),
        (
            "empty with a body",
            put("t/T/d").query("empty"),
            "4.00",
            EMPTY_WITH_BODY,
        ),
        ("another resource", put("x/T/d"), "4.04", ""),
        ("upper case", put("T/T/d"), "4.04", ""),
        ("a command's path", put("c/T/d"), "4.04", ""),
        ("GET", CoapRequest::new(1, "t"), "4.05", "Error Code: 405"),
        (
            "DELETE",
            CoapRequest::new(4, "t/T/d"),
            "4.05",
            "Error Code: 405",
        ),
        (
            "FETCH",
            CoapRequest::new(5, "e").body(0, "x"),
            "4.05",
            "Error Code: 405",
        ),
        (
            "unknown critical option",
            put("t/T/d").option(65_003, b"x"),
            "4.02",
            "Unknown critical option 65003 is not supported!",
        ),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = plain(&stand).await;
    for (name, request, code, text) in rows {
        let response = device.request(&request, SOON).await.expect(name);
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{name}"
        );
        // Text is text/plain, but not that of the message layer; what has no resource has nothing to say.
        let format: &[&[u8]] = if text.is_empty() || code == "4.02" {
            &[]
        } else {
            &[&[]]
        };
        assert_eq!(values(&response, CONTENT_FORMAT), format, "{name}");
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_session_a_device_speaks_for_itself() {
    let put = |path| CoapRequest::put(path).body(0, "x");
    let rows = [
        (
            "no device",
            put("t"),
            "4.04",
            "request URI must contain device ID",
        ),
        (
            "empty device",
            put("t/T/"),
            "4.04",
            "request URI must contain device ID",
        ),
        (
            "another tenant",
            put("t/OTHER/d"),
            "4.03",
            "tenant ID in request URI must match provided credentials",
        ),
        (
            "another device",
            put("t//behind"),
            "4.03",
            "gateway is disabled or not registered",
        ),
        ("an unknown device", put("t//none"), "4.04", UNKNOWN_DEVICE),
        ("itself", put("t//d"), "2.04", ""),
        ("itself in full", put("t/T/d"), "2.04", ""),
        (
            "with segments that mean nothing",
            CoapRequest::post("t/x/y/z").body(0, "x"),
            "2.04",
            "",
        ),
    ];
    let stand = stand().await;
    let _application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = device(&stand, "sensor").await;
    for (name, request, code, text) in rows {
        let response = device.request(&request, SOON).await.expect(name);
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{name}"
        );
    }
    stand.stop().await;
}

/// The key proves who somebody is; whether it may speak is asked at each request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_speak_shakes_hands_and_is_refused() {
    let rows = [
        ("off@T", "4.04", UNKNOWN_DEVICE),
        ("sensor@OFF", "4.03", "tenant is disabled or not registered"),
        ("sensor@NO-COAP", "4.03", "adapter is disabled"),
    ];
    let stand = stand().await;
    for (identity, code, text) in rows {
        let mut device = session(&stand, identity).await;
        let response = device
            .request(&CoapRequest::post("t").body(0, "x"), SOON)
            .await
            .unwrap();
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{identity}"
        );
    }
    stand.stop().await;
}

/// A session ends with the registration of its device, and a key of it opens no other; on the port without security the next
/// message is refused, whatever is cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_taken_away_is_refused_at_once() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    is_served(&mut known, &mut application, "before").await;
    let put = CoapRequest::put("t/T/d").body(0, "x");
    assert_eq!(plain.request(&put, SOON).await.unwrap().code(), "2.04");
    stand.sandbox().world().remove_device("T", "d");
    let ended = known.receive(SOON).await;
    assert!(matches!(ended, Err(Error::Connection { .. })), "{ended:?}");
    let response = plain.request(&put, SOON).await.unwrap();
    assert_eq!(
        told(&response),
        ("4.04".to_owned(), UNKNOWN_DEVICE.to_owned())
    );
    let again = Device::connect(stand.coaps(), "sensor@T", b"k", Duration::from_secs(2)).await;
    assert!(matches!(again, Err(Error::Timeout(_))), "{again:?}");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_is_told_with_success_only() {
    let stand = stand().await;
    let _application = application(&stand, "T", Behaviour::Accept).await;
    let mut device = device(&stand, "sensor").await;
    for ask in [
        CoapRequest::post("t").query("hono-time"),
        CoapRequest::post("t").query("hono-time=no"),
        CoapRequest::post("t").option(TIME, b""),
        CoapRequest::post("t").option(TIME, b"whatever"),
        CoapRequest::post("e").option(TIME, &[0xff; 8]),
    ] {
        let response = device
            .request(&ask.clone().body(0, "x"), SOON)
            .await
            .unwrap();
        assert_eq!(response.code(), "2.04", "{ask:?}");
        assert_eq!(values(&response, TIME).len(), 1, "{ask:?}");
        let response = device.request(&ask, SOON).await.unwrap();
        assert_eq!(
            (told(&response), values(&response, TIME)),
            (("4.00".to_owned(), NO_FORMAT.to_owned()), vec![])
        );
    }
    stand.stop().await;
}

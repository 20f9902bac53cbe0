//! What is looked at first is told first: who sends, then the message itself, then what the registry says
//! (spec: coap-adapter §4, §7).

use sandbox::{
    device::{CoapRequest, Device},
    northbound::Behaviour,
};

use crate::scene::{A_WHILE, SOON, application, device, plain, session, stand, told};

const NO_FORMAT: &str = "content type [null] does not match payload";
const NOT_EMPTY: &str =
    "content type [application/vnd.eclipse-hono-empty-notification] does not match payload";
const EVENT_NON: &str = "event endpoint supports confirmable request messages only";
const RESPONSE_NON: &str = "command response endpoint supports confirmable request messages only";
const NOT_AUTHENTICATED: &str = "DTLS session does not contain authenticated Device";
const FOREIGN: &str = "tenant ID in request URI must match provided credentials";
const TENANT_OFF: &str = "tenant is disabled or not registered";
const NO_DEVICE: &str = "device is disabled or not registered";
const NO_GATEWAY: &str = "gateway is disabled or not registered";
const NO_ADAPTER: &str = "adapter is disabled";

type Row<'a> = (&'a str, CoapRequest, &'a str, &'a str);

async fn assert_told(device: &mut Device, rows: Vec<Row<'_>>) {
    for (name, request, code, text) in rows {
        let response = device.request(&request, SOON).await;
        let response = response.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            told(&response),
            (code.to_owned(), text.to_owned()),
            "{name}"
        );
    }
}

/// Nothing is asked, of whomever, before the message is known to be one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_looked_at_before_anybody_is_asked() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let put = CoapRequest::put;
    let rows = vec![
        (
            "nothing, of a disabled tenant",
            put("t/OFF/d"),
            "4.00",
            NO_FORMAT,
        ),
        (
            "nothing, of an unknown tenant",
            put("e/NONE/d"),
            "4.00",
            NO_FORMAT,
        ),
        (
            "nothing, of an unknown device",
            put("t/T/none"),
            "4.00",
            NO_FORMAT,
        ),
        (
            "a body that is empty",
            put("t/OFF/d").query("empty").body(0, "x"),
            "4.00",
            NOT_EMPTY,
        ),
        (
            "NON, of a disabled tenant",
            put("e/OFF/d").non_confirmable().body(0, "x"),
            "4.00",
            EVENT_NON,
        ),
        (
            "NON before the content",
            put("e/OFF/d").non_confirmable(),
            "4.00",
            EVENT_NON,
        ),
        (
            "a NON answer without id",
            put("cr/OFF/d").non_confirmable(),
            "4.00",
            RESPONSE_NON,
        ),
        (
            "an answer without id, of a disabled tenant",
            put("cr/OFF/d").query("hono-cmd-status=200"),
            "4.00",
            "command-request-id [null] or status code [200] is missing/invalid",
        ),
        (
            "an answer without status, of an unknown tenant",
            put("cr/NONE/d/001cr"),
            "4.00",
            "command-request-id [001cr] or status code [null] is missing/invalid",
        ),
        (
            "an answer of neither, of an unknown device",
            put("cr/T/none/0").query("hono-cmd-status=300"),
            "4.00",
            "command-request-id [0] or status code [300] is missing/invalid",
        ),
    ];
    assert_told(&mut plain(&stand).await, rows).await;
    assert_eq!(asked.try_recv().ok(), None);
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_is_looked_at_before_the_message() {
    let stand = stand().await;
    let mut known = device(&stand, "sensor").await;
    let put = CoapRequest::put;
    let without = "request URI must contain tenant and device ID";
    let rows = vec![
        (
            "no content",
            CoapRequest::post("t"),
            "4.01",
            NOT_AUTHENTICATED,
        ),
        (
            "a NON event",
            CoapRequest::post("e").non_confirmable(),
            "4.01",
            NOT_AUTHENTICATED,
        ),
        (
            "a NON answer",
            CoapRequest::post("cr/0").non_confirmable(),
            "4.01",
            NOT_AUTHENTICATED,
        ),
        ("no device", put("e/T").non_confirmable(), "4.04", without),
        (
            "an answer of no device",
            put("cr/T").non_confirmable(),
            "4.04",
            without,
        ),
    ];
    assert_told(&mut plain(&stand).await, rows).await;
    let rows = vec![
        (
            "another tenant",
            put("e/OTHER/d").non_confirmable(),
            "4.03",
            FOREIGN,
        ),
        (
            "another tenant's answer",
            put("cr/OTHER/d/0").non_confirmable(),
            "4.03",
            FOREIGN,
        ),
        (
            "no device",
            put("t"),
            "4.04",
            "request URI must contain device ID",
        ),
    ];
    assert_told(&mut known, rows).await;
    stand.stop().await;
}

/// A tenant that may not use the adapter is told so, whether there is such a device or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenant_is_looked_at_before_the_device() {
    let stand = stand().await;
    let mut stranger = plain(&stand).await;
    for resource in ["t", "e", "cr"] {
        let end = if resource == "cr" { "/001cr" } else { "" };
        let put = |whose: &str| {
            let request = CoapRequest::put(&format!("{resource}/{whose}{end}"));
            request.body(0, "x").query("hono-cmd-status=200")
        };
        let rows = vec![
            ("unknown tenant", put("NONE/d"), "4.04", "no such tenant"),
            ("disabled tenant", put("OFF/d"), "4.03", TENANT_OFF),
            (
                "disabled tenant, unknown device",
                put("OFF/none"),
                "4.03",
                TENANT_OFF,
            ),
            ("no adapter", put("NO-COAP/d"), "4.03", NO_ADAPTER),
            (
                "no adapter, unknown device",
                put("NO-COAP/none"),
                "4.03",
                NO_ADAPTER,
            ),
            ("unknown device", put("T/none"), "4.04", NO_DEVICE),
            ("disabled device", put("T/off"), "4.04", NO_DEVICE),
        ];
        assert_told(&mut stranger, rows).await;
        let rows = vec![
            ("not its gateway", put("T/d"), "4.03", NO_GATEWAY),
            ("no such device", put("T/none"), "4.04", NO_DEVICE),
        ];
        assert_told(&mut device(&stand, "gw").await, rows).await;
        let rows = vec![(
            "a gateway that is off",
            put("T/behind-off"),
            "4.03",
            NO_GATEWAY,
        )];
        assert_told(&mut device(&stand, "gw-off").await, rows).await;
    }
    let answer = CoapRequest::post("cr/001cr").query("hono-cmd-status=200");
    for (identity, code, text) in [
        ("off@T", "4.04", NO_DEVICE),
        ("sensor@OFF", "4.03", TENANT_OFF),
        ("sensor@NO-COAP", "4.03", NO_ADAPTER),
    ] {
        let mut known = session(&stand, identity).await;
        assert_told(&mut known, vec![(identity, answer.clone(), code, text)]).await;
    }
    stand.stop().await;
}

//! What a tenant may send is limited by what Prometheus says that it has sent (spec: resource-limits).

use acceptance::{
    prometheus::{self, Prometheus},
    stand::{Stand, status},
};
use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour, Body, Message, Outcome, command},
    world::World,
};
use tokio::time::{Instant, sleep};

use crate::{
    metrics::Metrics,
    scene::{
        A_WHILE, CONTENT_FORMAT, LOCATION_QUERY, POLL, SOON, application, session, told, values,
    },
};

/// What `L` may send, and what it has sent.
const LIMIT: u64 = 100;
const CONSUMED: u64 = 90;
const OVER_LIMIT: &str =
    "tenant's accumulated message data volume exceeds configured maximum value";
const SINCE: &str = "\"2020-01-01T00:00:00Z\"";

/// `L` is limited; `M` also counts in steps; of `C` connections are limited, which is no matter of this adapter.
fn world() -> World {
    let volume = format!(
        "data-volume: {{ max-bytes: {LIMIT}, effective-since: {SINCE}, period: {{ mode: days, no-of-days: 36500 }} }}"
    );
    let device = "devices: { d: { credentials: [{ type: psk, auth-id: d, key: k }] } }";
    let text = format!(
        "
tenants:
  L:
    resource-limits: {{ {volume} }}
    {device}
  M:
    minimum-message-size: 64
    {device}
  C:
    resource-limits:
      max-connections: 1
      connection-duration: {{ max-minutes: 1, effective-since: {SINCE} }}
    {device}
"
    );
    World::from_yaml("limits", &text).unwrap()
}

async fn stand(prometheus: &[(&'static str, String)]) -> Stand {
    let mut settings: Vec<(&str, &str)> = prometheus
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    // A tenant is what the registry says now, not what it said before.
    settings.push(("HONO_TENANT_RESPONSECACHEMAXSIZE", "0"));
    Stand::start(world(), &settings).await.unwrap()
}

fn put(path: &str, bytes: usize) -> CoapRequest {
    CoapRequest::put(path).body(0, vec![b'x'; bytes])
}

/// Sends what is too much, until the adapter knows that it is.
async fn until_known(plain: &mut Device) {
    let deadline = Instant::now() + SOON;
    loop {
        let response = plain.request(&put("t/L/d", 1000), SOON).await.unwrap();
        match response.code().as_str() {
            "2.04" => assert!(Instant::now() < deadline, "nothing becomes known"),
            "4.29" => return,
            _ => panic!("{:?}", told(&response)),
        }
        sleep(POLL).await;
    }
}

async fn assert_told(
    device: &mut Device,
    name: &str,
    request: &CoapRequest,
    expected: (&str, &str),
) {
    let response = device.request(request, SOON).await;
    let response = response.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        told(&response),
        (expected.0.to_owned(), expected.1.to_owned()),
        "{name}"
    );
    let format: &[&[u8]] = if expected.1.is_empty() { &[] } else { &[&[]] };
    assert_eq!(values(&response, CONTENT_FORMAT), format, "{name}");
}

/// Uploads and command responses over the limit are refused; what is exactly at it, and what has no body, passes. The session that
/// they come in is not refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_over_the_limit_is_refused() {
    let prometheus = Prometheus::of(CONSUMED).await.unwrap();
    let stand = stand(&prometheus.settings()).await;
    let mut application = Application::attach(
        stand.amqp(),
        "L",
        &["command_response/L/r"],
        Behaviour::Accept,
    )
    .await
    .unwrap();
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    let first = put("t/L/d", 1000);
    assert_told(&mut plain, "before anything is known", &first, ("2.04", "")).await;
    until_known(&mut plain).await;
    while application.receive(A_WHILE).await.is_some() {}

    let mut known = session(&stand, "d@L").await;
    let body = |request: CoapRequest, bytes| request.body(0, vec![b'x'; bytes]);
    let response = || CoapRequest::post("cr/001cr").query("hono-cmd-status=200");
    let over = [
        ("telemetry", body(CoapRequest::post("t"), 11)),
        (
            "NON telemetry",
            body(CoapRequest::post("t"), 11).non_confirmable(),
        ),
        ("event", body(CoapRequest::post("e"), 11)),
        (
            "a device that waits",
            body(CoapRequest::post("e").query("hono-ttd=5"), 11),
        ),
        ("command response", body(response(), 11)),
    ];
    for (name, request) in over {
        assert_told(&mut known, name, &request, ("4.29", OVER_LIMIT)).await;
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    let within = [
        ("at the limit", body(CoapRequest::post("t"), 10), 10),
        ("empty", CoapRequest::post("e").query("empty"), 0),
        ("no body", body(CoapRequest::post("t"), 0), 0),
        ("response at the limit", body(response(), 10), 10),
        ("empty response", response(), 0),
    ];
    for (name, request, bytes) in within {
        assert_told(&mut known, name, &request, ("2.04", "")).await;
        assert_eq!(
            application.receive(SOON).await.unwrap().payload.len(),
            bytes,
            "{name}"
        );
    }
    for query in prometheus.queries() {
        assert!(query.contains("tenant=\"L\""), "{query}");
    }
    stand.stop().await;
}

/// Adapter enabled, then message limit, then registration, whatever comes back first (spec: coap-adapter §4 step 4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenant_s_word_comes_before_its_limit_and_that_before_the_registration() {
    let prometheus = Prometheus::of(CONSUMED).await.unwrap();
    let stand = stand(&prometheus.settings()).await;
    let _application = application(&stand, "L", Behaviour::Accept).await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    until_known(&mut plain).await;
    let unknown = "device is disabled or not registered";
    let change = |members: &str| {
        let members: serde_json::Value = serde_json::from_str(members).unwrap();
        stand.sandbox().world().change(|world| {
            let tenant = world.tenants.get_mut("L").unwrap();
            tenant.members.extend(members.as_object().unwrap().clone());
        });
    };
    let rows = [
        ("{}", 11, "4.29", OVER_LIMIT),
        ("{}", 1, "4.04", unknown),
        (
            r#"{"adapters": [{"type": "hono-http", "enabled": true}]}"#,
            11,
            "4.03",
            "adapter is disabled",
        ),
        (
            r#"{"enabled": false}"#,
            11,
            "4.03",
            "tenant is disabled or not registered",
        ),
    ];
    for (members, bytes, code, text) in rows {
        change(members);
        for path in ["t/L/none", "e/L/none", "cr/L/none/001cr"] {
            let request = put(path, bytes).query("hono-cmd-status=200");
            let name = format!("{path} {members}");
            assert_told(&mut plain, &name, &request, (code, text)).await;
        }
    }
    stand.stop().await;
}

async fn give(application: &Application, bytes: usize) -> Option<Outcome> {
    let order = Message {
        body: Body::Data(vec![b'c'; bytes]),
        ..command("L", "d", "go")
    };
    application.send_command("L", &order, SOON).await.unwrap()
}

/// The device waits no longer for a command that its tenant may not have, and the application learns why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_over_the_limit_is_rejected_and_the_device_gets_none() {
    let prometheus = Prometheus::of(CONSUMED).await.unwrap();
    let stand = stand(&prometheus.settings()).await;
    let mut application = application(&stand, "L", Behaviour::Accept).await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    until_known(&mut plain).await;
    while application.receive(A_WHILE).await.is_some() {}
    for (bytes, name) in [
        (10, Some("hono-command=go")),
        (11, None),
        (0, Some("hono-command=go")),
    ] {
        let waiting = CoapRequest::put("e/L/d")
            .query("empty")
            .query("hono-ttd=60");
        let (response, outcome) = tokio::join!(plain.request(&waiting, SOON), async {
            application.receive(SOON).await.unwrap();
            give(&application, bytes).await
        });
        let response = response.unwrap();
        assert_eq!(response.code(), "2.04", "{bytes}");
        let told = values(&response, LOCATION_QUERY);
        let named: Vec<&[u8]> = name.iter().map(|name: &&str| name.as_bytes()).collect();
        assert_eq!(told, named, "{bytes}");
        let expected = match name {
            Some(_) => Outcome::Accepted,
            None => Outcome::Rejected {
                condition: Some("hono:bad-request".to_owned()),
                description: Some(OVER_LIMIT.to_owned()),
            },
        };
        assert_eq!(outcome, Some(expected), "{bytes}");
        assert_eq!(
            response.payload.len(),
            if name.is_some() { bytes } else { 0 }
        );
    }
    let metrics = Metrics::of(&stand).await;
    let commands = |status| {
        metrics.sum(
            "hono_command_payload_bytes_sum",
            &[("tenant", "L"), ("status", status)],
        )
    };
    assert_eq!(
        [commands("forwarded"), commands("unprocessable")],
        [10.0, 11.0]
    );
    stand.stop().await;
}

/// What is counted is what is limited: refused messages too, those that the network did not take not (spec: resource-limits §3, §6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_that_prometheus_is_asked_about_count_refused_messages_in_the_tenant_s_steps() {
    let prometheus = Prometheus::of(CONSUMED).await.unwrap();
    let stand = stand(&prometheus.settings()).await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    let of_m = put("t/M/d", 65);
    assert_told(
        &mut plain,
        "nobody listens",
        &of_m,
        ("5.03", "no consumer available"),
    )
    .await;
    let mut of_m_application = application(&stand, "M", Behaviour::Accept).await;
    for bytes in [1, 64, 65] {
        assert_told(&mut plain, "M", &put("e/M/d", bytes), ("2.04", "")).await;
        assert!(of_m_application.receive(SOON).await.is_some());
    }
    assert_told(
        &mut plain,
        "empty",
        &CoapRequest::put("e/M/d").query("empty"),
        ("2.04", ""),
    )
    .await;
    assert_told(
        &mut plain,
        "unknown",
        &put("e/M/none", 3),
        ("4.04", "device is disabled or not registered"),
    )
    .await;
    let _of_l = application(&stand, "L", Behaviour::Accept).await;
    until_known(&mut plain).await;

    let metrics = Metrics::of(&stand).await;
    let bytes = |tenant, status| {
        metrics.sum(
            "hono_telemetry_payload_bytes_sum",
            &[("tenant", tenant), ("status", status)],
        )
    };
    assert_eq!(bytes("M", "forwarded"), 64.0 + 64.0 + 128.0 + 0.0);
    assert_eq!(bytes("M", "undeliverable"), 128.0);
    assert_eq!(bytes("M", "unprocessable"), 64.0);
    assert_eq!(bytes("L", "unprocessable"), 1000.0, "refused with 4.29");
    let asked = prometheus.queries();
    let query = asked.first().unwrap();
    for metric in [
        "hono_telemetry_payload_bytes_sum",
        "hono_command_payload_bytes_sum",
    ] {
        let counted =
            format!("increase({metric}{{status=~\"forwarded|unprocessable\", tenant=\"L\"}} [");
        assert!(query.contains(&counted), "{query}");
    }
    stand.stop().await;
}

/// Without anything known everything passes, and the adapter stays ready; when Prometheus is there again, its word counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_prometheus_fails_everything_passes_and_the_adapter_is_ready() {
    let prometheus = Prometheus::of(CONSUMED).await.unwrap();
    prometheus.fail(503);
    let stand = stand(&prometheus.settings()).await;
    let _application = application(&stand, "L", Behaviour::Accept).await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    let deadline = Instant::now() + SOON;
    while prometheus.queries().len() < 2 {
        assert_told(&mut plain, "unknown", &put("t/L/d", 1000), ("2.04", "")).await;
        assert!(Instant::now() < deadline, "it is not asked again");
    }
    let ready = status(stand.app().health_address(), "/readiness").await;
    assert_eq!(ready.unwrap(), 200);
    prometheus.fail(200);
    until_known(&mut plain).await;
    stand.stop().await;

    let nobody = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let stand = self::stand(&prometheus::settings(port)).await;
    let _application = application(&stand, "L", Behaviour::Accept).await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    for resource in ["t/L/d", "e/L/d"] {
        assert_told(&mut plain, "nobody", &put(resource, 1000), ("2.04", "")).await;
    }
    let ready = status(stand.app().health_address(), "/readiness").await;
    assert_eq!(ready.unwrap(), 200);
    stand.stop().await;
}

/// How many may be connected, and how long, is a matter of adapters with connections: it is neither looked at nor asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_connections_limit_nothing() {
    let prometheus = Prometheus::of(u64::MAX / 2).await.unwrap();
    let stand = stand(&prometheus.settings()).await;
    let mut application = application(&stand, "C", Behaviour::Accept).await;
    let mut devices = [session(&stand, "d@C").await, session(&stand, "d@C").await];
    for device in &mut devices {
        let request = CoapRequest::post("t").body(0, "x");
        assert_told(device, "a session of several", &request, ("2.04", "")).await;
        assert!(application.receive(SOON).await.is_some());
    }
    assert_eq!(prometheus.queries(), Vec::<String>::new());
    stand.stop().await;
}

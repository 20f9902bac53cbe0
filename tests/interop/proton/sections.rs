//! Compares the messages that qpid-proton receives with those of Hono, written by hand (spec:
//! observed §1).

use std::time::SystemTime;

use acceptance::{
    golden::{Moment, differences, message},
    stand::Stand,
};
use sandbox::{
    device::{CoapRequest, Device},
    world::World,
};
use serde_json::{Value, json};

use super::{Consumer, SOON};
use crate::Outcome;

/// Devices with and without defaults, a gateway.
const WORLD: &str = r#"
tenants:
  T:
    defaults: { ttl: 45, importance: high, floor: 3, active: true }
    resource-limits: { max-ttl: 20 }
    devices:
      d: { credentials: [{ type: psk, auth-id: d, key: k }] }
      own: { defaults: { content-type: application/vnd.acme+json, ttl: 7, importance: low }, credentials: [{ type: psk, auth-id: own, key: k }] }
  U:
    devices:
      d: { credentials: [{ type: psk, auth-id: d, key: k }] }
      gw: { credentials: [{ type: psk, auth-id: gw, key: k }] }
      behind: { via: [gw] }
"#;

/// A request, who sends it, and what of the message it decides.
struct Row {
    tenant: &'static str,
    device: &'static str,
    request: CoapRequest,
    message: Expected,
}

#[derive(Clone)]
struct Expected {
    endpoint: &'static str,
    device: &'static str,
    address: &'static str,
    qos: i32,
    content_type: &'static str,
    /// `ttl` of the header, in milliseconds.
    ttl: Option<u32>,
    /// What the registry's defaults add to the application properties.
    defaults: Value,
    body: &'static str,
}

fn rows() -> Vec<Row> {
    let tenant_defaults =
        json!({"importance": {"string": "high"}, "floor": {"int": 3}, "active": {"boolean": true}});
    let device_defaults =
        json!({"importance": {"string": "low"}, "floor": {"int": 3}, "active": {"boolean": true}});
    let plain = Expected {
        endpoint: "telemetry",
        device: "d",
        address: "/t",
        qos: 1,
        content_type: "application/json",
        ttl: None,
        defaults: json!({}),
        body: "{}",
    };
    let row = |tenant, device, request, message| Row {
        tenant,
        device,
        request,
        message,
    };
    let json = |request: CoapRequest| request.body(50, "{}");
    vec![
        row(
            "U",
            "d",
            json(CoapRequest::post("t")),
            Expected { ..plain.clone() },
        ),
        row(
            "U",
            "d",
            json(CoapRequest::post("t")).non_confirmable(),
            Expected {
                qos: 0,
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            json(CoapRequest::post("telemetry").query("foo=bar")),
            Expected {
                address: "/telemetry",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            json(CoapRequest::post("event")),
            Expected {
                endpoint: "event",
                address: "/event",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "gw",
            json(CoapRequest::put("e//behind")),
            Expected {
                endpoint: "event",
                device: "behind",
                address: "/e//behind",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "gw",
            json(CoapRequest::post("t/")),
            Expected {
                device: "gw",
                address: "/t/",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            CoapRequest::post("t").body(65_000, "x"),
            Expected {
                content_type: "unknown/65000",
                body: "x",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            without_format("x"),
            Expected {
                content_type: "application/octet-stream",
                body: "x",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            CoapRequest::post("t").body(60, ""),
            Expected {
                content_type: "application/cbor",
                body: "",
                ..plain.clone()
            },
        ),
        row(
            "U",
            "d",
            CoapRequest::post("t").query("empty"),
            Expected {
                content_type: "application/vnd.eclipse-hono-empty-notification",
                body: "",
                ..plain.clone()
            },
        ),
        row(
            "T",
            "d",
            json(CoapRequest::post("t")),
            Expected {
                ttl: Some(45_000),
                defaults: tenant_defaults.clone(),
                ..plain.clone()
            },
        ),
        row(
            "T",
            "d",
            json(CoapRequest::post("e")),
            Expected {
                endpoint: "event",
                address: "/e",
                ttl: Some(20_000),
                defaults: tenant_defaults,
                ..plain.clone()
            },
        ),
        row(
            "T",
            "own",
            without_format("x"),
            Expected {
                device: "own",
                content_type: "application/vnd.acme+json",
                ttl: Some(7000),
                defaults: device_defaults,
                body: "x",
                ..plain
            },
        ),
    ]
}

fn without_format(body: &str) -> CoapRequest {
    let mut request = CoapRequest::post("t");
    request.payload = body.as_bytes().to_vec();
    request
}

pub(super) async fn telemetry_and_events() -> Outcome {
    let world = World::from_yaml("sections", WORLD).map_err(|problems| format!("{problems:?}"))?;
    let stand = Stand::start(world, &[])
        .await
        .map_err(|error| error.to_string())?;
    let addresses = ["telemetry/T", "event/T", "telemetry/U", "event/U"];
    let mut consumer = Consumer::attach(stand.amqp(), "accept", &addresses).await?;
    for (number, row) in rows().into_iter().enumerate() {
        let since = Moment::Since(SystemTime::now());
        let failed = |error: sandbox::device::Error| format!("row {number}: {error}");
        let identity = format!("{}@{}", row.device, row.tenant);
        let mut device = Device::connect(stand.coaps(), &identity, b"k", SOON)
            .await
            .map_err(failed)?;
        let response = device.request(&row.request, SOON).await.map_err(failed)?;
        if response.code() != "2.04" {
            return Err(format!(
                "row {number}: {} {}",
                response.code(),
                String::from_utf8_lossy(&response.payload)
            ));
        }
        let printed = consumer
            .receive(SOON)
            .await?
            .ok_or(format!("row {number}: nothing arrived"))?;
        let link = printed["link"].as_str().unwrap_or_default().to_owned();
        let settled = printed["sender_settled"].as_bool().unwrap_or_default();
        let lines = differences(
            &row.message.sections(row.tenant),
            &message::received(&link, settled, &printed, since),
        );
        if !lines.is_empty() {
            return Err(format!(
                "row {number}: - as it should be, + as it came\n{}",
                lines.join("\n")
            ));
        }
        device.close().await;
    }
    consumer.detach().await;
    stand.stop().await;
    Ok(())
}

impl Expected {
    /// In the form in which messages are compared.
    fn sections(&self, tenant: &str) -> Value {
        let (device, link) = (self.device, format!("{}/{tenant}", self.endpoint));
        let digits: String = self
            .body
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut sections = json!({
            "link": link,
            "sender_settled": false,
            "message-annotations": {
                "tenant_id": {"string": tenant},
                "device_id": {"string": device},
                "resource": {"string": format!("{link}/{device}")},
                "x-opt-trace-context": {"map": "trace context"},
            },
            "properties": {
                "message-id": {"string": "any"},
                "to": {"string": link},
                "content-type": {"symbol": self.content_type},
                "creation-time": {"timestamp": "now"},
            },
            "application-properties": {
                "orig_adapter": {"string": "hono-coap"},
                "orig_address": {"string": self.address},
                "device_id": {"string": device},
                "qos": {"int": self.qos},
            },
            "data": {"binary": digits},
            "order": ["message-annotations", "properties", "application-properties", "data"],
        });
        for (name, value) in self.defaults.as_object().into_iter().flatten() {
            sections["application-properties"][name] = value.clone();
        }
        let mut header = json!({});
        if self.endpoint == "event" {
            header["durable"] = json!({"boolean": true});
        }
        if let Some(ttl) = self.ttl {
            header["ttl"] = json!({"uint": ttl});
        }
        if header != json!({}) {
            sections["header"] = header;
            sections["order"] = json!([
                "header",
                "message-annotations",
                "properties",
                "application-properties",
                "data"
            ]);
        }
        sections
    }
}

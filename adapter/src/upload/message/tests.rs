//! A row for each line of the table of spec amqp-messages §2, as far as the recorded exchanges do not show it.

use std::borrow::Cow;

use serde_json::json;

use super::*;
use crate::authn::Authenticated;

const SETTINGS: Settings = Settings {
    defaults: Defaulting::Enabled,
    jms_vendor_properties: JmsVendorProperties::Omitted,
    trace_format: TraceFormat::Annotation,
    sampler: None,
};

fn message(endpoint: Endpoint, settings: Settings, content_type: Option<&'static str>) -> Message {
    let tenant = json!({
        "tenant-id": "T",
        "defaults": {"ttl": 45, "importance": "high", "content-encoding": "gzip", "device_id": "forged", "x-opt-retain": true},
        "resource-limits": {"max-ttl": 20},
    });
    let assertion = json!({"device-id": "D", "defaults": {"importance": "low", "ttd": 7}});
    let path = ["t".to_owned(), String::new(), "D".to_owned()];
    let upload = Upload {
        endpoint,
        reliability: Reliability::Confirmable,
        path: &path,
        content_type: content_type.map(Cow::Borrowed),
        payload: b"21",
        holder: fair_share::HolderHasher::default().holder(&"T", &"D"),
    };
    let origin = Origin {
        tenant: "T".into(),
        device: "D".into(),
        gateway: Some("gw".into()),
        auth_id: None,
        authenticated: Authenticated::Yes,
    };
    let tenant = Tenant::from_json(tenant.to_string().as_bytes()).unwrap();
    let assertion = Assertion::from_json(assertion.to_string().as_bytes()).unwrap();
    let stamp = Stamps::new("i".to_owned()).next(UNIX_EPOCH);
    of_upload(
        &upload,
        &tenant,
        &assertion,
        &origin,
        Some(5),
        settings,
        stamp,
    )
}

fn property<'a>(message: &'a Message, name: &str) -> Vec<&'a Value> {
    let all = message.application_properties.iter();
    all.filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn what_the_message_says_wins_over_the_device_and_that_over_the_tenant() {
    let message = message(Endpoint::Event, SETTINGS, Some("application/json"));
    assert_eq!(property(&message, "importance"), [&Value::from("low")]);
    assert_eq!(property(&message, "device_id"), [&Value::from("D")]);
    assert_eq!(property(&message, "ttd"), [&Value::Int(5)]);
    assert_eq!(property(&message, "orig_address"), [&Value::from("/t//D")]);
    assert_eq!(
        message.properties.content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(message.properties.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(message.annotation("x-opt-retain"), Some(&Value::Bool(true)));
}

#[test]
fn an_event_is_durable_and_telemetry_is_not() {
    let seconds = std::time::Duration::from_secs;
    let event = message(Endpoint::Event, SETTINGS, None).header;
    assert_eq!(
        event,
        Header {
            durable: true,
            ttl: Some(seconds(20))
        }
    );
    let telemetry = message(Endpoint::Telemetry, SETTINGS, None).header;
    assert_eq!(
        telemetry,
        Header {
            durable: false,
            ttl: Some(seconds(45))
        }
    );
}

#[test]
fn without_defaults_only_the_message_speaks() {
    let settings = Settings {
        defaults: Defaulting::Disabled,
        ..SETTINGS
    };
    let message = message(Endpoint::Telemetry, settings, None);
    assert_eq!(
        message.properties.content_type.as_deref(),
        Some(OCTET_STREAM)
    );
    assert_eq!(
        (message.header, message.properties.content_encoding.as_ref()),
        (Header::default(), None)
    );
    let names: Vec<_> = message
        .application_properties
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["orig_adapter", "qos", "device_id", "orig_address", "ttd"]
    );
}

#[test]
fn vendor_properties_mirror_the_fields_that_are_set() {
    let settings = Settings {
        jms_vendor_properties: JmsVendorProperties::Sent,
        ..SETTINGS
    };
    let message = message(Endpoint::Event, settings, Some("text/plain"));
    assert_eq!(
        property(&message, "JMS_AMQP_CONTENT_TYPE"),
        [&Value::from("text/plain")]
    );
    assert_eq!(
        property(&message, "JMS_AMQP_CONTENT_ENCODING"),
        [&Value::from("gzip")]
    );
}

#[test]
fn the_place_in_a_trace_is_told_in_one_form_or_the_other() {
    let legacy = message(Endpoint::Event, SETTINGS, None);
    assert!(
        matches!(legacy.annotation("x-opt-trace-context"), Some(Value::Map(entries)) if entries.len() == 1)
    );
    assert!(property(&legacy, "traceparent").is_empty());
    let settings = Settings {
        trace_format: TraceFormat::ApplicationProperty,
        ..SETTINGS
    };
    let modern = message(Endpoint::Event, settings, None);
    assert_eq!(modern.annotation("x-opt-trace-context"), None);
    assert_eq!(property(&modern, "traceparent").len(), 1);
}

#[test]
fn no_two_messages_have_one_id() {
    let stamps = Stamps::new("i".to_owned());
    assert_ne!(
        stamps.next(UNIX_EPOCH).message_id,
        stamps.next(UNIX_EPOCH).message_id
    );
}

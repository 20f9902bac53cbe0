use std::time::{Duration, Instant};

use amqp_proto::Message;
use fe2o3_amqp_types::{
    messaging::{
        AmqpSequence, AmqpValue, ApplicationProperties, Data, Header, MessageAnnotations,
        MessageId, Properties,
    },
    primitives::{Binary, Symbol},
};
use serde_amqp::Value;
use serde_json::json;

use super::{CommandRouter, Decision, Rejection, consumers::NotRegistered};
use crate::{
    amqp::{frame::encode, sections::Sections},
    registry::Body,
    world::World,
};

const WORLD: &str = "
tenants:
  T:
    devices:
      d: {}
      off: {enabled: false}
      one: {via: [gw-1]}
      many: {via: [gw-1, gw-2], viaGroups: [g]}
      gw-1: {}
      gw-2: {}
      gw-3: {memberOf: [g]}
  U: {devices: {d: {}}}
";

fn world() -> World {
    World::from_yaml("w", WORLD).unwrap()
}

/// Properties of a request/response command that is as it has to be.
fn request() -> Properties {
    Properties {
        message_id: Some("m".to_owned().into()),
        to: Some("command/T/d".to_owned()),
        subject: Some("setLight".to_owned()),
        reply_to: Some("command_response/T/r/1".to_owned()),
        correlation_id: Some("c".to_owned().into()),
        ..Properties::default()
    }
}

fn message(properties: &Properties) -> Vec<u8> {
    [
        encode(properties),
        encode(&Data(Binary::from(b"on".to_vec()))),
    ]
    .concat()
}

fn to(device: &str) -> Vec<u8> {
    message(&Properties {
        to: Some(format!("command/T/{device}")),
        ..request()
    })
}

#[test]
fn a_command_that_is_not_as_it_has_to_be_is_rejected_and_the_application_is_told_why() {
    let now = Instant::now();
    let mut router = CommandRouter::default();
    for device in ["d", "off", "unknown"] {
        router
            .consumers
            .register("T", device, "a", None, now)
            .unwrap();
    }
    let with = |change: &dyn Fn(&mut Properties)| {
        let mut properties = request();
        change(&mut properties);
        message(&properties)
    };
    let to = |text: &str| with(&|it| it.to = Some(text.to_owned()));
    let reply_to = |text: &str| with(&|it| it.reply_to = Some(text.to_owned()));
    let body = |bodies: &[Vec<u8>]| [encode(&request()), bodies.concat()].concat();
    let bytes = || Binary::from(b"on".to_vec());
    let rejected = |rejection| Some(rejection);
    let rows = [
        ("none missing", message(&request()), None),
        ("extra parts of `to`", to("command/T/d/x/y"), None),
        (
            "no `to`",
            with(&|it| it.to = None),
            rejected(Rejection::Address),
        ),
        ("empty `to`", to(""), rejected(Rejection::Address)),
        (
            "`to` begins with a slash",
            to("/command/T/d"),
            rejected(Rejection::Address),
        ),
        (
            "another tenant",
            to("command/U/d"),
            rejected(Rejection::Tenant),
        ),
        ("no tenant", to("command"), rejected(Rejection::Tenant)),
        ("no device", to("command/T"), rejected(Rejection::Device)),
        (
            "empty device",
            to("command/T/"),
            rejected(Rejection::Device),
        ),
        (
            "another endpoint",
            to("event/T/d"),
            rejected(Rejection::Malformed),
        ),
        (
            "no subject",
            with(&|it| it.subject = None),
            rejected(Rejection::Malformed),
        ),
        (
            "empty subject",
            with(&|it| it.subject = Some(String::new())),
            rejected(Rejection::Malformed),
        ),
        (
            "message id for correlation",
            with(&|it| it.correlation_id = None),
            None,
        ),
        (
            "no id at all",
            with(&|it| (it.correlation_id, it.message_id) = (None, None)),
            rejected(Rejection::Malformed),
        ),
        (
            "no id, one-way",
            with(&|it| (it.correlation_id, it.message_id, it.reply_to) = (None, None, None)),
            None,
        ),
        (
            "a number for correlation",
            with(&|it| it.correlation_id = Some(MessageId::Ulong(7))),
            rejected(Rejection::Malformed),
        ),
        (
            "a number for message id, unused",
            with(&|it| it.message_id = Some(MessageId::Ulong(7))),
            None,
        ),
        (
            "reply to nonsense",
            reply_to("nonsense/x"),
            rejected(Rejection::Malformed),
        ),
        (
            "reply to nothing",
            reply_to(""),
            rejected(Rejection::Malformed),
        ),
        (
            "reply to another tenant",
            reply_to("command_response/U/r"),
            rejected(Rejection::Malformed),
        ),
        (
            "reply to a longer tenant",
            reply_to("command_response/TT/r"),
            rejected(Rejection::Malformed),
        ),
        (
            "reply without id",
            reply_to("command_response/T/"),
            rejected(Rejection::Malformed),
        ),
        ("no body", body(&[]), None),
        ("text", body(&[encode(&AmqpValue("on".to_owned()))]), None),
        ("binary value", body(&[encode(&AmqpValue(bytes()))]), None),
        (
            "null",
            body(&[encode(&AmqpValue(Value::Null))]),
            rejected(Rejection::Malformed),
        ),
        (
            "number",
            body(&[encode(&AmqpValue(1))]),
            rejected(Rejection::Malformed),
        ),
        (
            "sequence",
            body(&[encode(&AmqpSequence(vec![1]))]),
            rejected(Rejection::Malformed),
        ),
        (
            "two kinds of body",
            body(&[encode(&Data(bytes())), encode(&AmqpValue("on".to_owned()))]),
            rejected(Rejection::Malformed),
        ),
        (
            "no message",
            vec![0xff, 0x00],
            rejected(Rejection::Malformed),
        ),
        ("nothing", Vec::new(), rejected(Rejection::Address)),
        (
            "unknown device",
            to("command/T/none"),
            rejected(Rejection::UnknownDevice),
        ),
        (
            "disabled device",
            to("command/T/off"),
            rejected(Rejection::UnknownDevice),
        ),
    ];
    for (name, message, expected) in rows {
        match (router.route(&world(), "T", &message, now), expected) {
            (Decision::Forward { .. }, None) => {}
            (Decision::Reject(rejection), Some(expected)) => {
                assert_eq!(rejection, expected, "{name}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
    let unknown = router.route(&World::empty(), "T", &message(&request()), now);
    assert_eq!(unknown, Decision::Reject(Rejection::UnknownTenant));
}

/// Who waits, the last known gateway, the device; then the instance and the gateway.
type Row<'a> = (
    &'a [&'a str],
    Option<&'a str>,
    &'a str,
    Option<(&'a str, Option<&'a str>)>,
);

#[test]
fn the_target_is_the_device_itself_or_else_a_gateway_that_waits() {
    let now = Instant::now();
    let rows: [Row<'_>; 12] = [
        (&[], None, "d", None),
        (&["d"], None, "d", Some(("at-d", None))),
        (&["gw-1"], None, "d", None),
        (&["gw-1"], None, "one", Some(("at-gw-1", Some("gw-1")))),
        (&["gw-2"], None, "one", None),
        (
            &["one", "gw-1"],
            Some("gw-1"),
            "one",
            Some(("at-one", None)),
        ),
        (
            &["gw-1", "gw-2", "gw-3"],
            Some("gw-2"),
            "many",
            Some(("at-gw-2", Some("gw-2"))),
        ),
        (
            &["gw-1", "gw-3"],
            Some("gw-3"),
            "many",
            Some(("at-gw-3", Some("gw-3"))),
        ),
        (
            &["gw-3"],
            Some("gw-2"),
            "many",
            Some(("at-gw-3", Some("gw-3"))),
        ),
        // None is known, or one that does not wait: any of those that do.
        (
            &["gw-2", "gw-3"],
            None,
            "many",
            Some(("at-gw-2", Some("gw-2"))),
        ),
        (
            &["gw-1", "gw-3"],
            Some("gw-2"),
            "many",
            Some(("at-gw-1", Some("gw-1"))),
        ),
        (
            &["d", "gw-1"],
            Some("d"),
            "many",
            Some(("at-gw-1", Some("gw-1"))),
        ),
    ];
    for (row, (waiting, last, device, expected)) in rows.into_iter().enumerate() {
        let mut router = CommandRouter::default();
        for id in waiting {
            router
                .consumers
                .register("T", id, &format!("at-{id}"), None, now)
                .unwrap();
        }
        if let Some(gateway) = last {
            router
                .consumers
                .set_last_gateway("T", device, gateway, now)
                .unwrap();
        }
        match (router.route(&world(), "T", &to(device), now), expected) {
            (Decision::Release, None) => {}
            (Decision::Forward { instance, message }, Some((expected, gateway))) => {
                assert_eq!(instance, expected, "row {row}");
                let via = Sections::decode(&message).unwrap();
                assert_eq!(via.application_string("via"), gateway, "row {row}");
            }
            (other, _) => panic!("row {row}: {other:?}"),
        }
    }
}

#[test]
fn what_adapters_register_ends_by_itself() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut router = CommandRouter::default();
    let consumers = &mut router.consumers;
    let lifespan = Some(Duration::from_secs(10));
    consumers.register("T", "d", "a", lifespan, start).unwrap();
    assert_eq!(consumers.instance("T", "d", after(9)), Some("a"));
    assert_eq!(consumers.instance("T", "d", after(10)), None);
    assert_eq!(consumers.instance("U", "d", start), None);
    let late = consumers.unregister("T", "d", "a", after(10));
    assert_eq!(late, Err(NotRegistered));
    consumers.register("T", "d", "b", None, after(5)).unwrap();
    assert_eq!(
        consumers.instance("T", "d", after(u32::MAX.into())),
        Some("b")
    );
    consumers.set_last_gateway("T", "d", "gw", start).unwrap();
    let days = |count: u64| after(count * 24 * 60 * 60);
    assert_eq!(consumers.last_gateway("T", "d", days(27)), Some("gw"));
    assert_eq!(consumers.last_gateway("T", "d", days(28)), None);
}

#[test]
fn ended_registrations_make_room() {
    let start = Instant::now();
    let mut router = CommandRouter::default();
    let second = Duration::from_secs(1);
    for index in 0..100_000u32 {
        let now = start + second * (index / 100);
        router
            .consumers
            .register("T", &index.to_string(), "a", Some(second), now)
            .unwrap();
    }
    let size = format!("{:?}", router.consumers).matches("ends").count();
    assert!(size < 3000, "{size} entries are kept");
}

#[test]
fn a_command_goes_on_as_it_was_but_for_what_the_router_sets() {
    let now = Instant::now();
    let mut router = CommandRouter::default();
    router
        .consumers
        .register("T", "gw-1", "a", None, now)
        .unwrap();
    let properties = Properties {
        to: Some("command/T/one".to_owned()),
        correlation_id: None,
        content_type: Some(Symbol::from("text/plain")),
        ..request()
    };
    let mut annotations = MessageAnnotations::default();
    annotations.insert("x-opt-a".into(), Value::Long(1));
    let original = |application: &[u8]| {
        let header = Header {
            durable: true,
            ttl: Some(5),
            ..Header::default()
        };
        let data = encode(&Data(Binary::from(b"on".to_vec())));
        [
            &encode(&header),
            &encode(&annotations),
            &encode(&properties),
            application,
            &data,
        ]
        .concat()
    };
    let application = encode(
        &ApplicationProperties::builder()
            .insert("n", 1)
            .insert("via", "x")
            .build(),
    );
    for (application, rest, expected) in [
        (
            application.as_slice(),
            json!({"n": {"int": 1}}),
            "with application properties",
        ),
        (&[], json!({}), "without application properties"),
    ] {
        let Decision::Forward { message, .. } =
            router.route(&world(), "T", &original(application), now)
        else {
            panic!("{expected}: not forwarded");
        };
        let reported = Sections::decode(&message).unwrap().to_json();
        let mut rest = rest;
        rest["via"] = json!({"string": "gw-1"});
        let id = reported["properties"]["message-id"]["string"]
            .as_str()
            .unwrap();
        assert!(id != "m" && !id.is_empty(), "{id}");
        let wanted = json!({
            "message-annotations": {"x-opt-a": {"long": 1}},
            "properties": {
                "message-id": {"string": id},
                "to": {"string": "command/T/one"},
                "subject": {"string": "setLight"},
                "reply-to": {"string": "command_response/T/r/1"},
                "correlation-id": {"string": "m"},
                "content-type": {"symbol": "text/plain"},
            },
            "application-properties": rest,
            "data": {"binary": "6f6e"},
            "order": ["message-annotations", "properties", "application-properties", "data"],
        });
        assert_eq!(reported, wanted, "{expected}");
    }
}

#[test]
fn every_request_to_the_router_gets_its_status() {
    let now = Instant::now();
    let mut router = CommandRouter::default();
    let consumer = |device: &str, instance: &str| {
        ApplicationProperties::builder()
            .insert("device_id", device)
            .insert("adapter_instance_id", instance)
            .insert("lifespan", 20)
            .insert("send_event", false)
            .build()
    };
    let gateway = ApplicationProperties::builder()
        .insert("device_id", "one")
        .insert("gateway_id", "gw-1")
        .build();
    let half = ApplicationProperties::builder()
        .insert("device_id", "one")
        .build();
    let none = ApplicationProperties::default();
    let text = ApplicationProperties::builder()
        .insert("device_id", "d")
        .insert("adapter_instance_id", "a")
        .insert("lifespan", "20")
        .build();
    let (register, unregister) = ("register-command-consumer", "unregister-command-consumer");
    let (last, enable) = ("set-last-known-gw", "enable-command-routing");
    let rows = [
        (unregister, "T", consumer("d", "a"), "", 412),
        (register, "T", consumer("d", "a"), "", 204),
        (unregister, "T", consumer("d", "b"), "", 412),
        (register, "T", consumer("d", "b"), "", 204),
        (unregister, "T", consumer("d", "a"), "", 412),
        (unregister, "T", consumer("d", "b"), "", 204),
        (unregister, "T", consumer("d", "b"), "", 412),
        (register, "T", consumer("off", "a"), "", 204),
        (register, "T", consumer("nobody", "a"), "", 204),
        (register, "X", consumer("d", "a"), "", 404),
        (register, "T", half.clone(), "", 400),
        (register, "T", consumer("", "a"), "", 400),
        (register, "T", text, "", 400),
        (unregister, "T", none.clone(), "", 400),
        (last, "T", gateway, "", 204),
        (
            last,
            "T",
            none.clone(),
            r#"{"many":"gw-2","d":"gw-1"}"#,
            204,
        ),
        (last, "T", half, "", 400),
        (last, "T", none.clone(), "", 400),
        (last, "T", none.clone(), r#"["d"]"#, 400),
        (enable, "T", none.clone(), r#"["T","U"]"#, 204),
        (enable, "T", none, "{}", 400),
        ("register-cmd-consumer", "T", consumer("d", "a"), "", 400),
    ];
    for (row, (subject, tenant, properties, body, status)) in rows.into_iter().enumerate() {
        let body = encode(&Data(Binary::from(body.as_bytes())));
        let message = [encode(&properties), body].concat();
        let message = Message::decode(&message).unwrap();
        let (response, presence) = router.respond(&world(), tenant, subject, &message, now);
        assert_eq!(response.status, status, "row {row}: {subject}");
        assert_eq!(response.body == Body::None, status == 204, "row {row}");
        assert_eq!(presence, None, "row {row}: nobody asked for an event");
    }
    assert_eq!(
        router.consumers.last_gateway("T", "many", now),
        Some("gw-2")
    );
    assert_eq!(router.consumers.last_gateway("T", "one", now), Some("gw-1"));
}

#[test]
fn no_change_of_a_byte_and_no_cut_of_a_command_is_too_much() {
    let now = Instant::now();
    let mut router = CommandRouter::default();
    router
        .consumers
        .register("T", "gw-1", "a", None, now)
        .unwrap();
    let whole = to("one");
    let world = world();
    let mut forwarded = 0;
    for place in 0..whole.len() {
        router.route(&world, "T", &whole[..place], now);
        for byte in [
            0x00, 0x01, 0x40, 0x45, 0x53, 0x7f, 0x80, 0xa1, 0xc0, 0xd0, 0xff,
        ] {
            let mut changed = whole.clone();
            changed[place] = byte;
            if let Ok(request) = Message::decode(&changed) {
                router.respond(&world, "T", "set-last-known-gw", &request, now);
            }
            if let Decision::Forward { message, .. } = router.route(&world, "T", &changed, now) {
                assert!(Sections::decode(&message).is_ok(), "byte {place} as {byte}");
                forwarded += 1;
            }
        }
    }
    assert!(forwarded > 0);
}

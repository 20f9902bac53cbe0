//! Messages as they were recorded, and any others: written by us, read by another decoder.

use std::{fs, path::Path, time::Duration};

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use super::{Body, Header, Message, MessageId, Properties};
use crate::{sections::Sections, value::Value};

#[test]
fn a_telemetry_message_is_on_the_wire_as_the_standard_says() {
    let message = Message {
        annotations: vec![("tenant_id".to_owned(), "T".into())],
        properties: Properties {
            to: Some("telemetry/T".to_owned()),
            content_type: Some("text/plain".to_owned()),
            ..Properties::default()
        },
        application_properties: vec![("qos".to_owned(), 1.into())],
        ..Message::data(*b"21")
    };
    let expected = [
        b"\x00\x53\x72\xc1\x0f\x02\xa3\x09tenant_id\xa1\x01T".as_slice(),
        b"\x00\x53\x73\xc0\x1f\x07\x40\x40\xa1\x0btelemetry/T\x40\x40\x40\xa3\x0atext/plain",
        b"\x00\x53\x74\xc1\x08\x02\xa1\x03qos\x54\x01",
        b"\x00\x53\x75\xa0\x0221",
    ]
    .concat();
    assert_eq!(encoded(&message), expected);
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts() {
    let twice = b"\x00\x53\x74\xc1\x10\x06\xa1\x01a\x54\x01\xa1\x01b\x54\x02\xa1\x01a\x54\x03";
    let message = Message::decode(twice).unwrap();
    assert_eq!(message.application_property("a"), Some(&Value::Int(3)));
    assert_eq!(message.application_properties.len(), 2);
    assert_eq!(Some(message), by_the_library(twice));
}

/// The recordings are from Hono, whose encoder differs. Decoding and encoding them again gives the
/// same content.
#[test]
fn every_recorded_message_read_and_written_again_tells_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/golden/cases");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let case: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for exchange in case["exchanges"].as_array().unwrap() {
            for message in exchange["downstream"].as_array().into_iter().flatten() {
                let raw = unhex(message["raw_hex"].as_str().unwrap());
                assert_eq!(Message::decode(&raw).ok(), by_the_library(&raw));
                let again = encoded(&Message::decode(&raw).unwrap());
                assert_eq!(
                    Sections::decode(&again).unwrap().to_json(),
                    Sections::decode(&raw).unwrap().to_json()
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= 100, "only {seen} messages were found");
}

#[test]
fn a_header_that_says_nothing_is_not_sent() {
    for (header, reported) in [
        (Header::default(), json!(null)),
        (
            Header {
                durable: true,
                ttl: None,
            },
            json!({"durable": {"boolean": true}}),
        ),
        (
            Header {
                durable: false,
                ttl: Some(Duration::from_millis(45_000)),
            },
            json!({"ttl": {"uint": 45_000}}),
        ),
        (
            Header {
                durable: true,
                ttl: Some(Duration::MAX),
            },
            json!({"durable": {"boolean": true}, "ttl": {"uint": u32::MAX}}),
        ),
    ] {
        let message = Message {
            header,
            ..Message::data([])
        };
        let json = Sections::decode(&encoded(&message)).unwrap().to_json();
        assert_eq!(json["header"], reported, "{header:?}");
    }
}

#[test]
fn bodies_are_told_apart() {
    for (bytes, body) in [
        (b"".as_slice(), Body::None),
        (
            b"\x00\x53\x75\xa0\x01a\x00\x53\x75\xa0\x01b",
            Body::Data(b"ab".to_vec()),
        ),
        (b"\x00\x53\x77\xa1\x01a", Body::ValueString("a".to_owned())),
        (b"\x00\x53\x77\xa0\x01a", Body::ValueBinary(b"a".to_vec())),
        (b"\x00\x53\x77\x40", Body::Other),
        (b"\x00\x53\x76\x45", Body::Other),
        (b"\x00\x53\x77\xa1\x01a\x00\x53\x75\xa0\x01b", Body::Other),
    ] {
        assert_eq!(Message::decode(bytes).unwrap().body, body, "{bytes:02x?}");
    }
}

#[test]
fn a_payload_shows_in_no_log() {
    let mut message = Message::data(*b"secret");
    message.application_properties = vec![("key".to_owned(), "hidden".into())];
    let shown = format!("{message:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("hidden"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(message in any_message()) {
        prop_assert_eq!(&Message::decode(&encoded(&message)).unwrap(), &message);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        drop(Message::decode(&bytes));
    }

    #[test]
    fn what_is_written_is_read_as_the_library_reads_it(message in any_message()) {
        let bytes = encoded(&message);
        prop_assert_eq!(Message::decode(&bytes).ok(), by_the_library(&bytes));
    }

    /// What both can read is the same to both: a byte of a message is another one.
    #[test]
    fn what_is_damaged_is_read_as_the_library_reads_it(message in any_message(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&message);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let (Ok(ours), Some(theirs)) = (Message::decode(&bytes), by_the_library(&bytes)) {
            prop_assert_eq!(format!("{ours:?} {:?} {:?} {:?}", ours.properties, ours.annotations.len(), ours.application_properties.len()),
                format!("{theirs:?} {:?} {:?} {:?}", theirs.properties, theirs.annotations.len(), theirs.application_properties.len()));
        }
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let header = (any::<bool>(), option::of(any::<u32>())).prop_map(|(durable, ttl)| Header {
        durable,
        ttl: ttl.map(|ttl| Duration::from_millis(ttl.into())),
    });
    let body = prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..600).prop_map(Body::Data),
        vec(any::<u8>(), 0..600).prop_map(Body::ValueBinary),
        ".{0,300}".prop_map(Body::ValueString),
    ];
    (
        header,
        entries(any_value()),
        any_properties(),
        entries(simple_value()),
        body,
    )
        .prop_map(
            |(header, annotations, properties, application_properties, body)| Message {
                header,
                annotations,
                properties,
                application_properties,
                body,
            },
        )
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let text = || option::of("[ -~]{0,300}");
    (
        option::of(any_id()),
        (text(), text(), text()),
        option::of(any_id()),
        (text(), text()),
        option::of(any::<i64>()),
    )
        .prop_map(
            |(
                message_id,
                (to, subject, reply_to),
                correlation_id,
                (content_type, content_encoding),
                creation_time,
            )| {
                Properties {
                    message_id,
                    to,
                    subject,
                    reply_to,
                    correlation_id,
                    content_type,
                    content_encoding,
                    creation_time,
                }
            },
        )
}

fn any_id() -> impl Strategy<Value = MessageId> {
    prop_oneof![
        ".{0,20}".prop_map(MessageId::String),
        any::<u64>().prop_map(MessageId::Ulong),
        any::<[u8; 16]>().prop_map(MessageId::Uuid),
        vec(any::<u8>(), 0..20).prop_map(MessageId::Binary),
    ]
}

/// Entries with different keys, as in any map.
fn entries(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(String, Value)>> {
    vec(value, 0..40).prop_map(|values| {
        (0..)
            .zip(values)
            .map(|(place, value)| (format!("key-{place}"), value))
            .collect()
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    simple_value().prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::List),
            entries(inner).prop_map(|entries| Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (Value::Symbol(key), value))
                    .collect()
            )),
        ]
    })
}

fn simple_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        any::<u32>().prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        (-200i32..200).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        (-200i64..200).prop_map(Value::Long),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        vec(any::<u8>(), 0..300).prop_map(Value::Binary),
        ".{0,100}".prop_map(Value::String),
        "[a-z:-]{0,300}".prop_map(Value::Symbol),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A message as the library reads it, which is no code of ours.
fn by_the_library(bytes: &[u8]) -> Option<Message> {
    let sections = Sections::decode(bytes).ok()?;
    let mut message = Message::default();
    for (name, content) in sections.iter() {
        match (name, content) {
            ("header", serde_amqp::Value::List(fields)) => message.header = header(fields),
            ("message-annotations", serde_amqp::Value::Map(_)) => {
                message.annotations = entries_of(content);
            }
            ("properties", serde_amqp::Value::List(fields)) => {
                message.properties = properties(fields);
            }
            ("application-properties", serde_amqp::Value::Map(_)) => {
                message.application_properties = entries_of(content);
            }
            ("data" | "amqp-sequence" | "amqp-value", _) => {
                message.body = joined(std::mem::take(&mut message.body), name, content);
            }
            _ => {}
        }
    }
    Some(message)
}

fn joined(before: Body, name: &str, content: &serde_amqp::Value) -> Body {
    use serde_amqp::Value as Decoded;
    match (before, name, content) {
        (Body::None, "data", Decoded::Binary(bytes)) => Body::Data(bytes.to_vec()),
        (Body::Data(mut before), "data", Decoded::Binary(bytes)) => {
            before.extend_from_slice(bytes);
            Body::Data(before)
        }
        (Body::None, "amqp-value", Decoded::Binary(bytes)) => Body::ValueBinary(bytes.to_vec()),
        (Body::None, "amqp-value", Decoded::String(text)) => Body::ValueString(text.clone()),
        _ => Body::Other,
    }
}

fn header(fields: &[serde_amqp::Value]) -> Header {
    let ttl = match fields.get(2) {
        Some(serde_amqp::Value::Uint(milliseconds)) => {
            Some(Duration::from_millis((*milliseconds).into()))
        }
        _ => None,
    };
    Header {
        durable: fields.first() == Some(&serde_amqp::Value::Bool(true)),
        ttl,
    }
}

fn properties(fields: &[serde_amqp::Value]) -> Properties {
    use serde_amqp::Value as Decoded;
    let text = |place| match fields.get(place) {
        Some(Decoded::String(text)) => Some(text.clone()),
        Some(Decoded::Symbol(symbol)) => Some(symbol.0.clone()),
        _ => None,
    };
    let id = |place| match fields.get(place)? {
        Decoded::String(text) => Some(MessageId::String(text.clone())),
        Decoded::Ulong(number) => Some(MessageId::Ulong(*number)),
        Decoded::Uuid(id) => Some(MessageId::Uuid(*id.as_inner())),
        Decoded::Binary(bytes) => Some(MessageId::Binary(bytes.to_vec())),
        _ => None,
    };
    Properties {
        message_id: id(0),
        to: text(2),
        subject: text(3),
        reply_to: text(4),
        correlation_id: id(5),
        content_type: text(6),
        content_encoding: text(7),
        creation_time: match fields.get(9) {
            Some(Decoded::Timestamp(time)) => Some(time.milliseconds()),
            _ => None,
        },
    }
}

/// The entries of a map whose keys are words.
fn entries_of(map: &serde_amqp::Value) -> Vec<(String, Value)> {
    use serde_amqp::Value as Decoded;
    let Decoded::Map(map) = map else {
        return Vec::new();
    };
    let entry = |(key, value): (&Decoded, &Decoded)| match key {
        Decoded::String(text) => Some((text.clone(), value_of(value))),
        Decoded::Symbol(symbol) => Some((symbol.0.clone(), value_of(value))),
        _ => None,
    };
    map.iter().filter_map(entry).collect()
}

fn value_of(value: &serde_amqp::Value) -> Value {
    use serde_amqp::Value as Decoded;
    match value {
        Decoded::Null => Value::Null,
        Decoded::Bool(value) => Value::Bool(*value),
        Decoded::Ubyte(value) => Value::Ubyte(*value),
        Decoded::Ushort(value) => Value::Ushort(*value),
        Decoded::Uint(value) => Value::Uint(*value),
        Decoded::Ulong(value) => Value::Ulong(*value),
        Decoded::Byte(value) => Value::Byte(*value),
        Decoded::Short(value) => Value::Short(*value),
        Decoded::Int(value) => Value::Int(*value),
        Decoded::Long(value) => Value::Long(*value),
        Decoded::Float(value) => Value::Float(value.0),
        Decoded::Double(value) => Value::Double(value.0),
        Decoded::Char(value) => Value::Char(*value),
        Decoded::Timestamp(value) => Value::Timestamp(value.milliseconds()),
        Decoded::Uuid(value) => Value::Uuid(*value.as_inner()),
        Decoded::Binary(value) => Value::Binary(value.to_vec()),
        Decoded::String(value) => Value::String(value.clone()),
        Decoded::Symbol(value) => Value::Symbol(value.0.clone()),
        Decoded::List(values) => Value::List(values.iter().map(value_of).collect()),
        Decoded::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (value_of(key), value_of(value)))
                .collect(),
        ),
        _ => Value::Other,
    }
}

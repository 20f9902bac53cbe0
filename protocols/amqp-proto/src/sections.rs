//! The sections of a message (AMQP 1.0 part 3 §3.2), split without interpreting them, and their
//! form as JSON.
//!
//! The JSON is that of the recorded exchanges: a member for each section, each leaf an object of one member that names the
//! AMQP type (`{"int": 1}`), and `order`, the names of the sections as they came.

use fe2o3_amqp_types::primitives::{OrderedMap, Symbol};
use serde::Deserialize;
use serde_amqp::{Value, de::Deserializer, descriptor::Descriptor, read::IoReader};
use serde_json::{Map, json};

use crate::{DecodeError, nesting::is_shallow};

/// A message's sections in their order: name and content.
#[derive(Debug, Clone, PartialEq)]
pub struct Sections(Vec<(&'static str, Value)>);

impl Sections {
    /// Takes a message apart.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a sequence of sections.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let parts = parts(message)?.into_iter();
        Ok(Self(parts.map(|(name, value, _)| (name, value)).collect()))
    }

    /// A field of the properties section by its place in the list (§3.2.4); absent and null are the same.
    #[must_use]
    pub fn property(&self, place: usize) -> Option<&Value> {
        let Value::List(fields) = self.section("properties")? else {
            return None;
        };
        fields.get(place).filter(|value| **value != Value::Null)
    }

    /// An application property that is a string.
    #[must_use]
    pub fn application_string(&self, key: &str) -> Option<&str> {
        let Value::Map(map) = self.section("application-properties")? else {
            return None;
        };
        match map.get(&Value::String(key.to_owned()))? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of the body, whether it is data or a binary or textual value; empty without body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.0 {
            match (*name, value) {
                ("data" | "amqp-value", Value::Binary(bytes)) => body.extend_from_slice(bytes),
                ("amqp-value", Value::String(text)) => body.extend_from_slice(text.as_bytes()),
                _ => {}
            }
        }
        body
    }

    /// The JSON form that the recordings use.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut members = Map::new();
        for (name, value) in &self.0 {
            let reported = match (*name, value) {
                ("header", Value::List(fields)) => named(&HEADER_FIELDS, fields),
                ("properties", Value::List(fields)) => named(&PROPERTY_FIELDS, fields),
                ("data", Value::Binary(bytes)) => match members.remove("data") {
                    Some(before) => {
                        let before = before.get("binary").and_then(serde_json::Value::as_str);
                        json!({"binary": format!("{}{}", before.unwrap_or_default(), hex(bytes))})
                    }
                    None => leaf(value),
                },
                ("amqp-value" | "amqp-sequence", _) => leaf(value),
                (_, Value::Map(map)) => keyed(map),
                _ => leaf(value),
            };
            members.insert((*name).to_owned(), reported);
        }
        members.insert(
            "order".to_owned(),
            self.0.iter().map(|(name, _)| *name).collect(),
        );
        serde_json::Value::Object(members)
    }

    /// The sections in their order: the name and the content of each.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, content)| (*name, content))
    }

    fn section(&self, wanted: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }
}

/// A section: its name, its content, and all of its bytes.
pub type Part<'a> = (&'static str, Value, &'a [u8]);

/// Takes a message apart into its sections.
///
/// # Errors
/// [`DecodeError`] if it is not a sequence of sections.
pub fn parts(message: &[u8]) -> Result<Vec<Part<'_>>, DecodeError> {
    if !is_shallow(message) {
        return Err(DecodeError::TooDeep);
    }
    let mut rest = message;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let from_here = rest;
        let value = Value::deserialize(&mut Deserializer::new(IoReader::new(&mut rest)))
            .map_err(DecodeError::value)?;
        let Value::Described(described) = value else {
            return Err(DecodeError::NoSection);
        };
        let length = from_here.len().saturating_sub(rest.len());
        let raw = from_here.get(..length).unwrap_or_default();
        parts.push((name(&described.descriptor)?, described.value, raw));
    }
    Ok(parts)
}

/// The place of message-id in the properties section (§3.2.4).
pub const MESSAGE_ID: usize = 0;
/// The place of subject in the properties section (§3.2.4).
pub const SUBJECT: usize = 3;
/// The place of reply-to in the properties section (§3.2.4).
pub const REPLY_TO: usize = 4;
/// The place of correlation-id in the properties section (§3.2.4).
pub const CORRELATION_ID: usize = 5;

fn name(descriptor: &Descriptor) -> Result<&'static str, DecodeError> {
    let known = match descriptor {
        Descriptor::Code(code) => SECTIONS.iter().find(|(_, known, _)| known == code),
        Descriptor::Name(Symbol(symbol)) => SECTIONS.iter().find(|(_, _, known)| known == symbol),
    };
    known
        .map(|(name, _, _)| *name)
        .ok_or(DecodeError::UnknownSection)
}

fn named(names: &[&str], fields: &[Value]) -> serde_json::Value {
    let set = names
        .iter()
        .zip(fields)
        .filter(|(_, value)| **value != Value::Null);
    serde_json::Value::Object(
        set.map(|(name, value)| ((*name).to_owned(), leaf(value)))
            .collect(),
    )
}

fn keyed(map: &OrderedMap<Value, Value>) -> serde_json::Value {
    let key = |key: &Value| match key {
        Value::Symbol(Symbol(text)) | Value::String(text) => text.clone(),
        other => leaf(other).to_string(),
    };
    serde_json::Value::Object(
        map.iter()
            .map(|(name, value)| (key(name), leaf(value)))
            .collect(),
    )
}

fn leaf(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => json!({"null": null}),
        Value::Bool(it) => json!({"boolean": it}),
        Value::Ubyte(it) => json!({"ubyte": it}),
        Value::Ushort(it) => json!({"ushort": it}),
        Value::Uint(it) => json!({"uint": it}),
        Value::Ulong(it) => json!({"ulong": it}),
        Value::Byte(it) => json!({"byte": it}),
        Value::Short(it) => json!({"short": it}),
        Value::Int(it) => json!({"int": it}),
        Value::Long(it) => json!({"long": it}),
        Value::Float(it) => json!({"float": it.0}),
        Value::Double(it) => json!({"double": it.0}),
        Value::Char(it) => json!({"char": it}),
        Value::Timestamp(it) => json!({"timestamp": it.milliseconds()}),
        Value::Uuid(it) => json!({"uuid": hex(it.as_inner())}),
        Value::Binary(it) => json!({"binary": hex(it)}),
        Value::String(it) => json!({"string": it}),
        Value::Symbol(it) => json!({"symbol": it.0}),
        Value::List(it) => json!({"list": it.iter().map(leaf).collect::<Vec<_>>()}),
        Value::Array(it) => json!({"array": it.0.iter().map(leaf).collect::<Vec<_>>()}),
        Value::Map(it) => {
            json!({"map": it.iter().map(|(key, value)| json!([leaf(key), leaf(value)])).collect::<Vec<_>>()})
        }
        Value::Described(it) => json!({"described": leaf(&it.value)}),
        other => json!({"decimal": format!("{other:?}")}),
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(
        String::with_capacity(bytes.len().saturating_mul(2)),
        |mut text, byte| {
            #[expect(
                clippy::let_underscore_must_use,
                reason = "writing to a string cannot fail"
            )]
            let _ = write!(text, "{byte:02x}");
            text
        },
    )
}

const SECTIONS: [(&str, u64, &str); 9] = [
    ("header", 0x70, "amqp:header:list"),
    (
        "delivery-annotations",
        0x71,
        "amqp:delivery-annotations:map",
    ),
    ("message-annotations", 0x72, "amqp:message-annotations:map"),
    ("properties", 0x73, "amqp:properties:list"),
    (
        "application-properties",
        0x74,
        "amqp:application-properties:map",
    ),
    ("data", 0x75, "amqp:data:binary"),
    ("amqp-sequence", 0x76, "amqp:amqp-sequence:list"),
    ("amqp-value", 0x77, "amqp:amqp-value:*"),
    ("footer", 0x78, "amqp:footer:map"),
];

const HEADER_FIELDS: [&str; 5] = [
    "durable",
    "priority",
    "ttl",
    "first-acquirer",
    "delivery-count",
];

const PROPERTY_FIELDS: [&str; 13] = [
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Sections;

    #[test]
    fn every_recorded_message_is_told_as_the_recording_tells_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/golden/cases");
        let mut seen = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let case: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            for exchange in case["exchanges"].as_array().unwrap() {
                for message in exchange["downstream"].as_array().into_iter().flatten() {
                    let raw = unhex(message["raw_hex"].as_str().unwrap());
                    let mut expected = message.as_object().unwrap().clone();
                    for not_a_section in ["link", "sender_settled", "raw_hex"] {
                        expected.remove(not_a_section);
                    }
                    let reported = Sections::decode(&raw).unwrap().to_json();
                    assert_eq!(
                        reported,
                        serde_json::Value::Object(expected),
                        "{}",
                        path.display()
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen >= 100, "only {seen} messages were found");
    }

    #[test]
    fn a_cut_off_message_is_an_error_and_no_panic() {
        let raw = unhex("005370c00201415373c00100");
        for length in 1..raw.len() {
            drop(Sections::decode(&raw[..length]));
        }
        assert!(Sections::decode(&raw[..5]).is_err());
        assert!(Sections::decode(&[0x41]).is_err());
        assert!(Sections::decode(&[0xd0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 1].repeat(7000)).is_err());
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }
}

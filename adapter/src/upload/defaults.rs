//! What tenants and devices say in place of a message that does not (spec: amqp-messages §2, "Defaults merging").

use std::collections::BTreeMap;

use amqp_client::Value as AmqpValue;
use serde_json::{Map, Value};

/// Defaults of several levels as one; the later level wins.
#[derive(Debug, Clone, Default)]
pub struct Defaults<'a>(BTreeMap<&'a str, &'a Value>);

impl<'a> Defaults<'a> {
    /// Lays the levels over each other, the most general first.
    #[must_use]
    pub fn of(levels: &[&'a Map<String, Value>]) -> Self {
        let entries = levels.iter().flat_map(|level| level.iter());
        Self(
            entries
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
        )
    }

    /// The default of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).copied()
    }

    /// `content-type` or `content-encoding`, which are text or do not count.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// `x-opt-retain`, a message annotation.
    #[must_use]
    pub fn retain(&self) -> Option<bool> {
        self.get(RETAIN)?.as_bool()
    }

    /// Everything that becomes an application property: scalars that are no field of the message in another place.
    pub fn application_properties(&self) -> impl Iterator<Item = (&'a str, AmqpValue)> {
        let entries = self.0.iter().map(|(name, value)| (*name, *value));
        entries
            .filter(|(name, _)| !is_field(name))
            .filter_map(|(name, value)| Some((name, scalar(value)?)))
    }
}

/// Whether a default of this name is not an application property.
fn is_field(name: &str) -> bool {
    is_ttl(name)
        || matches!(name, "content-type" | "content-encoding" | RETAIN)
        || IGNORED.contains(&name)
}

/// Whether a default of this name is about time to live only, and no property of messages.
fn is_ttl(name: &str) -> bool {
    matches!(
        name,
        TTL | "ttl-telemetry-qos0" | "ttl-telemetry-qos1" | "ttl-command-response"
    )
}

/// Numbers become the smallest of int and long, or double. What has no counterpart is left out.
fn scalar(value: &Value) -> Option<AmqpValue> {
    match value {
        Value::Bool(value) => Some(AmqpValue::Bool(*value)),
        Value::String(text) => Some(AmqpValue::String(text.clone())),
        Value::Number(number) => match number.as_i64() {
            Some(number) => {
                Some(i32::try_from(number).map_or(AmqpValue::Long(number), AmqpValue::Int))
            }
            None if number.is_u64() => None,
            None => number.as_f64().map(AmqpValue::Double),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

const RETAIN: &str = "x-opt-retain";

/// Fields of AMQP's header and properties that no default may set.
const IGNORED: [&str; 15] = [
    "delivery-count",
    "durable",
    "first-acquirer",
    "priority",
    "absolute-expiry-time",
    "correlation-id",
    "creation-time",
    "group-id",
    "group-sequence",
    "message-id",
    "reply-to",
    "reply-to-group-id",
    "subject",
    "to",
    "user-id",
];

/// The default time to live of every kind of message.
pub(super) const TTL: &str = "ttl";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_device_overrules_the_tenant() {
        let (tenant, device) = (json!({"a": 1, "b": 1}), json!({"b": 2}));
        let levels = [tenant.as_object().unwrap(), device.as_object().unwrap()];
        let defaults = Defaults::of(&levels);
        assert_eq!(
            (defaults.get("a"), defaults.get("b")),
            (Some(&json!(1)), Some(&json!(2)))
        );
    }

    #[test]
    fn what_is_no_field_becomes_a_property_of_its_json_type() {
        let all = json!({
            "bool": true, "int": 3, "long": 3_000_000_000_i64, "double": 0.5, "text": "x", "ttd": 4,
            "null": null, "list": [1], "object": {}, "huge": u64::MAX,
            "content-type": "a/b", "content-encoding": "gzip", "x-opt-retain": true, "ttl": 1, "ttl-telemetry-qos0": 1,
            "subject": "s", "durable": false, "user-id": "u", "to": "t",
        });
        let defaults = Defaults::of(&[all.as_object().unwrap()]);
        let properties: Vec<_> = defaults.application_properties().collect();
        let expected = [
            ("bool", AmqpValue::Bool(true)),
            ("double", AmqpValue::Double(0.5)),
            ("int", AmqpValue::Int(3)),
            ("long", AmqpValue::Long(3_000_000_000)),
            ("text", AmqpValue::String("x".to_owned())),
            ("ttd", AmqpValue::Int(4)),
        ];
        assert_eq!(properties, expected);
        assert_eq!(defaults.text("content-type"), Some("a/b"));
        assert_eq!(defaults.retain(), Some(true));
    }

    #[test]
    fn a_content_type_that_is_no_text_does_not_count() {
        let odd = json!({"content-type": 5, "x-opt-retain": "yes"});
        let defaults = Defaults::of(&[odd.as_object().unwrap()]);
        assert_eq!(
            (defaults.text("content-type"), defaults.retain()),
            (None, None)
        );
    }
}

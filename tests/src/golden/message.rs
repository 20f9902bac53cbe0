//! An AMQP message of the application, with what may differ taken out.

use serde_json::{Value, json};

use super::Moment;

/// A recorded member of `downstream` in the form that is compared.
#[must_use]
pub fn recorded(message: &Value) -> Value {
    let mut message = message.clone();
    if let Some(members) = message.as_object_mut() {
        members.remove("raw_hex");
    }
    comparable(message, Moment::Recorded)
}

/// A message that came over the link from `link`, made `since`, in the form that is compared.
#[must_use]
pub fn received(link: &str, settled: bool, sections: &Value, since: Moment) -> Value {
    let mut message = match sections {
        Value::Object(_) => sections.clone(),
        other => json!({"no message": other}),
    };
    message["link"] = link.into();
    message["sender_settled"] = settled.into();
    comparable(message, since)
}

/// Replaces values that are right in many ways by a word: only what is right is replaced.
fn comparable(mut message: Value, moment: Moment) -> Value {
    replace(
        &mut message,
        "/properties/message-id/string",
        |id| id.is_string(),
        "any",
    );
    replace(
        &mut message,
        "/properties/creation-time/timestamp",
        |time| time.as_u64().is_some_and(|time| moment.fits(time)),
        "now",
    );
    replace(
        &mut message,
        "/message-annotations/x-opt-trace-context/map",
        is_trace_context,
        "trace context",
    );
    message
}

fn replace(message: &mut Value, pointer: &str, is_right: impl Fn(&Value) -> bool, word: &str) {
    if let Some(value) = message.pointer_mut(pointer)
        && is_right(value)
    {
        *value = word.into();
    }
}

/// One entry, `traceparent`, in the form of W3C Trace Context §3.2: `00-<32 hex>-<16 hex>-<2 hex>`.
fn is_trace_context(map: &Value) -> bool {
    let entry = map.pointer("/0");
    let key = entry.and_then(|entry| entry.pointer("/0/symbol"));
    let parent = entry
        .and_then(|entry| entry.pointer("/1/string"))
        .and_then(Value::as_str);
    let parts: Vec<&str> = parent.unwrap_or_default().split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_hex = |part: &&str| {
        part.bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    key.is_some_and(|key| key == "traceparent")
        && lengths == [2, 32, 16, 2]
        && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde_json::json;

    use super::{received, recorded};
    use crate::golden::{Moment, differences};

    fn sections(time: u64, parent: &str) -> serde_json::Value {
        json!({
            "message-annotations": {"x-opt-trace-context": {"map": [[{"symbol": "traceparent"}, {"string": parent}]]}},
            "properties": {"message-id": {"string": "x-7"}, "creation-time": {"timestamp": time}},
            "data": {"binary": "00"},
            "order": ["message-annotations", "properties", "data"],
        })
    }

    #[test]
    fn only_right_times_ids_and_trace_contexts_may_differ() {
        let parent = "00-9d3a3a06dea6aab4f2bd1118d97dc741-9d4d4f5901cc6a58-00";
        let mut old = sections(1_795_486_388_957, parent);
        old["link"] = "t".into();
        old["sender_settled"] = false.into();
        old["raw_hex"] = "00".into();
        let now = SystemTime::now();
        let reported = u64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let since = Moment::Since(now);
        let compare = |sections: &serde_json::Value, link, settled| {
            differences(&recorded(&old), &received(link, settled, sections, since)).len()
        };
        let good = sections(
            reported,
            "00-00000000000000000000000000000001-0000000000000001-01",
        );
        assert_eq!(compare(&good, "t", false), 0);
        assert_eq!(compare(&good, "e", true), 4);
        let hour = u64::try_from(Duration::from_secs(3600).as_millis()).unwrap();
        assert_eq!(compare(&sections(reported - hour, parent), "t", false), 2);
        assert_eq!(compare(&sections(reported, "00-1-2-00"), "t", false), 3);
        assert_ne!(compare(&serde_json::Value::Null, "t", false), 0);
    }
}

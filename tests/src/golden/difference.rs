//! Where two JSON values differ, a line for each place.

use std::collections::BTreeMap;

use serde_json::Value;

/// A line for each leaf that only one side has or that is not the same: `-` as recorded, `+` as it came. Empty if all is equal.
#[must_use]
pub fn differences(recorded: &Value, came: &Value) -> Vec<String> {
    let (recorded, came) = (leaves(recorded), leaves(came));
    let mut lines = Vec::new();
    for (path, value) in &recorded {
        match came.get(path) {
            Some(other) if other == value => {}
            Some(other) => {
                lines.extend([format!("- {path}: {value}"), format!("+ {path}: {other}")]);
            }
            None => lines.push(format!("- {path}: {value}")),
        }
    }
    let extra = came
        .iter()
        .filter(|(path, _)| !recorded.contains_key(*path));
    lines.extend(extra.map(|(path, value)| format!("+ {path}: {value}")));
    lines
}

fn leaves(value: &Value) -> BTreeMap<String, &Value> {
    let mut leaves = BTreeMap::new();
    collect("", value, &mut leaves);
    leaves
}

fn collect<'a>(path: &str, value: &'a Value, leaves: &mut BTreeMap<String, &'a Value>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                collect(&below(key), member, leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (place, item) in items.iter().enumerate() {
                collect(&below(&place.to_string()), item, leaves);
            }
        }
        leaf => {
            leaves.insert(path.to_owned(), leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn equal_values_have_no_difference_whatever_the_order_of_members() {
        let (one, other) = (
            json!({"a": 1, "b": [{"c": null}]}),
            json!({"b": [{"c": null}], "a": 1}),
        );
        assert_eq!(differences(&one, &other), [""; 0]);
    }

    #[test]
    fn every_place_that_differs_is_told_once() {
        let recorded = json!({"same": 1, "other": {"int": 1}, "gone": [1, 2], "empty": {}});
        let came = json!({"same": 1, "other": {"long": 1}, "gone": [1], "new": "x", "empty": {}});
        let expected = [
            "- gone.1: 2",
            "- other.int: 1",
            "+ new: \"x\"",
            "+ other.long: 1",
        ];
        assert_eq!(differences(&recorded, &came), expected);
        assert_eq!(
            differences(&json!([]), &json!({"a": 1})),
            ["- : []", "+ a: 1"]
        );
    }
}

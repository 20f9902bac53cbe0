//! The registration assertion (spec: registry-apis A.4).

use serde_json::{Map, Value};

use crate::members::{Malformed, Members};

/// The registry's word that a device exists, is enabled, and that the gateway, if any, may act for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Assertion {
    /// The device.
    pub device_id: String,
    /// The gateways that may act for the device: those named and the members of its groups.
    pub via: Vec<String>,
    /// Properties for messages of the device that lack them.
    pub defaults: Map<String, Value>,
}

impl Assertion {
    /// Reads an assertion as the Device Registration API delivers it.
    ///
    /// # Errors
    /// [`Malformed`] if `device-id` is missing or a nested object does not have the form it should have.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let mut members = Members::parse(json)?;
        Ok(Self {
            device_id: members.required("device-id")?,
            via: members.nested("via")?,
            defaults: members.nested("defaults")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::Assertion;

    fn read(json: &str) -> Option<Assertion> {
        Assertion::from_json(json.as_bytes()).ok()
    }

    #[test]
    fn an_assertion_is_read_as_a_4_says() {
        let example = r#"{"device-id":"4712","via":["gw-1","gw-2"],"defaults":{"content-type":"application/json"}}"#;
        let assertion = read(example).unwrap();
        assert_eq!(assertion.device_id, "4712");
        assert_eq!(assertion.via, ["gw-1", "gw-2"]);
        assert_eq!(
            assertion.defaults["content-type"],
            json!("application/json")
        );

        let bare = Assertion {
            device_id: "d".to_owned(),
            via: Vec::new(),
            defaults: Map::new(),
        };
        for (line, json, expected) in [
            ("via omitted if none", r#"{"device-id":"d"}"#, Some(&bare)),
            (
                "not used by CoAP",
                r#"{"device-id":"d","downstream-message-mapper":7,"command-endpoint":[]}"#,
                Some(&bare),
            ),
            (
                "unknown member",
                r#"{"device-id":"d","mapper":{}}"#,
                Some(&bare),
            ),
            (
                "null",
                r#"{"device-id":"d","via":null,"defaults":null}"#,
                Some(&bare),
            ),
            ("device-id missing", r#"{"via":[]}"#, None),
            ("device-id no text", r#"{"device-id":1}"#, None),
            ("via no array", r#"{"device-id":"d","via":"gw-1"}"#, None),
            ("via of numbers", r#"{"device-id":"d","via":[1]}"#, None),
            (
                "defaults no object",
                r#"{"device-id":"d","defaults":[]}"#,
                None,
            ),
            ("no object", r#"["d"]"#, None),
            ("no JSON", "device-id", None),
            ("empty", "", None),
        ] {
            assert_eq!(read(json).as_ref(), expected, "{line}");
        }
    }
}

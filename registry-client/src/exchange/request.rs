//! How a request looks on the wire (spec: registry-apis A.1).

use amqp_client::{Body, Message, Properties, Value};

/// What is asked of a service.
pub(crate) struct Request {
    subject: &'static str,
    application_properties: Vec<(String, Value)>,
    json: Option<Vec<u8>>,
}

impl Request {
    pub(crate) const fn new(subject: &'static str) -> Self {
        Self {
            subject,
            application_properties: Vec::new(),
            json: None,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.application_properties.push((name.to_owned(), value));
        self
    }

    pub(crate) fn with_text(self, name: &str, value: &str) -> Self {
        self.with(name, Value::String(value.to_owned()))
    }

    pub(crate) fn with_json(mut self, json: &serde_json::Value) -> Self {
        self.json = Some(json.to_string().into_bytes());
        self
    }

    /// The message that goes `to` the service and is answered at `reply_to`.
    pub(super) fn into_message(self, to: &str, reply_to: &str, message_id: &str) -> Message {
        Message {
            properties: Properties {
                message_id: Some(message_id.into()),
                to: Some(to.to_owned()),
                subject: Some(self.subject.to_owned()),
                reply_to: Some(reply_to.to_owned()),
                content_type: self.json.is_some().then(|| "application/json".to_owned()),
                ..Properties::default()
            },
            application_properties: self.application_properties,
            body: self.json.map_or(Body::None, Body::Data),
            ..Message::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_client::{Body, Header, Message, Properties, Value};
    use serde_json::json;

    use super::Request;

    #[test]
    fn a_request_carries_what_a_1_lists_and_nothing_else() {
        let request = Request::new("get")
            .with_text("device_id", "4711")
            .with_json(&json!({"tenant-id": "T"}));
        let expected = Message {
            header: Header::default(),
            annotations: Vec::new(),
            properties: Properties {
                message_id: Some("tenant-client-1".into()),
                to: Some("tenant".to_owned()),
                subject: Some("get".to_owned()),
                reply_to: Some("tenant/2".to_owned()),
                content_type: Some("application/json".to_owned()),
                ..Properties::default()
            },
            application_properties: vec![(
                "device_id".to_owned(),
                Value::String("4711".to_owned()),
            )],
            body: Body::Data(br#"{"tenant-id":"T"}"#.to_vec()),
        };
        let message = request.into_message("tenant", "tenant/2", "tenant-client-1");
        assert_eq!(message, expected);
        let without_body = Request::new("assert").into_message("a", "b", "c");
        assert_eq!(without_body.body, Body::None);
        assert_eq!(without_body.properties.content_type, None);
    }
}

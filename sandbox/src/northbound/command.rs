//! Commands as an application writes them, and how it names what became of them (spec: amqp-messages §6).

use amqp_proto::{
    Message, Outcome,
    message::{Body, MessageId},
};
use serde_json::Value;

/// A one-way command without content. Its fields may be changed as needed: a `reply_to` makes it a request.
#[must_use]
pub fn command(tenant: &str, device: &str, name: &str) -> Message {
    let mut message = Message::default();
    message.properties.message_id = Some(uuid::Uuid::new_v4().to_string().into());
    message.properties.to = Some(format!("command/{tenant}/{device}"));
    message.properties.subject = Some(name.to_owned());
    message
}

/// The command that a recorded exchange describes, with the properties that it names and no others:
/// `device` or `to`, `subject`, `body`, `content_type`, `reply_to`, `correlation`, `message_id`. Ids are
/// texts or whole numbers.
///
/// # Errors
/// What of it is no such description.
pub fn recorded_command(tenant: &str, recorded: &Value) -> Result<Message, String> {
    let members = recorded.as_object().ok_or("a command is no object")?;
    let mut message = Message::default();
    for (name, value) in members {
        let text = match (value, value.as_u64()) {
            (Value::Null, _) => continue,
            (Value::String(text), _) => text.clone(),
            (_, Some(number)) if name == "correlation" => {
                message.properties.correlation_id = Some(MessageId::Ulong(number));
                continue;
            }
            (_, Some(number)) if name == "message_id" => {
                message.properties.message_id = Some(MessageId::Ulong(number));
                continue;
            }
            _ => return Err(format!("`{name}` of a command is no text")),
        };
        match name.as_str() {
            "device" => message.properties.to = Some(format!("command/{tenant}/{text}")),
            "to" => message.properties.to = Some(text),
            "subject" => message.properties.subject = Some(text),
            "body" => message.body = Body::Data(text.into_bytes()),
            "content_type" => message.properties.content_type = Some(text),
            "reply_to" => message.properties.reply_to = Some(text),
            "correlation" => message.properties.correlation_id = Some(text.into()),
            "message_id" => message.properties.message_id = Some(text.into()),
            other => return Err(format!("a command has no member `{other}`")),
        }
    }
    Ok(message)
}

/// What became of a command in the words of the recorded exchanges: its name, condition and description.
#[must_use]
pub fn recorded_outcome(outcome: Option<&Outcome>) -> (&'static str, Option<&str>, Option<&str>) {
    match outcome {
        Some(Outcome::Accepted) => ("accepted", None, None),
        Some(Outcome::Rejected {
            condition,
            description,
        }) => ("rejected", condition.as_deref(), description.as_deref()),
        Some(Outcome::Released) => ("released", None, None),
        Some(_) => ("modified", None, None),
        None => ("none", None, None),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use amqp_proto::message::Body;
    use serde_json::{Value, json};

    use super::{MessageId, recorded_command};

    #[test]
    fn every_recorded_command_can_be_sent() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/golden/cases");
        let mut seen = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let case: Value =
                serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            for recorded in case["commands"].as_array().into_iter().flatten() {
                let recorded = &recorded["command"];
                let properties = recorded_command("T", recorded).unwrap().properties;
                let device = recorded["device"].as_str().unwrap();
                assert_eq!(properties.to, Some(format!("command/T/{device}")));
                for (field, member) in [
                    (properties.subject, "subject"),
                    (properties.content_type, "content_type"),
                    (properties.reply_to, "reply_to"),
                    (
                        properties
                            .correlation_id
                            .and_then(|id| id.as_str().map(str::to_owned)),
                        "correlation",
                    ),
                ] {
                    assert_eq!(field.as_deref(), recorded[member].as_str(), "{member}");
                }
                seen += 1;
            }
        }
        assert!(seen >= 10, "only {seen} commands were found");
    }

    /// Symptom: a recorded command with `reply_to` and neither id, which is rejected, was accepted.
    /// Cause: every recorded command got a message id that was not recorded.
    #[test]
    fn a_recorded_command_has_the_ids_that_were_recorded_and_no_others() {
        let ids = |recorded: Value| {
            let properties = recorded_command("T", &recorded).unwrap().properties;
            (properties.message_id, properties.correlation_id)
        };
        let reply_to = "command_response/T/r";
        assert_eq!(
            ids(json!({"device": "d", "reply_to": reply_to})),
            (None, None)
        );
        let null = json!({"device": "d", "message_id": null, "correlation": null});
        assert_eq!(ids(null), (None, None));
        assert_eq!(
            ids(json!({"device": "d", "message_id": "m", "correlation": "c"})),
            (Some("m".to_owned().into()), Some("c".to_owned().into()))
        );
        assert_eq!(
            ids(json!({"device": "d", "message_id": 7, "correlation": 8})),
            (Some(MessageId::Ulong(7)), Some(MessageId::Ulong(8)))
        );
        let properties = recorded_command("T", &json!({"device": "d"}))
            .unwrap()
            .properties;
        assert_eq!(properties.subject, None);
    }

    #[test]
    fn a_body_is_sent_as_data_and_what_is_unknown_is_an_error() {
        let message = recorded_command("T", &json!({"device": "d", "body": "on"})).unwrap();
        assert!(message.body == Body::Data(b"on".to_vec()));
        assert_eq!(message.properties.subject, None);
        for wrong in [json!([]), json!({"device": 1}), json!({"colour": "red"})] {
            assert!(recorded_command("T", &wrong).is_err(), "{wrong}");
        }
    }
}

//! A command as it comes from the command router, and what makes one unusable (spec: amqp-messages §6).

use amqp_client::{Body, Message, MessageId, Value};

use super::request_id::RequestId;

/// A command for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What the device is to do.
    pub name: String,
    /// Where and as what its answer is to be sent; `None` if none is wanted.
    pub request_id: Option<RequestId>,
    /// What the body is.
    pub content_type: Option<String>,
    /// The body.
    pub payload: Payload,
}

/// The body of a command; `Debug` does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The tenant of all.
    pub tenant: String,
    /// The device that is to obey.
    pub device: String,
    /// The gateway through which the device is to be reached, if the router chose one.
    pub via: Option<String>,
}

/// The message is no command that a device could be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed command message")]
pub struct Malformed;

impl Target {
    /// Whom a message is for; `None` if its address does not tell.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        let mut segments = message.properties.to.as_deref()?.split('/');
        let (Some("command"), Some(tenant), Some(device)) =
            (segments.next(), segments.next(), segments.next())
        else {
            return None;
        };
        if tenant.is_empty() || device.is_empty() {
            return None;
        }
        let via = match message.application_property("via") {
            Some(Value::String(gateway)) if !gateway.is_empty() => Some(gateway.clone()),
            _ => None,
        };
        Some(Self {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
            via,
        })
    }

    /// Who has to be waiting for the command to get through.
    #[must_use]
    pub fn waiting(&self) -> &str {
        self.via.as_deref().unwrap_or(&self.device)
    }
}

impl Command {
    /// Reads a command for a device of this tenant.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn of(message: &Message, tenant: &str) -> Result<Self, Malformed> {
        let properties = &message.properties;
        let name = properties
            .subject
            .clone()
            .filter(|name| !name.is_empty())
            .ok_or(Malformed)?;
        let id = properties
            .correlation_id
            .as_ref()
            .or(properties.message_id.as_ref());
        let correlation_id = match id {
            Some(MessageId::String(id)) => Some(id.clone()),
            None => None,
            Some(_) => return Err(Malformed),
        };
        let request_id = match properties.reply_to.as_deref() {
            None => None,
            Some(reply_to) => {
                let reply_id = reply_id(reply_to, tenant).ok_or(Malformed)?;
                Some(RequestId::new(
                    correlation_id.ok_or(Malformed)?,
                    reply_id.to_owned(),
                ))
            }
        };
        if message.body == Body::Other {
            return Err(Malformed);
        }
        Ok(Self {
            name,
            request_id,
            content_type: properties.content_type.clone(),
            payload: Payload(message.body.bytes().to_vec()),
        })
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What stands behind `command_response/<tenant>/`.
fn reply_id<'a>(reply_to: &'a str, tenant: &str) -> Option<&'a str> {
    let rest = reply_to
        .strip_prefix("command_response/")?
        .strip_prefix(tenant)?
        .strip_prefix('/')?;
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use amqp_client::Properties;

    use super::*;

    fn message(change: impl FnOnce(&mut Message)) -> Message {
        let mut message = Message {
            properties: Properties {
                to: Some("command/T/4711".to_owned()),
                subject: Some("setLight".to_owned()),
                correlation_id: Some(MessageId::String("c1".to_owned())),
                reply_to: Some("command_response/T/app1".to_owned()),
                content_type: Some("application/json".to_owned()),
                ..Properties::default()
            },
            body: Body::Data(b"{}".to_vec()),
            ..Message::default()
        };
        change(&mut message);
        message
    }

    #[test]
    fn an_address_names_tenant_and_device() {
        let rows = [
            ("command/T/4711", Some("4711")),
            ("command/T/4711/more", Some("4711")),
            ("command/T", None),
            ("command/T/", None),
            ("command//4711", None),
            ("/command/T/4711", None),
            ("telemetry/T/4711", None),
            ("", None),
        ];
        for (to, device) in rows {
            let target = Target::of(&message(|message| {
                message.properties.to = Some(to.to_owned());
            }));
            assert_eq!(
                target.map(|target| target.device).as_deref(),
                device,
                "{to}"
            );
        }
        assert_eq!(
            Target::of(&message(|message| message.properties.to = None)),
            None
        );
    }

    #[test]
    fn a_gateway_waits_for_the_commands_that_go_through_it() {
        let through = |value| {
            Target::of(&message(|it| {
                it.application_properties.push(("via".to_owned(), value));
            }))
            .unwrap()
        };
        assert_eq!(through(Value::from("gw")).waiting(), "gw");
        assert_eq!(through(Value::from("")).waiting(), "4711");
        assert_eq!(through(Value::Int(1)).waiting(), "4711");
    }

    #[test]
    fn a_command_is_what_the_device_needs_to_know() {
        let command = Command::of(&message(|_| {}), "T").unwrap();
        assert_eq!(
            (command.name.as_str(), command.payload.0.as_slice()),
            ("setLight", &b"{}"[..])
        );
        assert_eq!(command.request_id.unwrap().encode("4711"), "002c1app1");
        let one_way = Command::of(&message(|it| it.properties.reply_to = None), "T").unwrap();
        assert_eq!(one_way.request_id, None);
        let by_message_id = Command::of(
            &message(|it| {
                it.properties.correlation_id = None;
                it.properties.message_id = Some(MessageId::String("m".to_owned()));
            }),
            "T",
        );
        assert_eq!(
            by_message_id.unwrap().request_id.unwrap().correlation_id(),
            "m"
        );
        let text = Command::of(
            &message(|it| it.body = Body::ValueString("ü".to_owned())),
            "T",
        )
        .unwrap();
        assert_eq!(text.payload.0, "ü".as_bytes());
        let none = Command::of(&message(|it| it.body = Body::None), "T").unwrap();
        assert_eq!(none.payload.0, b"");
    }

    #[test]
    fn each_violation_of_the_format_makes_it_malformed() {
        type Change = fn(&mut Message);
        let rows: [(&str, Change); 9] = [
            ("no subject", |it| it.properties.subject = None),
            ("empty subject", |it| {
                it.properties.subject = Some(String::new());
            }),
            ("a number as correlation id", |it| {
                it.properties.correlation_id = Some(MessageId::Ulong(1));
            }),
            ("reply-to without any id", |it| {
                it.properties.correlation_id = None;
            }),
            ("reply-to elsewhere", |it| {
                it.properties.reply_to = Some("nonsense/x".to_owned());
            }),
            ("reply-to of another tenant", |it| {
                it.properties.reply_to = Some("command_response/X/app1".to_owned());
            }),
            ("reply-to without reply id", |it| {
                it.properties.reply_to = Some("command_response/T/".to_owned());
            }),
            ("reply-to without tenant", |it| {
                it.properties.reply_to = Some("command_response".to_owned());
            }),
            ("another body", |it| it.body = Body::Other),
        ];
        for (what, change) in rows {
            assert_eq!(Command::of(&message(change), "T"), Err(Malformed), "{what}");
        }
    }
}

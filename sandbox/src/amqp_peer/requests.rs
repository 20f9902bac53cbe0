//! Requests to the registry and the command router, and the responses to them (spec: registry-apis A.1).

use std::time::Instant;

use fe2o3_amqp_types::{
    messaging::{
        Accepted, ApplicationProperties, Data, DeliveryState, MessageId, Properties, Rejected,
    },
    primitives::{Binary, SimpleValue, Symbol},
};
use serde_amqp::Value;
use time::OffsetDateTime;

use super::{
    links::{LinkEnd, REQUEST_CREDIT},
    router::Router,
};
use crate::{
    amqp::{
        error,
        frame::encode,
        sections::{CORRELATION_ID, MESSAGE_ID, REPLY_TO, SUBJECT, Sections},
    },
    registry::{self, Body, Request, Response},
};

/// Which API a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    Registry(registry::Service),
    CommandRouter { tenant: String },
}

impl Service {
    /// The service behind the target address of a request link, if it is one.
    pub(super) fn at(address: &str) -> Option<Self> {
        match address.split_once('/') {
            Some(("cmd_router", tenant)) if !tenant.is_empty() && !tenant.contains('/') => {
                let tenant = tenant.to_owned();
                Some(Self::CommandRouter { tenant })
            }
            _ => registry::Service::at(address).map(Self::Registry),
        }
    }

    /// Whether responses may be received at this source address: below the address that requests go to.
    pub(super) fn is_reply_address(address: &str) -> bool {
        address
            .rsplit_once('/')
            .is_some_and(|(before, last)| !last.is_empty() && Self::at(before).is_some())
    }
}

impl Router {
    /// Answers a request over the reply link that it names. What is returned is the outcome of the request itself.
    pub(super) fn on_request(
        &mut self,
        connection: u64,
        service: &Service,
        message: &[u8],
    ) -> DeliveryState {
        let Ok(sections) = Sections::decode(message) else {
            return rejected();
        };
        let correlation = sections
            .property(CORRELATION_ID)
            .or_else(|| sections.property(MESSAGE_ID))
            .and_then(message_id);
        let subject = text(sections.property(SUBJECT));
        let (Some(correlation), Some(subject), Some(reply_to)) =
            (correlation, subject, text(sections.property(REPLY_TO)))
        else {
            return rejected();
        };
        let response = match service {
            Service::Registry(service) => {
                let body = sections.body();
                let request = Request {
                    subject,
                    tenant_id: sections.application_string("tenant_id"),
                    device_id: sections.application_string("device_id"),
                    gateway_id: sections.application_string("gateway_id"),
                    body: &body,
                };
                let now = OffsetDateTime::now_utc();
                self.world
                    .look(|world| registry::respond(world, service, &request, now))
            }
            Service::CommandRouter { tenant } => {
                let commands = &mut self.commands;
                let (response, presence) = self.world.look(|world| {
                    commands.respond(world, tenant, subject, message, Instant::now())
                });
                if let Some(presence) = presence {
                    self.tell_presence(&presence);
                }
                response
            }
        };
        tracing::debug!(?service, subject, status = response.status, "request");
        let number = self.next_id();
        let response = encode_response(&response, correlation, number);
        // A reply link on another connection is as good as none.
        let link = self.reply_link(reply_to).filter(|link| {
            self.links
                .get(link)
                .is_some_and(|link| link.connection == connection)
        });
        if let Some(link) = link
            && let Some(response) = self.holds.keep(service, &sections.body(), link, response)
        {
            self.push_own(link, response);
        }
        DeliveryState::Accepted(Accepted {})
    }

    /// Sends a message of this peer's own over a receiver's link, now or when there is credit for it.
    pub(super) fn push_own(&mut self, id: u64, message: Vec<u8>) {
        if let Some(known) = self.links.get_mut(&id)
            && let LinkEnd::To { own, .. } = &mut known.end
        {
            if own.len() < MAX_WAITING {
                own.push_back(message);
            } else {
                tracing::warn!(
                    limit = MAX_WAITING,
                    "a receiver gives no credit, messages are lost"
                );
            }
        }
        self.send_own(id);
    }

    pub(super) fn send_own(&mut self, id: u64) {
        while let Some(link) = self.links.get_mut(&id)
            && link.credit > 0
            && let LinkEnd::To { own, .. } = &mut link.end
            && let Some(message) = own.pop_front()
        {
            self.send_message(id, &message, 0, false, None);
        }
    }

    /// Gives back the credit that a request took.
    pub(super) fn grant_request(&mut self, link: u64) {
        if let Some(known) = self.links.get_mut(&link) {
            known.credit = REQUEST_CREDIT;
            self.tell_credit(link);
        }
    }
}

fn encode_response(response: &Response, correlation: MessageId, number: u64) -> Vec<u8> {
    let (content_type, body) = match &response.body {
        Body::None => (None, None),
        Body::Json(json) => (Some("application/json"), Some(json.to_string())),
        Body::Text(text) => (Some("text/plain"), Some((*text).to_owned())),
    };
    let properties = Properties {
        message_id: Some(MessageId::String(format!("sandbox-{number}"))),
        to: Some(response.to.clone()),
        correlation_id: Some(correlation),
        content_type: content_type.map(Symbol::from),
        ..Properties::default()
    };
    let mut application = ApplicationProperties::default();
    let mut set = |name: &str, value: Option<SimpleValue>| {
        if let Some(value) = value {
            application.0.insert(name.to_owned(), value);
        }
    };
    set("status", Some(SimpleValue::Int(response.status)));
    set(
        "cache_control",
        response
            .cache_control
            .map(|text| SimpleValue::String(text.to_owned())),
    );
    set(
        "tenant_id",
        response.tenant_id.clone().map(SimpleValue::String),
    );
    set(
        "device_id",
        response.device_id.clone().map(SimpleValue::String),
    );
    let mut message = encode(&properties);
    message.extend(encode(&application));
    // Without any body section it would be no AMQP message (part 3 §3.2).
    let body = body.unwrap_or_default().into_bytes();
    message.extend(encode(&Data(Binary::from(body))));
    message
}

fn rejected() -> DeliveryState {
    let error = error("hono:bad-request", "malformed request message");
    DeliveryState::Rejected(Rejected { error: Some(error) })
}

fn message_id(value: &Value) -> Option<MessageId> {
    match value {
        Value::String(text) => Some(MessageId::String(text.clone())),
        Value::Ulong(number) => Some(MessageId::Ulong(*number)),
        Value::Uuid(uuid) => Some(MessageId::Uuid(uuid.clone())),
        Value::Binary(bytes) => Some(MessageId::Binary(bytes.clone())),
        _ => None,
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

const MAX_WAITING: usize = 1000;

#[cfg(test)]
mod tests {
    use super::Service;

    #[test]
    fn only_the_addresses_of_the_registry_and_the_command_router_are_services() {
        for (address, service, reply) in [
            ("tenant", true, false),
            ("tenant/1-2", false, true),
            ("registration/T", true, false),
            ("registration/T/1-2", false, true),
            ("credentials/T", true, false),
            ("cmd_router/T", true, false),
            ("cmd_router/T/1-2", false, true),
            ("cmd_router/", false, false),
            ("cmd_router", false, false),
            ("registration", false, false),
            ("registration/", false, false),
            ("telemetry/T", false, false),
            ("tenant/", false, false),
        ] {
            assert_eq!(
                (
                    Service::at(address).is_some(),
                    Service::is_reply_address(address)
                ),
                (service, reply),
                "{address}"
            );
        }
    }
}

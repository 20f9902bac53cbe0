//! Requests to the registry and the responses to them (spec: registry-apis A.1).

use fe2o3_amqp_types::{
    messaging::{
        Accepted, ApplicationProperties, Data, DeliveryState, MessageId, Properties, Rejected,
    },
    primitives::{Binary, SimpleValue, Symbol},
};
use serde_amqp::Value;

use super::{
    links::{LinkEnd, Origin, REQUEST_CREDIT},
    router::Router,
};
use crate::{
    amqp::{
        error,
        frame::encode,
        sections::{CORRELATION_ID, MESSAGE_ID, REPLY_TO, SUBJECT, Sections},
    },
    registry::{self, Body, Request, Response, Service},
};

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
        let body = sections.body();
        let request = Request {
            subject,
            tenant_id: sections.application_string("tenant_id"),
            device_id: sections.application_string("device_id"),
            gateway_id: sections.application_string("gateway_id"),
            body: &body,
        };
        let response = self
            .world
            .look(|world| registry::respond(world, service, &request));
        tracing::debug!(
            ?service,
            subject,
            status = response.status,
            "registry request"
        );
        let number = self.next_id();
        let response = encode_response(&response, correlation, number);
        // A reply link on another connection is as good as none.
        let link = self.reply_link(reply_to).filter(|link| {
            self.links
                .get(link)
                .is_some_and(|link| link.connection == connection)
        });
        if let Some(link) = link {
            if let Some(known) = self.links.get_mut(&link)
                && let LinkEnd::To {
                    source: Origin::Replies { waiting, .. },
                    ..
                } = &mut known.end
                && waiting.len() < MAX_WAITING_REPLIES
            {
                waiting.push_back(response);
            }
            self.send_replies(link);
        }
        DeliveryState::Accepted(Accepted {})
    }

    /// Sends responses as far as there is credit for them.
    pub(super) fn send_replies(&mut self, id: u64) {
        while let Some(link) = self.links.get_mut(&id)
            && link.credit > 0
            && let LinkEnd::To {
                source: Origin::Replies { waiting, .. },
                ..
            } = &mut link.end
            && let Some(response) = waiting.pop_front()
        {
            self.send_message(id, &response, 0, false, None);
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
        Body::Json(json) => ("application/json", json.to_string()),
        Body::Text(text) => ("text/plain", (*text).to_owned()),
    };
    let properties = Properties {
        message_id: Some(MessageId::String(format!("sandbox-{number}"))),
        to: Some(response.to.clone()),
        correlation_id: Some(correlation),
        content_type: Some(Symbol::from(content_type)),
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
    message.extend(encode(&Data(Binary::from(body.into_bytes()))));
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

const MAX_WAITING_REPLIES: usize = 1000;

//! Requests to the registry and the command router, and the responses to them (spec: registry-apis A.1).

use std::time::Instant;

use amqp_proto::{Message, Value, message::MessageId};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};
use time::OffsetDateTime;

use super::{
    links::{LinkEnd, REQUEST_CREDIT},
    router::Router,
};
use crate::{
    amqp::{error, sections::Sections},
    fault::{Answer, STATUS},
    registry::{self, Body, Request, Response},
    services::{Asked, Fault, Operation},
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

    /// The target address of its request links.
    fn address(&self) -> String {
        match self {
            Self::Registry(service) => service.address(),
            Self::CommandRouter { tenant } => format!("cmd_router/{tenant}"),
        }
    }

    /// What is asked for by a request with this subject, if there is such a thing.
    fn operation(&self, subject: &str) -> Option<Operation> {
        match (self, subject) {
            (Self::Registry(registry::Service::Tenant), _) => Some(Operation::Tenant),
            (Self::Registry(registry::Service::Registration { .. }), _) => {
                Some(Operation::Assertion)
            }
            (Self::Registry(registry::Service::Credentials { .. }), _) => {
                Some(Operation::Credentials)
            }
            (Self::CommandRouter { .. }, "register-command-consumer") => {
                Some(Operation::RegisterConsumer)
            }
            (Self::CommandRouter { .. }, "unregister-command-consumer") => {
                Some(Operation::UnregisterConsumer)
            }
            (Self::CommandRouter { .. }, "set-last-known-gw") => Some(Operation::LastKnownGateway),
            (Self::CommandRouter { .. }, "enable-command-routing") => {
                Some(Operation::EnableRouting)
            }
            (Self::CommandRouter { .. }, _) => None,
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
        let Ok(request) = Message::decode(message) else {
            return rejected();
        };
        let properties = &request.properties;
        let correlation = properties
            .correlation_id
            .as_ref()
            .or(properties.message_id.as_ref());
        let (Some(correlation), Some(subject), Some(reply_to)) = (
            correlation,
            properties.subject.as_deref(),
            properties.reply_to.as_deref(),
        ) else {
            return rejected();
        };
        let operation = service.operation(subject);
        let fault = operation.and_then(|operation| self.services.fault(operation));
        if let Some(Fault::Settled(outcome)) = fault {
            return outcome.into_state();
        }
        let response = match fault {
            Some(Fault::Status(status)) => refusal(status, service, &request),
            _ => self.serve(service, subject, &request),
        };
        tracing::debug!(?service, subject, status = response.status, "request");
        if let Some(operation) = operation {
            let silent = fault == Some(Fault::Silent);
            self.services.tell(|| Asked {
                operation,
                address: service.address(),
                sections: Sections::decode(message)
                    .map(|sections| sections.to_json())
                    .unwrap_or_default(),
                body: request.body.bytes().to_vec(),
                status: if silent { 0 } else { response.status },
            });
        }
        let answer = answer(&response, correlation.clone(), self.next_id());
        match fault {
            None => {
                if let Some(link) = self.reply_link_of(connection, reply_to)
                    && let Some(message) =
                        (self.holds).keep(service, request.body.bytes(), link, answer.encode())
                {
                    self.push_own(link, message);
                }
            }
            Some(Fault::Status(_) | Fault::Settled(_)) => {
                self.reply(connection, reply_to, answer.encode());
            }
            Some(Fault::Twice) => {
                self.reply(connection, reply_to, answer.encode());
                self.reply(connection, reply_to, answer.encode());
            }
            Some(Fault::Garbage(garbage)) => {
                self.reply(connection, reply_to, answer.spoilt(garbage));
            }
            Some(Fault::Late(time)) => {
                let late = LateAnswer {
                    connection,
                    reply_to: reply_to.to_owned(),
                    message: answer.encode(),
                };
                let due = (Instant::now() + time, self.next_id());
                self.late.insert(due, late);
                self.deadlines.hasten();
            }
            Some(Fault::Silent) => {}
        }
        DeliveryState::Accepted(Accepted {})
    }

    fn serve(&mut self, service: &Service, subject: &str, request: &Message) -> Response {
        match service {
            Service::Registry(service) => {
                let request = Request {
                    subject,
                    tenant_id: text(request, "tenant_id"),
                    device_id: text(request, "device_id"),
                    gateway_id: text(request, "gateway_id"),
                    body: request.body.bytes(),
                };
                let now = OffsetDateTime::now_utc();
                self.world
                    .look(|world| registry::respond(world, service, &request, now))
            }
            Service::CommandRouter { tenant } => {
                let commands = &mut self.commands;
                let (response, presence) = self.world.look(|world| {
                    commands.respond(world, tenant, subject, request, Instant::now())
                });
                if let Some(presence) = presence {
                    self.tell_presence(&presence);
                }
                response
            }
        }
    }

    fn reply(&mut self, connection: u64, reply_to: &str, message: Vec<u8>) {
        if let Some(link) = self.reply_link_of(connection, reply_to) {
            self.push_own(link, message);
        }
    }

    /// The reply link that a request named; one on another connection is as good as none.
    fn reply_link_of(&self, connection: u64, reply_to: &str) -> Option<u64> {
        self.reply_link(reply_to).filter(|link| {
            self.links
                .get(link)
                .is_some_and(|link| link.connection == connection)
        })
    }

    /// Sends the answers whose time has come. Tells when the next one's has.
    pub(super) fn send_late_answers(&mut self, now: Instant) -> Option<Instant> {
        while let Some(((due, _), _)) = self.late.first_key_value() {
            if *due > now {
                return Some(*due);
            }
            if let Some((_, late)) = self.late.pop_first() {
                self.reply(late.connection, &late.reply_to, late.message);
            }
        }
        None
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
                    "dropped messages: the receiver grants no credit"
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

/// An answer that waits until it is sent.
pub(super) struct LateAnswer {
    connection: u64,
    reply_to: String,
    message: Vec<u8>,
}

fn refusal(status: i32, service: &Service, request: &Message) -> Response {
    Response {
        status,
        cache_control: None,
        tenant_id: None,
        device_id: text(request, "device_id").map(str::to_owned),
        to: service.address(),
        body: Body::Text("the sandbox is configured to refuse this"),
    }
}

fn answer(response: &Response, correlation: MessageId, number: u64) -> Answer {
    let (content_type, body) = match &response.body {
        Body::None => (None, None),
        Body::Json(json) => (Some("application/json"), Some(json.to_string())),
        Body::Text(text) => (Some("text/plain"), Some((*text).to_owned())),
    };
    // Without content there is no section: Hono's clients take an empty one for content that is no JSON.
    let mut answer = body.map_or_else(Message::default, Message::data);
    answer.properties.message_id = Some(format!("sandbox-{number}").into());
    answer.properties.to = Some(response.to.clone());
    answer.properties.correlation_id = Some(correlation);
    answer.properties.content_type = content_type.map(str::to_owned);
    let texts = [
        ("cache_control", response.cache_control),
        ("tenant_id", response.tenant_id.as_deref()),
        ("device_id", response.device_id.as_deref()),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    answer.application_properties = vec![(STATUS.to_owned(), response.status.into())];
    answer.application_properties.extend(texts);
    Answer(answer)
}

fn rejected() -> DeliveryState {
    let error = error("hono:bad-request", "malformed request message");
    DeliveryState::Rejected(Rejected { error: Some(error) })
}

/// An application property that is a text.
fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    match message.application_property(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

const MAX_WAITING: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Hono's adapter answered every request with `hono-ttd` by 5.00 when it got an empty section.
    #[test]
    fn an_answer_without_content_has_no_body_section() {
        let registered = Response {
            status: 204,
            cache_control: None,
            tenant_id: None,
            device_id: None,
            to: "cmd_router/T".to_owned(),
            body: Body::None,
        };
        let bytes = answer(&registered, "1".into(), 1).encode();
        let decoded = Message::decode(&bytes).unwrap();
        assert_eq!(decoded.body, amqp_proto::message::Body::None);
    }

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

//! A device's answer to a command on its way to the application (spec: coap-adapter §7; amqp-messages §5).

use std::time::{Instant, SystemTime};

use amqp_client::{Body, Connection, Header, Message, Properties, Value};
use coap_proto::content_format::media_type;
use coap_proto::{Reliability, Request};
use registry_client::{Assertion, Tenant};
use tracing::Instrument;

use super::request_id::RequestId;
use crate::authn::Origin;
use crate::rejection::Rejection;
use crate::upload::accepted;
use crate::upload::content_type::OCTET_STREAM;
use crate::upload::defaults::Defaults;
use crate::upload::message::{Settings, Stamp, Stamps, annotations, finished, overlaid};
use crate::upload::order::Ticket;
use crate::upload::query::Query;
use crate::upload::ttl::{self, Kind};
use observability::metrics::{Link, Metrics};
use observability::spans::trace_span;

/// What a device answers.
#[derive(Debug)]
pub struct CommandResponse<'a> {
    request_id: RequestId,
    status: i32,
    content_type: Option<std::borrow::Cow<'static, str>>,
    payload: &'a [u8],
}

impl<'a> CommandResponse<'a> {
    /// An answer that may get lost is none.
    ///
    /// # Errors
    /// [`Rejection::NotConfirmable`].
    pub fn check_reliability(request: &Request) -> Result<(), Rejection> {
        match request.reliability() {
            Reliability::Confirmable => Ok(()),
            Reliability::NonConfirmable => Err(Rejection::NotConfirmable("command response")),
        }
    }

    /// Checks what needs no look-up; `device` is the origin, `request_id` as it stands in the path.
    ///
    /// # Errors
    /// [`Rejection::MalformedCommandResponse`].
    pub fn of(
        request: &'a Request,
        request_id: Option<&str>,
        query: &Query,
        device: &str,
    ) -> Result<Self, Rejection> {
        let decoded = request_id.and_then(|text| RequestId::decode(text, device));
        let status = query
            .command_status
            .filter(|status| matches!(status, 200..=299 | 400..=599));
        let (Some(decoded), Some(status)) = (decoded, status) else {
            return Err(Rejection::MalformedCommandResponse {
                request_id: request_id.map(str::to_owned),
                status: query.command_status,
            });
        };
        let content_type = request.content_format().map(media_type);
        Ok(Self {
            request_id: decoded,
            status,
            content_type,
            payload: request.payload(),
        })
    }

    /// The body.
    #[must_use]
    pub const fn payload(&self) -> &[u8] {
        self.payload
    }

    fn message(
        &self,
        tenant: &Tenant,
        assertion: &Assertion,
        origin: &Origin,
        settings: Settings,
        stamp: Stamp,
    ) -> (String, Message) {
        let levels = [&tenant.defaults, &assertion.defaults];
        let defaults = Defaults::of(&levels);
        let reply_id = self.request_id.reply_id();
        let address = format!("command_response/{}/{reply_id}", origin.tenant);
        let content_type = self
            .content_type
            .as_deref()
            .or(defaults.text("content-type"));
        let own = vec![
            (
                "tenant_id",
                Value::String(origin.tenant.as_ref().to_owned()),
            ),
            (
                "device_id",
                Value::String(origin.device.as_ref().to_owned()),
            ),
            ("status", Value::Int(self.status)),
        ];
        let message = Message {
            header: Header {
                durable: false,
                ttl: ttl::effective(Kind::CommandResponse, &defaults, &tenant.resource_limits),
            },
            // The reply id stands where others have the device: applications know it so.
            annotations: annotations(&origin.tenant, reply_id, address.clone()),
            properties: Properties {
                message_id: Some(stamp.message_id.into()),
                to: Some(address.clone()),
                correlation_id: Some(self.request_id.correlation_id().to_owned().into()),
                content_type: Some(content_type.unwrap_or(OCTET_STREAM).to_owned()),
                content_encoding: defaults.text("content-encoding").map(str::to_owned),
                creation_time: Some(stamp.created),
                ..Properties::default()
            },
            application_properties: overlaid(&defaults, own),
            body: Body::Data(self.payload.to_vec()),
        };
        let sampling = tenant.tracing.sampling_of(origin.auth_id.as_deref());
        let trace = stamp.trace.sampled(settings.sampler, sampling);
        (address, finished(message, &defaults, settings, trace))
    }
}

/// The way of answers; each goes over a link of its own.
#[derive(Debug)]
pub struct Responder {
    connection: Connection,
    settings: Settings,
    stamps: Stamps,
    metrics: Metrics,
}

impl Responder {
    /// Answers over this connection.
    #[must_use]
    pub const fn new(
        connection: Connection,
        settings: Settings,
        stamps: Stamps,
        metrics: Metrics,
    ) -> Self {
        Self {
            connection,
            settings,
            stamps,
            metrics,
        }
    }

    /// Sends an answer when `ticket` has its turn, and waits until the application has taken it.
    ///
    /// # Errors
    /// [`Rejection::Send`] and [`Rejection::NotAccepted`].
    pub async fn send(
        &self,
        response: &CommandResponse<'_>,
        tenant: &Tenant,
        assertion: &Assertion,
        origin: &Origin,
        ticket: Ticket,
    ) -> Result<(), Rejection> {
        let span = trace_span!("forward Command response", otel.kind = "producer");
        let stamp = span.in_scope(|| self.stamps.next(SystemTime::now()));
        let (address, message) = response.message(tenant, assertion, origin, self.settings, stamp);
        let (started, tenant) = (Instant::now(), &origin.tenant);
        let sent = async {
            ticket.turn().await;
            let sender = self.connection.sender_since(&address, started).await?;
            let delivery = sender.send(&message).await?;
            drop(ticket);
            // The link of its own is detached whatever comes of it.
            delivery.outcome(None).await
        };
        let sent = sent.instrument(span).await;
        self.metrics.sent(
            Link::CommandResponse,
            tenant,
            sent.as_ref(),
            started.elapsed(),
        );
        accepted(sent)
    }
}

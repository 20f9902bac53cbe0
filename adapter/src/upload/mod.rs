//! Telemetry and events on their way to applications: what is checked, what the AMQP message says, how it is sent
//! (spec: coap-adapter §3, §4; amqp-messages §2-§4).

pub mod query;
pub mod content_type;
pub mod defaults;
pub mod ttl;
pub mod message;
pub mod order;

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use amqp_client::{Connection, LinkError, Outcome as Disposition, SendError, Senders, Until};
use coap_proto::{Reliability, Request};
use fair_share::Holder;
use registry_client::{Assertion, Tenant};
use tracing::Instrument;

use self::message::{Settings, Stamps};
use self::order::Ticket;
use self::query::Query;
use crate::authn::Origin;
use crate::rejection::Rejection;
use crate::route::Endpoint;
use observability::metrics::{Link, Metrics};
use observability::spans::trace_span;

/// What a message says by itself; the content type is checked against the body.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Telemetry or event.
    pub endpoint: Endpoint,
    /// Whether the device wants to know what became of it.
    pub reliability: Reliability,
    /// The request's path as sent.
    pub path: &'a [String],
    /// What the body is, if the message tells.
    pub content_type: Option<std::borrow::Cow<'static, str>>,
    /// The body.
    pub payload: &'a [u8],
    /// Who uses the link's credit for it.
    pub holder: Holder,
}

impl<'a> Upload<'a> {
    /// Checks what needs no look-up.
    ///
    /// # Errors
    /// [`Rejection::NotConfirmable`] for an event that may get lost, [`Rejection::ContentMismatch`].
    pub fn of(
        endpoint: Endpoint,
        request: &'a Request,
        query: &Query,
        holder: Holder,
    ) -> Result<Self, Rejection> {
        let reliability = request.reliability();
        if endpoint == Endpoint::Event && reliability == Reliability::NonConfirmable {
            return Err(Rejection::NotConfirmable(endpoint.name()));
        }
        let payload = request.payload();
        let content_type =
            content_type::of_message(query.notification, request.content_format(), payload)?;
        Ok(Self {
            endpoint,
            reliability,
            path: request.uri_path(),
            content_type,
            payload,
            holder,
        })
    }
}

/// The links for telemetry and for events, each kind on connections of its own.
#[derive(Debug)]
pub struct Uplink {
    telemetry: SendersByTenant,
    event: SendersByTenant,
    settings: Settings,
    stamps: Stamps,
    metrics: Metrics,
}

impl Uplink {
    /// Sends over these connections.
    #[must_use]
    pub fn new(
        telemetry: Vec<Connection>,
        event: Vec<Connection>,
        settings: Settings,
        stamps: Stamps,
        metrics: Metrics,
    ) -> Self {
        let hasher = RandomState::new();
        let by_tenant = |connections: Vec<Connection>| SendersByTenant {
            senders: connections.into_iter().map(Senders::new).collect(),
            hasher: hasher.clone(),
        };
        let (telemetry, event) = (by_tenant(telemetry), by_tenant(event));
        Self {
            telemetry,
            event,
            settings,
            stamps,
            metrics,
        }
    }

    /// Ends the links of a tenant as far as they carried nothing for that long.
    pub fn close_idle(&self, tenant: &str, for_longer_than: Duration) {
        for (endpoint, senders) in [
            (Endpoint::Telemetry, &self.telemetry),
            (Endpoint::Event, &self.event),
        ] {
            if let Some(senders) = senders.of(tenant) {
                senders.close_idle(&address(endpoint, tenant), for_longer_than);
            }
        }
    }

    /// Credit that is left, and how many links there are, over all tenants.
    #[must_use]
    pub fn links(&self, endpoint: Endpoint) -> (u64, usize) {
        let senders = match endpoint {
            Endpoint::Telemetry => &self.telemetry,
            Endpoint::Event => &self.event,
        };
        let credit = senders.senders.iter().map(Senders::credit).sum();
        (credit, senders.senders.iter().map(Senders::len).sum())
    }

    /// Sends a message when `ticket` has its turn and, if the device wants to know, waits until the consumer has taken it.
    /// The next message of the stream has its turn as soon as this one is transferred.
    ///
    /// # Errors
    /// [`Rejection::Send`] and [`Rejection::NotAccepted`].
    pub async fn send(
        &self,
        upload: &Upload<'_>,
        tenant: &Tenant,
        assertion: &Assertion,
        origin: &Origin,
        ttd: Option<i32>,
        ticket: Ticket,
    ) -> Result<(), Rejection> {
        let span = match upload.endpoint {
            Endpoint::Telemetry => trace_span!("forward Telemetry data", otel.kind = "producer"),
            Endpoint::Event => trace_span!("forward Event", otel.kind = "producer"),
        };
        let stamp = span.in_scope(|| self.stamps.next(SystemTime::now()));
        let message =
            message::of_upload(upload, tenant, assertion, origin, ttd, self.settings, stamp);
        let (senders, until) = match (upload.endpoint, upload.reliability) {
            (Endpoint::Event, _) => (&self.event, Until::Settled),
            (Endpoint::Telemetry, Reliability::Confirmable) => (&self.telemetry, Until::Settled),
            (Endpoint::Telemetry, Reliability::NonConfirmable) => {
                (&self.telemetry, Until::Transferred)
            }
        };
        let address = address(upload.endpoint, &origin.tenant);
        let started = Instant::now();
        let sent = async {
            let senders = senders.of(&origin.tenant).ok_or(LinkError::NotConnected)?;
            ticket.turn().await;
            let holder = Some(upload.holder);
            let delivery = senders
                .transfer(&address, &message, started, holder)
                .await?;
            drop(ticket);
            until.outcome(delivery).await
        };
        let sent = sent.instrument(span).await;
        let link = match upload.endpoint {
            Endpoint::Telemetry => Link::Telemetry,
            Endpoint::Event => Link::Event,
        };
        self.metrics
            .sent(link, &origin.tenant, sent.as_ref(), started.elapsed());
        accepted(sent)
    }
}

/// The links on several connections: a tenant's are all on one, which keeps the order of what its devices send.
#[derive(Debug)]
struct SendersByTenant {
    senders: Vec<Senders>,
    hasher: RandomState,
}

impl SendersByTenant {
    fn of(&self, tenant: &str) -> Option<&Senders> {
        match self.senders.as_slice() {
            [only] => Some(only),
            several => {
                let hash = self.hasher.hash_one(tenant);
                let count = u64::try_from(several.len()).ok()?;
                several.get(usize::try_from(hash.checked_rem(count)?).ok()?)
            }
        }
    }
}

/// Where messages of a tenant go (spec: amqp-messages §1).
fn address(endpoint: Endpoint, tenant: &str) -> String {
    format!("{}/{tenant}", endpoint.name())
}

/// Only what was accepted is done.
pub(crate) fn accepted(sent: Result<Disposition, SendError>) -> Result<(), Rejection> {
    match sent {
        Ok(Disposition::Accepted) => Ok(()),
        Ok(other) => Err(Rejection::NotAccepted(other)),
        Err(error) => Err(Rejection::Send(error)),
    }
}

//! What metrics say of one request or command, put together while it is in the works (spec: metrics-health §2).

use std::time::{Duration, Instant};

use amqp_client::{Message, Outcome as Disposition};
use coap_proto::Reliability;
use registry_client::Tenant;

use crate::command::inbox::Received;
use crate::command::message::Target;
use crate::monitoring::metrics::{self, Direction, Metrics, Qos, Status, Ttd, UploadKind};
use crate::rejection::Rejection;
use crate::respond::Outcome;
use crate::route::Endpoint;
use crate::tenant::data_volume::payload_size;

/// A request's account, from its beginning to its answer.
#[derive(Debug)]
pub struct Account<'a> {
    metrics: &'a Metrics,
    opened: Instant,
    bytes: usize,
    /// What they are rounded up to, once the tenant is known.
    minimum: u32,
    ttd: Ttd,
}

impl<'a> Account<'a> {
    /// Opens the account of a request with this body.
    #[must_use]
    pub fn open(metrics: &'a Metrics, payload: &[u8]) -> Self {
        Self {
            metrics,
            opened: Instant::now(),
            bytes: payload.len(),
            minimum: 0,
            ttd: Ttd::None,
        }
    }

    /// Counts the body as the tenant wants it.
    pub fn weigh(&mut self, tenant: &Tenant) {
        self.minimum = tenant.minimum_message_size;
    }

    /// The request waited for a command, and one came or not.
    pub fn waited(&mut self, received: Option<&Received>) {
        self.ttd = if received.is_some() {
            Ttd::Command
        } else {
            Ttd::Expired
        };
    }

    /// Closes the account of telemetry or an event.
    pub fn close_upload(
        self,
        endpoint: Endpoint,
        reliability: Reliability,
        tenant: &str,
        result: &Result<Outcome, Rejection>,
    ) {
        self.metrics.upload(&metrics::Upload {
            kind: match endpoint {
                Endpoint::Telemetry => UploadKind::Telemetry,
                Endpoint::Event => UploadKind::Event,
            },
            tenant,
            status: status(result),
            qos: match reliability {
                Reliability::Confirmable => Qos::AtLeastOnce,
                Reliability::NonConfirmable => Qos::AtMostOnce,
            },
            ttd: self.ttd,
            payload: payload_size(self.bytes, self.minimum),
            duration: self.opened.elapsed(),
        });
    }

    /// Closes the account of a command response.
    pub fn close_response(self, tenant: &str, result: &Result<Outcome, Rejection>) {
        self.metrics.command(&metrics::Command {
            direction: Direction::Response,
            tenant,
            status: status(result),
            payload: payload_size(self.bytes, self.minimum),
            duration: self.opened.elapsed(),
        });
    }
}

/// Counts a command that comes to no waiting request; it may be malformed, so only its message is there.
pub fn count_command(metrics: &Metrics, message: &Message, status: Status) {
    metrics.command(&metrics::Command {
        direction: direction(message.properties.reply_to.is_some()),
        tenant: &Target::of(message)
            .map(|target| target.tenant)
            .unwrap_or_default(),
        status,
        payload: payload_size(message.body.bytes().len(), 0),
        duration: Duration::ZERO,
    });
}

/// Lets a command be counted when it is settled: it stands in a response then, or cannot be told.
#[must_use]
pub fn watch_command(
    metrics: &Metrics,
    mut received: Box<Received>,
    tenant: &Tenant,
) -> Box<Received> {
    let payload = payload_size(
        received.command.payload.0.len(),
        tenant.minimum_message_size,
    );
    let (direction, arrived) = (
        direction(received.command.request_id.is_some()),
        received.arrived,
    );
    let (metrics, tenant) = (metrics.clone(), tenant.id.clone());
    received.delivery.watch(move |outcome| {
        let status = match outcome {
            Disposition::Accepted => Status::Forwarded,
            Disposition::Rejected { .. } => Status::Unprocessable,
            _ => Status::Undeliverable,
        };
        let duration = arrived.elapsed();
        metrics.command(&metrics::Command {
            direction,
            tenant: &tenant,
            status,
            payload,
            duration,
        });
    });
    received
}

const fn direction(wants_answer: bool) -> Direction {
    if wants_answer {
        Direction::Request
    } else {
        Direction::OneWay
    }
}

fn status(result: &Result<Outcome, Rejection>) -> Status {
    match result {
        Ok(_) => Status::Forwarded,
        Err(rejection) => Status::of(rejection.code()),
    }
}

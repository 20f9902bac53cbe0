//! What metrics say of one request, put together while it is in progress (spec: metrics-health §2).

use std::time::Instant;

use coap_proto::Reliability;
use registry_client::Tenant;

use crate::rejection::Rejection;
use crate::respond::Outcome;
use crate::route::Endpoint;
use crate::tenant::data_volume::payload_size;
use observability::metrics::{self, Direction, Metrics, Qos, Status, Ttd, UploadKind};

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

    /// Records what became of waiting for a command.
    pub const fn set_ttd(&mut self, ttd: Ttd) {
        self.ttd = ttd;
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

fn status(result: &Result<Outcome, Rejection>) -> Status {
    match result {
        Ok(_) => Status::Forwarded,
        Err(rejection) => Status::of(rejection.code()),
    }
}

//! Counts commands by what becomes of them (spec: metrics-health §2).

use std::time::Duration;

use amqp_client::{Message, Outcome as Disposition};
use registry_client::Tenant;

use super::inbox::Received;
use super::message::Target;
use crate::tenant::data_volume::payload_size;
use observability::metrics::{Command as Counted, Direction, Metrics, Status};

/// Counts a command that comes to no waiting request; it may be malformed, so only its message is there.
pub(super) fn count(metrics: &Metrics, message: &Message, status: Status) {
    metrics.command(&Counted {
        direction: direction(message.properties.reply_to.is_some()),
        tenant: &Target::of(message)
            .map(|target| target.tenant)
            .unwrap_or_default(),
        status,
        payload: payload_size(message.body.bytes().len(), 0),
        duration: Duration::ZERO,
    });
}

/// Counts a command as soon as it is settled.
#[must_use]
pub(crate) fn count_when_settled(
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
        metrics.command(&Counted {
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

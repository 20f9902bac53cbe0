//! The meters of one tenant (spec: metrics-health §2).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    Command, Upload,
    distribution::Distribution,
    labels::{Direction, Disposition, Link, Qos, Status, Ttd, UploadKind},
    page::{Meter, Page, approximate},
};

/// What was counted, by the values of all labels but the tenant.
#[derive(Debug)]
pub(super) struct Series {
    /// When a message or a command was last reported.
    heard: Instant,
    uploads: BTreeMap<(UploadKind, Status, Qos, Ttd), Processed>,
    commands: BTreeMap<(Direction, Status), Processed>,
    deliveries: BTreeMap<(Link, Disposition), Distribution>,
    no_credit: BTreeMap<Link, u64>,
    timed_out: BTreeMap<Link, u64>,
}

impl Series {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            uploads: BTreeMap::new(),
            commands: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            no_credit: BTreeMap::new(),
            timed_out: BTreeMap::new(),
        }
    }

    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    pub(super) fn is_idle(&self, now: Instant, timeout: Duration) -> bool {
        now.saturating_duration_since(self.heard) >= timeout
    }

    pub(super) fn upload(&mut self, upload: &Upload<'_>, now: Instant) {
        self.heard = now;
        let labels = (upload.kind, upload.status, upload.qos, upload.ttd);
        self.uploads
            .entry(labels)
            .or_insert_with(|| Processed::new(now))
            .record(upload.duration, upload.payload, now);
    }

    pub(super) fn command(&mut self, command: &Command<'_>, now: Instant) {
        self.heard = now;
        self.commands
            .entry((command.direction, command.status))
            .or_insert_with(|| Processed::new(now))
            .record(command.duration, command.payload, now);
    }

    pub(super) fn delivery(
        &mut self,
        link: Link,
        disposition: Disposition,
        duration: Duration,
        now: Instant,
    ) {
        self.deliveries
            .entry((link, disposition))
            .or_insert_with(|| Distribution::new(now))
            .record(duration.as_secs_f64(), now);
    }

    pub(super) fn no_credit(&mut self, link: Link) {
        count(self.no_credit.entry(link).or_default());
    }

    pub(super) fn timed_out(&mut self, link: Link) {
        count(self.timed_out.entry(link).or_default());
    }

    pub(super) fn write(&mut self, page: &mut Page, tenant: &str, now: Instant) {
        for ((kind, status, qos, ttd), processed) in &mut self.uploads {
            let labels = [
                ("qos", qos.as_str()),
                ("status", status.as_str()),
                ("tenant", tenant),
                ("ttd", ttd.as_str()),
                ("type", kind.as_str()),
            ];
            page.distribution(&UPLOAD_DURATION, &labels, &mut processed.duration, now);
            page.distribution(&UPLOAD_PAYLOAD, &labels, &mut processed.payload, now);
        }
        for ((direction, status), processed) in &mut self.commands {
            let labels = [
                ("direction", direction.as_str()),
                ("status", status.as_str()),
                ("tenant", tenant),
            ];
            page.distribution(&COMMAND_DURATION, &labels, &mut processed.duration, now);
            page.distribution(&COMMAND_PAYLOAD, &labels, &mut processed.payload, now);
        }
        for ((link, disposition), duration) in &mut self.deliveries {
            let labels = [
                ("outcome", disposition.as_str()),
                ("tenant", tenant),
                ("type", link.as_str()),
            ];
            page.distribution(&DELIVERY_DURATION, &labels, duration, now);
        }
        for ((name, help), counts) in [(NO_CREDIT, &self.no_credit), (TIMED_OUT, &self.timed_out)] {
            for (link, count) in counts {
                let labels = [("tenant", tenant), ("type", link.as_str())];
                page.counter(name, help, &labels, *count);
            }
        }
    }
}

/// The two meters that each message has.
#[derive(Debug)]
struct Processed {
    duration: Distribution,
    payload: Distribution,
}

impl Processed {
    const fn new(now: Instant) -> Self {
        Self {
            duration: Distribution::new(now),
            payload: Distribution::new(now),
        }
    }

    fn record(&mut self, duration: Duration, payload: u64, now: Instant) {
        self.duration.record(duration.as_secs_f64(), now);
        self.payload.record(approximate(payload), now);
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// What has count, sum and maximum, with its labels.
pub(super) const DISTRIBUTIONS: &[(Meter, &[&str])] = &[
    (UPLOAD_DURATION, UPLOAD_LABELS),
    (UPLOAD_PAYLOAD, UPLOAD_LABELS),
    (COMMAND_DURATION, COMMAND_LABELS),
    (COMMAND_PAYLOAD, COMMAND_LABELS),
    (DELIVERY_DURATION, &["outcome", "tenant", "type"]),
];

/// What only grows, with its labels.
pub(super) const COUNTERS: &[(Meter, &[&str])] = &[
    (NO_CREDIT, &["tenant", "type"]),
    (TIMED_OUT, &["tenant", "type"]),
];

const UPLOAD_LABELS: &[&str] = &["qos", "status", "tenant", "ttd", "type"];
const COMMAND_LABELS: &[&str] = &["direction", "status", "tenant"];

const UPLOAD_DURATION: Meter = (
    "hono_telemetry_processing_duration_seconds",
    "Time from receiving a telemetry message or event to responding to it.",
);
const UPLOAD_PAYLOAD: Meter = (
    "hono_telemetry_payload_bytes",
    "Payload size of telemetry messages and events, rounded up to the tenant's minimum message size.",
);
const COMMAND_DURATION: Meter = (
    "hono_command_processing_duration_seconds",
    "Time from receiving a command or command response to the end of its processing.",
);
const COMMAND_PAYLOAD: Meter = (
    "hono_command_payload_bytes",
    "Payload size of commands and command responses, rounded up to the tenant's minimum message size.",
);
const DELIVERY_DURATION: Meter = (
    "hono_amqp_delivery_duration_seconds",
    "Time from sending an AMQP message to its disposition.",
);
const NO_CREDIT: Meter = (
    "hono_amqp_nocredit_total",
    "Messages not sent for lack of credit.",
);
const TIMED_OUT: Meter = (
    "hono_amqp_timeout_total",
    "Messages whose disposition did not arrive in time.",
);

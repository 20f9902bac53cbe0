//! Commands on their way through the command router: from `command/<tenant>` to `command_internal/<adapter instance>`, and the
//! outcome back (spec: command-routing §3, §5).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use fe2o3_amqp_types::{
    definitions::Role,
    messaging::{DeliveryState, Rejected, Released},
};
use tokio::sync::Notify;

use amqp_proto::Message;
use time::OffsetDateTime;

use super::{
    deliveries::{Delivery, Kind, Partial, disposition_of},
    links::LinkEnd,
    router::Router,
};
use crate::{
    amqp::error,
    command_router::{Decision, Presence, Rejection},
    services::{Fault, Operation},
};

/// When commands that were handed to adapters have to be settled, the earliest first.
#[derive(Default)]
pub(super) struct Deadlines {
    queue: VecDeque<(Instant, u64)>,
    changed: Arc<Notify>,
}

impl Deadlines {
    /// Notified when there is a first deadline again.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// There is something to do earlier than before.
    pub(super) fn hasten(&self) {
        self.changed.notify_one();
    }

    fn push(&mut self, deadline: Instant, delivery: u64) {
        if self.queue.is_empty() {
            self.hasten();
        }
        self.queue.push_back((deadline, delivery));
    }
}

impl Router {
    /// Passes a command on, or settles it at once.
    pub(super) fn on_command(&mut self, sender: u64, tenant: &str, command: &Partial) {
        let now = Instant::now();
        let router = &mut self.commands;
        let decision = self
            .world
            .look(|world| router.route(world, tenant, &command.message, now));
        let decision = self.unless_look_ups_fail(decision);
        let state = match decision {
            Decision::Forward { instance, message } => {
                let address = format!("command_internal/{instance}");
                // Without credit the instance is gone, or as good as.
                let Some(receiver) = self.next_receiver(&address) else {
                    tracing::debug!(instance, "no credit from this adapter instance");
                    self.settle_command(sender, command, DeliveryState::Released(Released {}));
                    return;
                };
                self.hand_over(sender, command, message, address, receiver, now);
                return;
            }
            Decision::Release => DeliveryState::Released(Released {}),
            Decision::Reject(rejection) => rejected(
                rejection.condition(),
                Some(rejection.description().to_owned()),
            ),
        };
        self.settle_command(sender, command, state);
    }

    /// What becomes of a command if the registry is to fail: its sender, its device and its gateways are not known then
    /// (spec: command-routing §3 steps 5, 6 and 8). What is wrong with the message itself is seen before anybody is asked.
    fn unless_look_ups_fail(&self, decision: Decision) -> Decision {
        let is_wrong = matches!(
            &decision,
            Decision::Reject(reason) if !matches!(reason, Rejection::UnknownTenant | Rejection::UnknownDevice)
        );
        let unknown = [
            (Operation::Tenant, Rejection::UnknownTenant),
            (Operation::Assertion, Rejection::UnknownDevice),
        ];
        let failed = unknown.into_iter().find_map(|(operation, unknown)| {
            match self.services.fault(operation)? {
                Fault::Status(404) => Some(Decision::Reject(unknown)),
                Fault::Late(_) | Fault::Twice => None,
                _ => Some(Decision::Release),
            }
        });
        failed.filter(|_| !is_wrong).unwrap_or(decision)
    }

    fn hand_over(
        &mut self,
        sender: u64,
        command: &Partial,
        message: Vec<u8>,
        address: String,
        receiver: u64,
        now: Instant,
    ) {
        let id = self.next_id();
        self.deliveries.insert(
            id,
            Delivery {
                origin: (!command.settled).then_some((sender, command.number)),
                kind: Kind::Command,
                address,
                message: Arc::new(message),
                format: command.format,
                settled: false,
                waiting: false,
                receiver: None,
            },
        );
        if !command.settled
            && let Some(link) = self.links.get_mut(&sender)
        {
            if let LinkEnd::From { unsettled, .. } = &mut link.end {
                *unsettled += 1;
            }
            let (connection, channel) = (link.connection, link.channel);
            if let Some(session) = self.session(connection, channel) {
                session.incoming.insert(command.number, id);
            }
        }
        self.deadlines.push(now + SETTLED_WITHIN, id);
        self.deliver(id, receiver);
    }

    fn settle_command(&self, sender: u64, command: &Partial, state: DeliveryState) {
        if !command.settled
            && let Some(link) = self.links.get(&sender)
        {
            self.settle(link.connection, link.channel, command.number, state);
        }
    }

    /// Sends an event for a device that came or went.
    pub(super) fn tell_presence(&mut self, presence: &Presence) {
        let Presence {
            tenant,
            device,
            ttd,
        } = presence;
        let mut event = Message::data(Vec::new());
        event.header.durable = true;
        let id = format!("command-router-event-{}", self.next_id());
        event.properties.message_id = Some(id.into());
        event.properties.to = Some(format!("event/{tenant}"));
        let content_type = "application/vnd.eclipse-hono-empty-notification";
        event.properties.content_type = Some(content_type.to_owned());
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        event.properties.creation_time = i64::try_from(now).ok();
        event.application_properties = vec![
            ("device_id".to_owned(), device.as_str().into()),
            ("ttd".to_owned(), (*ttd).into()),
        ];
        event.annotations = [
            ("tenant_id", tenant.clone()),
            ("device_id", device.clone()),
            ("resource", format!("event/{tenant}/{device}")),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .to_vec();
        let mut bytes = Vec::with_capacity(event.size_hint());
        event.encode(&mut bytes);
        self.publish(&format!("event/{tenant}"), bytes);
    }

    /// Does what is due. Tells when there is something to do next.
    pub(super) fn keep_time(&mut self, now: Instant) -> Option<Instant> {
        let answer = self.send_late_answers(now);
        let command = self.release_late_commands(now);
        answer.into_iter().chain(command).min()
    }

    /// Releases the commands whose time is over. Tells when the next one's is.
    fn release_late_commands(&mut self, now: Instant) -> Option<Instant> {
        while let Some((deadline, id)) = self.deadlines.queue.front().copied() {
            if deadline > now {
                return Some(deadline);
            }
            self.deadlines.queue.pop_front();
            if self.deliveries.contains_key(&id) {
                tracing::debug!("an adapter did not settle a command in time");
                self.take_back(id);
                self.release(id);
            }
        }
        None
    }

    /// Tells the receiver that nobody waits for its outcome any more.
    fn take_back(&mut self, id: u64) {
        let receiver = self
            .deliveries
            .get(&id)
            .and_then(|delivery| delivery.receiver);
        let Some(link) = receiver.and_then(|receiver| self.links.get(&receiver)) else {
            return;
        };
        let (connection, channel) = (link.connection, link.channel);
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        let number = session
            .outgoing
            .iter()
            .find(|(_, delivery)| **delivery == id)
            .map(|(number, _)| *number);
        if let Some(number) = number {
            session.outgoing.remove(&number);
            session.abort_transfer(number);
            let released = DeliveryState::Released(Released {});
            self.send_disposition(
                connection,
                channel,
                &disposition_of(Role::Sender, number, released),
            );
        }
    }
}

/// The outcome for the application when an adapter has settled its command.
pub(super) fn outcome_of_command(state: DeliveryState) -> DeliveryState {
    match state {
        DeliveryState::Rejected(Rejected { error }) => rejected(
            "hono:bad-request",
            error.and_then(|error| error.description),
        ),
        other => other,
    }
}

fn rejected(condition: &str, description: Option<String>) -> DeliveryState {
    let mut error = error(condition, "");
    error.description = description;
    DeliveryState::Rejected(Rejected { error: Some(error) })
}

/// Hono's `sendMessageTimeout`.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

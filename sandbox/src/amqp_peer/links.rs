//! Links: who may attach where, and who has how much credit (AMQP 1.0 part 2 §2.6).

use std::collections::VecDeque;

use fe2o3_amqp_types::{
    definitions::{Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Source, TargetArchetype},
    performatives::{Attach, Detach, Flow},
    primitives::Symbol,
};
use serde_amqp::Value;

use super::{
    deliveries::Partial,
    requests::Service,
    router::{HANDLE_MAX, LinkState, Router},
};
use crate::amqp::error;

/// A link of a client, seen from here.
pub(super) struct Link {
    pub(super) connection: u64,
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    pub(super) end: LinkEnd,
}

pub(super) enum LinkEnd {
    /// The client sends.
    From {
        target: Goal,
        unsettled: u32,
        partial: Option<Partial>,
    },
    /// The client receives.
    To {
        source: Origin,
        priority: i32,
        settled: bool,
        drain: bool,
        /// Responses and notifications that there was no credit for yet.
        own: VecDeque<Vec<u8>>,
    },
}

/// Where a sender's messages go.
#[derive(Clone)]
pub(super) enum Goal {
    Address(String),
    Service(Service),
    /// To the command router: commands for the devices of a tenant.
    Commands {
        tenant: String,
    },
}

/// Where a receiver's messages come from.
pub(super) enum Origin {
    Address(String),
    /// Responses to the requests that name this address.
    Replies(String),
}

/// An address with somebody attached to it.
#[derive(Default)]
pub(super) struct Address {
    pub(super) senders: Vec<u64>,
    pub(super) receivers: Vec<u64>,
    /// Whose turn it is next.
    pub(super) turn: usize,
    /// Deliveries that no receiver has credit for.
    pub(super) waiting: VecDeque<u64>,
}

impl Router {
    pub(super) fn on_attach(&mut self, connection: u64, channel: u16, attach: &Attach) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        let handle = attach.handle.0;
        if handle > HANDLE_MAX || session.links.contains_key(&handle) {
            self.close(
                connection,
                "amqp:session:handle-in-use",
                "this handle cannot be used",
            );
            return;
        }
        match attach.role {
            Role::Sender => self.on_attach_sender(connection, channel, attach),
            Role::Receiver => self.on_attach_receiver(connection, channel, attach),
        }
    }

    fn on_attach_sender(&mut self, connection: u64, channel: u16, attach: &Attach) {
        let Some(TargetArchetype::Target(target)) = attach.target.as_deref().cloned() else {
            return self.refuse(
                connection,
                channel,
                attach,
                "amqp:not-implemented",
                "a link without target",
            );
        };
        let address = target.address.clone().unwrap_or_default();
        let goal = match Service::at(&address) {
            Some(_) if attach.snd_settle_mode == SenderSettleMode::Settled => {
                let text = "a request must not be sent settled";
                return self.refuse(
                    connection,
                    channel,
                    attach,
                    "amqp:precondition-failed",
                    text,
                );
            }
            Some(service) => Goal::Service(service),
            None if let Some(tenant) = commands_for(&address) => Goal::Commands {
                tenant: tenant.to_owned(),
            },
            None if is_passed_on(&address) => Goal::Address(address.clone()),
            None => {
                return self.refuse(
                    connection,
                    channel,
                    attach,
                    "amqp:not-found",
                    &unknown(&address),
                );
            }
        };
        let credit = if matches!(goal, Goal::Service(_)) {
            REQUEST_CREDIT
        } else {
            0
        };
        let end = LinkEnd::From {
            target: goal.clone(),
            unsettled: 0,
            partial: None,
        };
        let delivery_count = attach.initial_delivery_count.unwrap_or(0);
        let source = attach.source.as_deref().cloned();
        let target = Some(TargetArchetype::Target(target));
        self.answer(connection, channel, attach, source, target);
        let link = self.add_link(
            connection,
            channel,
            Link {
                connection,
                channel,
                handle: attach.handle.0,
                delivery_count,
                credit,
                end,
            },
        );
        match goal {
            Goal::Address(address) => {
                self.addresses
                    .entry(address)
                    .or_default()
                    .senders
                    .push(link);
                self.grant(link);
            }
            Goal::Service(_) => self.tell_credit(link),
            Goal::Commands { .. } => self.grant(link),
        }
    }

    fn on_attach_receiver(&mut self, connection: u64, channel: u16, attach: &Attach) {
        let Some(mut source) = attach.source.as_deref().cloned() else {
            return self.refuse(
                connection,
                channel,
                attach,
                "amqp:not-implemented",
                "a link without source",
            );
        };
        if source.dynamic {
            source.address = Some(format!("tenant/{}", uuid::Uuid::new_v4()));
        }
        let address = source.address.clone().unwrap_or_default();
        let origin = if Service::is_reply_address(&address) {
            if self.reply_link(&address).is_some() {
                return self.refuse(
                    connection,
                    channel,
                    attach,
                    "amqp:illegal-state",
                    "this reply address is in use",
                );
            }
            Origin::Replies(address.clone())
        } else if is_passed_on(&address) {
            Origin::Address(address.clone())
        } else {
            return self.refuse(
                connection,
                channel,
                attach,
                "amqp:not-found",
                &unknown(&address),
            );
        };
        let passed_on = matches!(origin, Origin::Address(_));
        let end = LinkEnd::To {
            source: origin,
            priority: priority(attach),
            settled: attach.snd_settle_mode == SenderSettleMode::Settled,
            drain: false,
            own: VecDeque::new(),
        };
        let target = attach.target.as_deref().cloned();
        self.answer(connection, channel, attach, Some(source), target);
        let link = self.add_link(
            connection,
            channel,
            Link {
                connection,
                channel,
                handle: attach.handle.0,
                delivery_count: 0,
                credit: 0,
                end,
            },
        );
        if passed_on {
            let known = self.addresses.entry(address).or_default();
            known.receivers.push(link);
            for sender in known.senders.clone() {
                self.grant(sender);
            }
        }
    }

    fn add_link(&mut self, connection: u64, channel: u16, link: Link) -> u64 {
        let id = self.next_id();
        if let Some(session) = self.session(connection, channel) {
            session.links.insert(link.handle, id);
            self.links.insert(id, link);
        }
        id
    }

    fn answer(
        &self,
        connection: u64,
        channel: u16,
        attach: &Attach,
        source: Option<Source>,
        target: Option<TargetArchetype>,
    ) {
        let receives = attach.role == Role::Receiver;
        let answer = Attach {
            name: attach.name.clone(),
            handle: attach.handle.clone(),
            role: if receives {
                Role::Sender
            } else {
                Role::Receiver
            },
            snd_settle_mode: attach.snd_settle_mode.clone(),
            rcv_settle_mode: ReceiverSettleMode::First,
            source: source.map(Box::new),
            target: target.map(Box::new),
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: receives.then_some(0),
            max_message_size: Some(MAX_MESSAGE_SIZE as u64),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.send(connection, channel, &answer);
    }

    /// An attach is answered in any case; without the terminus asked for, and with a detach, it is a refusal (§2.6.3).
    fn refuse(&self, connection: u64, channel: u16, attach: &Attach, condition: &str, text: &str) {
        tracing::debug!(condition, text, "link refused");
        let (source, target) = match attach.role {
            Role::Sender => (attach.source.as_deref().cloned(), None),
            Role::Receiver => (None, attach.target.as_deref().cloned()),
        };
        self.answer(connection, channel, attach, source, target);
        let detach = Detach {
            handle: attach.handle.clone(),
            closed: true,
            error: Some(error(condition, text)),
        };
        self.send(connection, channel, &detach);
    }

    pub(super) fn on_detach(&mut self, connection: u64, channel: u16, detach: &Detach) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        // The answer to a detach of ours finds no link any more.
        if let Some(link) = session.links.get(&detach.handle.0).copied() {
            self.send(
                connection,
                channel,
                &Detach {
                    handle: detach.handle.clone(),
                    closed: detach.closed,
                    error: None,
                },
            );
            self.remove_link(link);
        }
    }

    /// Detaches a link because of a mistake of the client.
    pub(super) fn detach(&mut self, link: u64, condition: &str, text: &str) {
        if let Some(known) = self.links.get(&link) {
            let detach = Detach {
                handle: Handle(known.handle),
                closed: true,
                error: Some(error(condition, text)),
            };
            self.send(known.connection, known.channel, &detach);
            self.remove_link(link);
        }
    }

    pub(super) fn remove_link(&mut self, id: u64) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.drop_backlog(link.connection, link.channel, link.handle);
        let address = match link.end {
            LinkEnd::From {
                target: Goal::Address(address),
                ..
            } => {
                self.forget_sender(id, link.connection, link.channel, &address);
                address
            }
            LinkEnd::To {
                source: Origin::Address(address),
                ..
            } => {
                if let Some(known) = self.addresses.get_mut(&address) {
                    known.receivers.retain(|receiver| *receiver != id);
                }
                self.forget_receiver(id, link.connection, link.channel);
                self.after_leaving(&address);
                address
            }
            LinkEnd::To { .. } => {
                self.forget_receiver(id, link.connection, link.channel);
                String::new()
            }
            LinkEnd::From { .. } => {
                self.forget_sender(id, link.connection, link.channel, "");
                String::new()
            }
        };
        if let Some(session) = self.session(link.connection, link.channel) {
            session.links.remove(&link.handle);
        }
        if self
            .addresses
            .get(&address)
            .is_some_and(|known| known.senders.is_empty() && known.receivers.is_empty())
        {
            self.addresses.remove(&address);
        }
    }

    /// Handles the end of a receiver: others take over, or senders lose their credit.
    fn after_leaving(&mut self, address: &str) {
        let Some(known) = self.addresses.get_mut(address) else {
            return;
        };
        if !known.receivers.is_empty() {
            self.pass_on(address);
            return;
        }
        let waiting = std::mem::take(&mut known.waiting);
        let senders = known.senders.clone();
        for sender in senders {
            if let Some(link) = self.links.get_mut(&sender) {
                link.credit = 0;
                self.tell_credit(sender);
            }
        }
        for delivery in waiting {
            self.release(delivery);
        }
    }

    /// Gives a sender the credit that is due to it, if that is worth telling.
    pub(super) fn grant(&mut self, link: u64) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let LinkEnd::From {
            target, unsettled, ..
        } = &known.end
        else {
            return;
        };
        let due = self.link_credit.saturating_sub(*unsettled);
        let heard = match target {
            Goal::Address(address) => self
                .addresses
                .get(address)
                .is_some_and(|address| !address.receivers.is_empty()),
            // The command router listens for every tenant that there is.
            Goal::Commands { tenant } => {
                (self.world).look(|world| world.tenants.contains_key(tenant))
            }
            Goal::Service(_) => return,
        };
        if heard && due > known.credit && known.credit <= due / 2 {
            known.credit = due;
            self.tell_credit(link);
        }
    }

    pub(super) fn tell_credit(&mut self, link: u64) {
        if let Some(known) = self.links.get(&link) {
            let drain = matches!(known.end, LinkEnd::To { drain: true, .. });
            let state = LinkState {
                handle: known.handle,
                delivery_count: known.delivery_count,
                credit: known.credit,
                drain,
            };
            self.send_flow(known.connection, known.channel, Some(state));
        }
    }

    pub(super) fn on_link_flow(&mut self, id: u64, flow: &Flow) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let LinkEnd::To { source, drain, .. } = &mut link.end else {
            if flow.echo {
                self.tell_credit(id);
            }
            return;
        };
        // §2.6.7: the receiver counts from the deliveries it had seen when it said so.
        let limit = flow
            .delivery_count
            .unwrap_or(0)
            .wrapping_add(flow.link_credit.unwrap_or(0));
        let credit = limit.wrapping_sub(link.delivery_count);
        link.credit = if credit > u32::MAX / 2 { 0 } else { credit };
        *drain = flow.drain;
        let address = match source {
            Origin::Address(address) => Some(address.clone()),
            Origin::Replies(_) => None,
        };
        self.send_own(id);
        if let Some(address) = address {
            self.pass_on(&address);
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if flow.drain {
            link.delivery_count = link.delivery_count.wrapping_add(link.credit);
            link.credit = 0;
        }
        if flow.drain || flow.echo {
            self.tell_credit(id);
        }
    }

    pub(super) fn reply_link(&self, wanted: &str) -> Option<u64> {
        let at = |link: &Link| matches!(&link.end, LinkEnd::To { source: Origin::Replies(address), .. } if address == wanted);
        self.links
            .iter()
            .find(|(_, link)| at(link))
            .map(|(id, _)| *id)
    }
}

/// The tenant whose commands are sent to this address.
fn commands_for(address: &str) -> Option<&str> {
    address
        .strip_prefix("command/")
        .filter(|tenant| !tenant.is_empty() && !tenant.contains('/'))
}

/// The addresses whose messages are passed from senders to receivers.
fn is_passed_on(address: &str) -> bool {
    let (endpoint, rest) = address.split_once('/').unwrap_or((address, ""));
    ENDPOINTS.contains(&endpoint) && !rest.is_empty() && !rest.starts_with('/')
}

fn unknown(address: &str) -> String {
    format!(
        "no node `{address}` here; there are {}/..., command/<tenant> to send to, tenant, registration/<tenant>, credentials/<tenant>, cmd_router/<tenant>",
        ENDPOINTS.join("/..., ")
    )
}

/// Receivers of a lower priority get nothing while one of a higher priority is attached.
fn priority(attach: &Attach) -> i32 {
    let properties = attach.properties.as_ref();
    match properties.and_then(|properties| properties.get(&Symbol::from(PRIORITY))) {
        Some(Value::Int(priority)) => *priority,
        _ => 0,
    }
}

/// The link property by which a receiver asks for a priority other than 0.
pub(crate) const PRIORITY: &str = "priority";
pub(super) const MAX_MESSAGE_SIZE: usize = 1024 * 1024;

const ENDPOINTS: [&str; 5] = [
    "telemetry",
    "event",
    "command_response",
    "command_internal",
    "notification",
];
/// As in Hono's registry (spec: registry-apis A.1).
pub(super) const REQUEST_CREDIT: u32 = 100;

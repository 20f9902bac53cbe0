//! Deliveries: the way of a message from its sender to one receiver, and of the outcome back (AMQP 1.0 part 2 §2.6.12).

use std::sync::Arc;

use fe2o3_amqp_types::{
    definitions::{DeliveryTag, Handle, Role},
    messaging::{Accepted, DeliveryState, Released},
    performatives::{Disposition, Transfer},
};

use super::{
    commands::outcome_of_command,
    links::{Goal, LinkEnd, MAX_MESSAGE_SIZE},
    router::Router,
};
use crate::amqp::frame;

/// A message on its way.
pub(super) struct Delivery {
    /// The sender's link and its number for the delivery; none when the sender waits for no outcome.
    pub(super) origin: Option<(u64, u32)>,
    pub(super) kind: Kind,
    pub(super) address: String,
    pub(super) message: Arc<Vec<u8>>,
    pub(super) format: u32,
    pub(super) settled: bool,
    /// Whether it waits at its address for credit.
    pub(super) waiting: bool,
    /// The receiver's link.
    pub(super) receiver: Option<u64>,
}

/// Who takes part in a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sender and receiver only: all that is said passes as it is.
    Passed,
    /// The command router stands between them (spec: command-routing §5).
    Command,
}

/// A message of which not all has come.
pub(super) struct Partial {
    pub(super) number: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) message: Vec<u8>,
}

impl Router {
    pub(super) fn on_transfer(
        &mut self,
        connection: u64,
        channel: u16,
        transfer: &Transfer,
        part: Vec<u8>,
    ) {
        self.count_incoming(connection, channel);
        let link = self
            .session(connection, channel)
            .and_then(|session| session.links.get(&transfer.handle.0).copied());
        let Some(id) = link else {
            return;
        };
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let LinkEnd::From { partial, .. } = &mut link.end else {
            self.detach(id, "amqp:not-allowed", "a transfer from a receiver");
            return;
        };
        if transfer.aborted {
            *partial = None;
            return;
        }
        let mut whole = match (partial.take(), transfer.delivery_id) {
            (Some(begun), _) => begun,
            (None, Some(number)) => Partial {
                number,
                format: transfer.message_format.unwrap_or(0),
                settled: false,
                message: Vec::new(),
            },
            (None, None) => {
                self.detach(id, "amqp:not-allowed", "a transfer without delivery-id");
                return;
            }
        };
        whole.settled |= transfer.settled.unwrap_or(false);
        if whole.message.len() + part.len() > MAX_MESSAGE_SIZE {
            self.detach(
                id,
                "amqp:link:message-size-exceeded",
                "the message is too large",
            );
            return;
        }
        whole.message.extend(part);
        if transfer.more {
            *partial = Some(whole);
            return;
        }
        link.credit = link.credit.saturating_sub(1);
        link.delivery_count = link.delivery_count.wrapping_add(1);
        self.on_message(id, whole);
    }

    fn on_message(&mut self, id: u64, whole: Partial) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (connection, channel) = (link.connection, link.channel);
        let LinkEnd::From {
            target, unsettled, ..
        } = &mut link.end
        else {
            return;
        };
        let address = match target {
            Goal::Service(service) => {
                let service = service.clone();
                let state = self.on_request(connection, &service, &whole.message);
                self.settle(connection, channel, whole.number, state);
                self.grant_request(id);
                return;
            }
            Goal::Commands { tenant } => {
                let tenant = tenant.clone();
                self.on_command(id, &tenant, &whole);
                self.grant(id);
                return;
            }
            Goal::Address(address) => address.clone(),
        };
        let heard = self
            .addresses
            .get(&address)
            .is_some_and(|known| !known.receivers.is_empty());
        if !heard || self.waiting_bytes > MAX_WAITING {
            if !whole.settled {
                self.settle(
                    connection,
                    channel,
                    whole.number,
                    DeliveryState::Released(Released {}),
                );
            }
            return;
        }
        if !whole.settled {
            *unsettled += 1;
        }
        let origin = (!whole.settled).then_some((id, whole.number));
        let delivery = self.enqueue(origin, &address, whole.message, whole.format);
        if !whole.settled
            && let Some(session) = self.session(connection, channel)
        {
            session.incoming.insert(whole.number, delivery);
        }
        self.pass_on(&address);
        self.grant(id);
    }

    /// Sends a message of this peer's own to an address, if anybody listens there.
    pub(super) fn publish(&mut self, address: &str, message: Vec<u8>) {
        let heard = self
            .addresses
            .get(address)
            .is_some_and(|known| !known.receivers.is_empty());
        if heard && self.waiting_bytes <= MAX_WAITING {
            self.enqueue(None, address, message, 0);
            self.pass_on(address);
        }
    }

    /// Lets a message wait at its address. Without origin nobody waits for its outcome.
    fn enqueue(
        &mut self,
        origin: Option<(u64, u32)>,
        address: &str,
        message: Vec<u8>,
        format: u32,
    ) -> u64 {
        let id = self.next_id();
        self.waiting_bytes += message.len();
        self.deliveries.insert(
            id,
            Delivery {
                origin,
                kind: Kind::Passed,
                address: address.to_owned(),
                message: Arc::new(message),
                format,
                settled: origin.is_none(),
                waiting: true,
                receiver: None,
            },
        );
        if let Some(known) = self.addresses.get_mut(address) {
            known.waiting.push_back(id);
        }
        id
    }

    /// Gives waiting deliveries to receivers with credit, in turn.
    pub(super) fn pass_on(&mut self, address: &str) {
        while let Some(known) = self.addresses.get(address)
            && let Some(delivery) = known.waiting.front().copied()
            && let Some(receiver) = self.next_receiver(address)
        {
            if let Some(known) = self.addresses.get_mut(address) {
                known.waiting.pop_front();
                known.turn = known.turn.wrapping_add(1);
            }
            self.deliver(delivery, receiver);
        }
    }

    /// The receiver with credit whose turn it is, among those of the highest priority that is attached.
    pub(super) fn next_receiver(&self, address: &str) -> Option<u64> {
        let known = self.addresses.get(address)?;
        let all = known
            .receivers
            .iter()
            .filter_map(|id| match self.links.get(id) {
                Some(link) => match &link.end {
                    LinkEnd::To { priority, .. } => Some((*id, *priority, link.credit)),
                    LinkEnd::From { .. } => None,
                },
                None => None,
            });
        let highest = all.clone().map(|(_, priority, _)| priority).max()?;
        let ready: Vec<u64> = all
            .filter(|(_, priority, credit)| *priority == highest && *credit > 0)
            .map(|(id, ..)| id)
            .collect();
        let turn = known.turn.checked_rem(ready.len())?;
        ready.get(turn).copied()
    }

    pub(super) fn deliver(&mut self, id: u64, receiver: u64) {
        let Some(delivery) = self.deliveries.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut delivery.waiting) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(delivery.message.len());
        }
        delivery.receiver = Some(receiver);
        let (message, format) = (Arc::clone(&delivery.message), delivery.format);
        let sender_settled = delivery.settled;
        // From here on only the receiver holds the message.
        delivery.message = Arc::new(Vec::new());
        match self.send_message(receiver, &message, format, sender_settled, Some(id)) {
            Some(Settled::No) => {}
            Some(Settled::Yes) => self.finish(id, DeliveryState::Accepted(Accepted {})),
            None => self.release(id),
        }
    }

    /// Sends a message over a receiver's link and takes one credit for it.
    pub(super) fn send_message(
        &mut self,
        receiver: u64,
        message: &[u8],
        format: u32,
        settled: bool,
        delivery: Option<u64>,
    ) -> Option<Settled> {
        let link = self.links.get_mut(&receiver)?;
        let LinkEnd::To {
            settled: always, ..
        } = link.end
        else {
            return None;
        };
        let settled = settled || always;
        link.credit = link.credit.saturating_sub(1);
        link.delivery_count = link.delivery_count.wrapping_add(1);
        let (connection, channel, handle) = (link.connection, link.channel, link.handle);
        let known = self.connections.get_mut(&connection)?;
        let max_frame_size = known.max_frame_size;
        let session = known.sessions.get_mut(&channel)?;
        let number = session.next_delivery;
        session.next_delivery = number.wrapping_add(1);
        if let Some(delivery) = delivery.filter(|_| !settled) {
            session.outgoing.insert(number, delivery);
        }
        let transfer = Transfer {
            handle: Handle(handle),
            delivery_id: Some(number),
            delivery_tag: Some(DeliveryTag::from(number.to_be_bytes())),
            message_format: Some(format),
            settled: Some(settled),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        };
        self.send_transfers(
            connection,
            channel,
            frame::cut(transfer, message, max_frame_size),
        );
        Some(if settled { Settled::Yes } else { Settled::No })
    }

    pub(super) fn on_disposition(
        &mut self,
        connection: u64,
        channel: u16,
        disposition: &Disposition,
    ) {
        let last = disposition.last.unwrap_or(disposition.first);
        if last < disposition.first {
            return;
        }
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        let table = match disposition.role {
            Role::Receiver => &mut session.outgoing,
            Role::Sender => &mut session.incoming,
        };
        let numbers: Vec<u32> = table
            .range(disposition.first..=last)
            .map(|(number, _)| *number)
            .collect();
        match disposition.role {
            Role::Receiver => self.on_outcome(connection, channel, disposition, &numbers),
            Role::Sender if disposition.settled => self.on_given_up(connection, channel, &numbers),
            Role::Sender => {}
        }
    }

    /// A receiver tells what became of deliveries.
    fn on_outcome(
        &mut self,
        connection: u64,
        channel: u16,
        disposition: &Disposition,
        numbers: &[u32],
    ) {
        let state = match &disposition.state {
            Some(state) if state.is_terminal() => state.clone(),
            // Settled without a word: nobody says that it was taken.
            None | Some(_) if disposition.settled => DeliveryState::Released(Released {}),
            None | Some(_) => return,
        };
        for number in numbers {
            let delivery = self
                .session(connection, channel)
                .and_then(|session| session.outgoing.remove(number));
            if !disposition.settled {
                let answer = disposition_of(Role::Sender, *number, state.clone());
                self.send_disposition(connection, channel, &answer);
            }
            if let Some(delivery) = delivery {
                self.finish(delivery, state.clone());
            }
        }
    }

    /// A sender has settled deliveries itself: it waits no longer.
    fn on_given_up(&mut self, connection: u64, channel: u16, numbers: &[u32]) {
        for number in numbers {
            let delivery = self
                .session(connection, channel)
                .and_then(|session| session.incoming.remove(number));
            let Some(id) = delivery else {
                continue;
            };
            let origin = self
                .deliveries
                .get_mut(&id)
                .and_then(|delivery| delivery.origin.take());
            if let Some((link, _)) = origin {
                self.count_settled(link);
            }
            self.forget_waiting(id);
        }
    }

    /// Passes an outcome back to the sender, if it still waits for one.
    fn finish(&mut self, id: u64, state: DeliveryState) {
        let Some(delivery) = self.deliveries.remove(&id) else {
            return;
        };
        if delivery.waiting {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(delivery.message.len());
        }
        let state = match delivery.kind {
            Kind::Passed => state,
            Kind::Command => outcome_of_command(state),
        };
        let Some((link, number)) = delivery.origin else {
            return;
        };
        if let Some(known) = self.links.get(&link) {
            let (connection, channel) = (known.connection, known.channel);
            if let Some(session) = self.session(connection, channel) {
                session.incoming.remove(&number);
            }
            self.settle(connection, channel, number, state);
        }
        self.count_settled(link);
    }

    pub(super) fn release(&mut self, id: u64) {
        self.finish(id, DeliveryState::Released(Released {}));
    }

    fn count_settled(&mut self, link: u64) {
        if let Some(known) = self.links.get_mut(&link)
            && let LinkEnd::From { unsettled, .. } = &mut known.end
        {
            *unsettled = unsettled.saturating_sub(1);
            self.grant(link);
        }
    }

    fn forget_waiting(&mut self, id: u64) {
        let Some(delivery) = self.deliveries.get(&id).filter(|delivery| delivery.waiting) else {
            return;
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(delivery.message.len());
        if let Some(known) = self.addresses.get_mut(&delivery.address) {
            known.waiting.retain(|waiting| *waiting != id);
        }
        self.deliveries.remove(&id);
    }

    /// A sender's link is gone: nobody waits for its deliveries any more.
    pub(super) fn forget_sender(
        &mut self,
        link: u64,
        connection: u64,
        channel: u16,
        address: &str,
    ) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        let own: Vec<(u32, u64)> = session
            .incoming
            .iter()
            .map(|(number, id)| (*number, *id))
            .collect();
        for (number, id) in own {
            let Some(delivery) = self.deliveries.get_mut(&id) else {
                continue;
            };
            if delivery.origin.is_some_and(|(from, _)| from == link) {
                delivery.origin = None;
                self.forget_waiting(id);
                if let Some(session) = self.session(connection, channel) {
                    session.incoming.remove(&number);
                }
            }
        }
        if let Some(known) = self.addresses.get_mut(address) {
            known.senders.retain(|sender| *sender != link);
        }
    }

    /// A receiver's link is gone: what it has not settled is released.
    pub(super) fn forget_receiver(&mut self, link: u64, connection: u64, channel: u16) {
        let Some(session) = self.session(connection, channel) else {
            return;
        };
        let all: Vec<(u32, u64)> = session
            .outgoing
            .iter()
            .map(|(number, id)| (*number, *id))
            .collect();
        for (number, id) in all {
            if self
                .deliveries
                .get(&id)
                .is_some_and(|delivery| delivery.receiver == Some(link))
            {
                if let Some(session) = self.session(connection, channel) {
                    session.outgoing.remove(&number);
                }
                self.release(id);
            }
        }
    }

    pub(super) fn settle(&self, connection: u64, channel: u16, number: u32, state: DeliveryState) {
        self.send_disposition(
            connection,
            channel,
            &disposition_of(Role::Receiver, number, state),
        );
    }
}

/// Whether a message went out settled, so that no outcome will come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Yes,
    No,
}

pub(super) const fn disposition_of(role: Role, number: u32, state: DeliveryState) -> Disposition {
    Disposition {
        role,
        first: number,
        last: None,
        settled: true,
        state: Some(state),
        batchable: false,
    }
}

/// Beyond this, messages are released instead of waiting for a receiver's credit.
const MAX_WAITING: usize = 64 * 1024 * 1024;

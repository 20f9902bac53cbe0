//! Messages of ours: how they go on the wire, and what becomes of them (AMQP 1.0 part 2 §2.6.12).

use std::{collections::VecDeque, time::Instant};

use fe2o3_amqp_types::{
    definitions::Role,
    messaging::DeliveryState,
    performatives::{Disposition, Flow},
};

use super::{
    CHANNEL, Connection,
    links::{Link, LinkState},
};
use crate::{CannotSend, DeliveryId, Event, LinkId, Message, Outcome, Settlement, frame, value};

/// The links whose messages wait until the peer's window lets them through. They are written in turns, one message each, so that
/// a link with many of them delays those of others by no more than one.
#[derive(Debug, Default)]
pub(super) struct Pending {
    turns: VecDeque<LinkId>,
    /// Bytes of all waiting messages.
    bytes: usize,
}

/// A message that waits for the peer's window.
#[derive(Debug)]
pub(super) struct Waiting {
    delivery: DeliveryId,
    message: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

impl Connection {
    /// Sends a message, if the peer granted credit. [`Event::Settled`] tells what became of it.
    ///
    /// # Errors
    /// [`CannotSend`] at once if it cannot be sent now. Nothing waits for credit.
    pub fn send(
        &mut self,
        now: Instant,
        link: LinkId,
        message: &Message,
    ) -> Result<DeliveryId, CannotSend> {
        let limit = self.check(link)?;
        if self.pending.turns.is_empty() && self.session.remote_incoming_window > 0 {
            self.send_at_once(now, link, message, limit)
        } else {
            let mut bytes = Vec::with_capacity(message.size_hint());
            message.encode(&mut bytes);
            self.enqueue(now, link, bytes, limit)
        }
    }

    /// Gives a delivery up: settles it as released, and tells nothing of it any more.
    pub fn abandon(&mut self, delivery: DeliveryId) {
        if let Some(number) = self.forget(delivery) {
            self.write_disposition(number, number, Some(Outcome::Released));
        }
        self.tell_room();
    }

    /// What the peer takes at most, if the link can take a message now.
    fn check(&mut self, link: LinkId) -> Result<u64, CannotSend> {
        let found = self
            .links
            .get(link)
            .filter(|link| link.role == Role::Sender && link.state == LinkState::Attached)
            .ok_or(CannotSend::NotAttached)?;
        if !self.is_open() {
            return Err(CannotSend::NotAttached);
        }
        if found.credit <= found.queued {
            return Err(CannotSend::NoCredit);
        }
        let limit = found.max_message_size;
        if self.has_room_for(found) {
            Ok(limit)
        } else {
            self.full = true;
            Err(CannotSend::Full)
        }
    }

    /// Whether a link may take more of the bytes and deliveries that all links share.
    fn has_room_for(&self, link: &Link) -> bool {
        let bytes = self.outbox.len().saturating_add(self.pending.bytes);
        let (outbox, written) = link.written;
        let written = if outbox == self.outboxes { written } else { 0 };
        let own_bytes = link.waiting_bytes.saturating_add(written);
        may_take(own_bytes, bytes, self.config.max_outgoing)
            && may_take(
                link.in_flight as usize,
                self.deliveries.len(),
                self.config.max_unsettled,
            )
    }

    /// Whether there is room again for whatever link was refused.
    fn has_room(&self) -> bool {
        let bytes = self.outbox.len().saturating_add(self.pending.bytes);
        bytes <= self.config.max_outgoing / 2
            && self.deliveries.len() <= self.config.max_unsettled / 2
    }

    /// The message is written right behind the head of its only frame. If that gets too large, it goes the other way.
    fn send_at_once(
        &mut self,
        now: Instant,
        link: LinkId,
        message: &Message,
        limit: u64,
    ) -> Result<DeliveryId, CannotSend> {
        let start = self.outbox.len();
        let number = self.deliveries_sent();
        self.outbox
            .reserve(message.size_hint().saturating_add(TRANSFER_ROOM));
        write_head(&mut self.outbox, link.handle, Some(number), More::No);
        let body = self.outbox.len();
        message.encode(&mut self.outbox);
        let size = self.outbox.len().saturating_sub(start);
        let message_size = self.outbox.len().saturating_sub(body);
        if size > self.remote_max_frame_size || exceeds(message_size, limit) {
            let message = self.outbox.split_off(body);
            self.outbox.truncate(start);
            return self.enqueue(now, link, message, limit);
        }
        patch_size(&mut self.outbox, start);
        let Some(delivery) = self.begin_delivery(now, link) else {
            self.outbox.truncate(start);
            return Err(CannotSend::Full);
        };
        self.count_frame();
        self.start_delivery(delivery, link, number);
        self.count_written(link, size);
        Ok(delivery)
    }

    fn enqueue(
        &mut self,
        now: Instant,
        link: LinkId,
        message: Vec<u8>,
        limit: u64,
    ) -> Result<DeliveryId, CannotSend> {
        if exceeds(message.len(), limit) {
            return Err(CannotSend::TooLarge { limit });
        }
        let delivery = self.begin_delivery(now, link).ok_or(CannotSend::Full)?;
        if let Some(found) = self.links.get_mut(link) {
            found.queued = found.queued.saturating_add(1);
            found.waiting_bytes = found.waiting_bytes.saturating_add(message.len());
            self.pending.bytes = self.pending.bytes.saturating_add(message.len());
            found.waiting.push_back(Waiting {
                delivery,
                message,
                written: 0,
            });
            if !std::mem::replace(&mut found.has_turn, true) {
                self.pending.turns.push_back(link);
            }
        }
        self.write_pending();
        Ok(delivery)
    }

    fn begin_delivery(&mut self, now: Instant, link: LinkId) -> Option<DeliveryId> {
        let deadline = self
            .config
            .delivery_timeout
            .and_then(|timeout| now.checked_add(timeout));
        let delivery = self.deliveries.insert(link, deadline)?;
        if let Some(link) = self.links.get_mut(link) {
            link.in_flight = link.in_flight.saturating_add(1);
        }
        Some(delivery)
    }

    /// Takes the credit for a delivery, and lets it have its number.
    fn start_delivery(&mut self, delivery: DeliveryId, link: LinkId, number: u32) {
        self.deliveries.number(delivery, number);
        self.session.next_delivery = number.wrapping_add(1);
        if let Some(link) = self.links.get_mut(link) {
            link.delivery_count = link.delivery_count.wrapping_add(1);
            link.credit = link.credit.saturating_sub(1);
        }
    }

    const fn deliveries_sent(&self) -> u32 {
        self.session.next_delivery
    }

    /// Counts bytes of a link's messages in the present outbox.
    fn count_written(&mut self, link: LinkId, bytes: usize) {
        let present = self.outboxes;
        if let Some(link) = self.links.get_mut(link) {
            let (outbox, written) = link.written;
            let written = if outbox == present { written } else { 0 };
            link.written = (present, written.saturating_add(bytes));
        }
    }

    /// Takes a place in the peer's window for a frame.
    fn count_frame(&mut self) {
        let session = &mut self.session;
        session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
        session.remote_incoming_window = session.remote_incoming_window.saturating_sub(1);
    }

    /// Writes as many frames of what waits as the peer's window lets through.
    fn write_pending(&mut self) {
        while self.session.remote_incoming_window > 0
            && let Some(id) = self.pending.turns.pop_front()
        {
            let Some(link) = self.links.get_mut(id) else {
                continue;
            };
            let Some(mut waiting) = link.waiting.pop_front() else {
                link.has_turn = false;
                continue;
            };
            if waiting.written > 0 || self.start_waiting(id, &waiting) {
                while self.session.remote_incoming_window > 0 {
                    self.write_part(id, &mut waiting);
                    if waiting.written >= waiting.message.len() {
                        break;
                    }
                }
                if waiting.written < waiting.message.len() {
                    if let Some(link) = self.links.get_mut(id) {
                        link.waiting.push_front(waiting);
                    }
                    // No other message of the link may come between its frames.
                    self.pending.turns.push_front(id);
                    return;
                }
            }
            self.count_out(id, waiting.message.len());
            if let Some(link) = self.links.get_mut(id) {
                link.has_turn = !link.waiting.is_empty();
                if link.has_turn {
                    self.pending.turns.push_back(id);
                }
            }
        }
    }

    /// Takes the bytes of a message that waits no longer out of the books.
    fn count_out(&mut self, link: LinkId, bytes: usize) {
        self.pending.bytes = self.pending.bytes.saturating_sub(bytes);
        if let Some(link) = self.links.get_mut(link) {
            link.waiting_bytes = link.waiting_bytes.saturating_sub(bytes);
        }
    }

    /// False if the peer took back the credit meanwhile. The delivery has then ended.
    fn start_waiting(&mut self, id: LinkId, waiting: &Waiting) -> bool {
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        link.queued = link.queued.saturating_sub(1);
        if link.credit == 0 {
            self.forget(waiting.delivery);
            self.events.push_back(Event::Settled {
                delivery: waiting.delivery,
                settlement: Settlement::Lost,
            });
            return false;
        }
        let number = self.deliveries_sent();
        self.start_delivery(waiting.delivery, id, number);
        true
    }

    fn write_part(&mut self, link: LinkId, waiting: &mut Waiting) {
        let start = self.outbox.len();
        let room = self.remote_max_frame_size.saturating_sub(TRANSFER_ROOM);
        let rest = waiting.message.get(waiting.written..).unwrap_or_default();
        let part = rest.get(..room).unwrap_or(rest);
        let more = if part.len() < rest.len() {
            More::Yes
        } else {
            More::No
        };
        let number = (waiting.written == 0).then(|| self.deliveries_sent().wrapping_sub(1));
        write_head(&mut self.outbox, link.handle, number, more);
        self.outbox.extend_from_slice(part);
        patch_size(&mut self.outbox, start);
        // A message without a single section is written with this one frame, too.
        waiting.written = waiting.written.saturating_add(part.len());
        let size = self.outbox.len().saturating_sub(start);
        self.count_frame();
        self.count_written(link, size);
    }

    pub(super) fn on_flow(&mut self, flow: &Flow) {
        let session = &mut self.session;
        let window_end = flow
            .next_incoming_id
            .unwrap_or(0)
            .wrapping_add(flow.incoming_window);
        session.remote_incoming_window =
            at_least_zero(window_end.wrapping_sub(session.next_outgoing_id));
        if let Some(handle) = &flow.handle {
            self.on_link_flow(handle.0, flow);
        } else if flow.echo {
            self.session.flow_owed = true;
        }
        self.write_pending();
    }

    fn on_link_flow(&mut self, remote_handle: u32, flow: &Flow) {
        let Some(link) = self.links.by_remote_mut(remote_handle) else {
            self.break_protocol("a flow for no link");
            return;
        };
        let id = link.id;
        if link.role == Role::Receiver {
            // The sender tells what it skipped, when it had nothing to send (§2.6.7).
            if let Some(count) = flow.delivery_count {
                let skipped = at_least_zero(count.wrapping_sub(link.delivery_count));
                link.delivery_count = link.delivery_count.wrapping_add(skipped);
                link.credit = link.credit.saturating_sub(skipped);
            }
            if flow.echo {
                self.grant(id, 0);
            }
            return;
        }
        let had_none = link.credit <= link.queued;
        if let Some(credit) = flow.link_credit {
            let end = flow.delivery_count.unwrap_or(0).wrapping_add(credit);
            link.credit = at_least_zero(end.wrapping_sub(link.delivery_count));
        }
        if had_none && link.credit > link.queued && link.state == LinkState::Attached && !flow.drain
        {
            self.events.push_back(Event::Credit { link: id });
        }
        if flow.drain || flow.echo {
            self.answer_flow(id, flow.drain);
        }
    }

    /// Requests the state of a sender; with `drain`, credit that nothing waits for is used up first (§2.6.7).
    fn answer_flow(&mut self, id: LinkId, drain: bool) {
        self.write_pending();
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if drain {
            let unused = link.credit.saturating_sub(link.queued);
            link.delivery_count = link.delivery_count.wrapping_add(unused);
            link.credit = link.credit.saturating_sub(unused);
        }
        self.owe_flow(id, drain);
    }

    pub(super) fn on_disposition(&mut self, disposition: Disposition) {
        let last = disposition.last.unwrap_or(disposition.first);
        if disposition.role == Role::Sender {
            self.on_sender_disposition(disposition.first, last, disposition.settled);
            return;
        }
        // A receiver that says `received` has not made up its mind (part 3 §3.4.1).
        if !disposition.settled && matches!(disposition.state, Some(DeliveryState::Received(_))) {
            return;
        }
        let outcome = disposition.state.and_then(Outcome::from_state);
        let settlement = match &outcome {
            Some(outcome) if disposition.settled => Settlement::Outcome(outcome.clone()),
            _ => Settlement::Unsettled,
        };
        for delivery in self.deliveries.range(disposition.first, last) {
            let number = self.forget(delivery);
            if let Some(number) = number.filter(|_| !disposition.settled) {
                self.write_disposition(number, number, outcome.clone());
            }
            self.events.push_back(Event::Settled {
                delivery,
                settlement: settlement.clone(),
            });
        }
        self.tell_room();
    }

    /// Settles what the peer said nothing about in time.
    pub(super) fn settle_overdue(&mut self, now: Instant) {
        let mut run: Option<(u32, u32)> = None;
        while let Some(delivery) = self.deliveries.overdue(now) {
            let number = self.forget(delivery);
            self.events.push_back(Event::Settled {
                delivery,
                settlement: Settlement::TimedOut,
            });
            let Some(number) = number else {
                continue;
            };
            run = match run {
                Some((first, last)) if last.wrapping_add(1) == number => Some((first, number)),
                Some((first, last)) => {
                    self.write_disposition(first, last, Some(Outcome::Released));
                    Some((number, number))
                }
                None => Some((number, number)),
            };
        }
        if let Some((first, last)) = run {
            self.write_disposition(first, last, Some(Outcome::Released));
        }
        self.tell_room();
    }

    /// Ends all deliveries of a link that is going.
    pub(super) fn lose_deliveries(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link) {
            link.waiting.clear();
            let bytes = std::mem::take(&mut link.waiting_bytes);
            self.pending.bytes = self.pending.bytes.saturating_sub(bytes);
        }
        if self.links.get(link).is_some_and(|link| link.in_flight > 0) {
            for delivery in self.deliveries.of_link(link) {
                self.deliveries.remove(delivery);
                self.events.push_back(Event::Settled {
                    delivery,
                    settlement: Settlement::Lost,
                });
            }
        }
        if let Some(link) = self.links.get_mut(link) {
            link.in_flight = 0;
            link.queued = 0;
        }
    }

    pub(super) fn tell_room(&mut self) {
        if self.full && self.has_room() {
            self.full = false;
            self.events.push_back(Event::Room);
        }
    }

    /// Takes a delivery out of the books; its number, if the peer knows of it.
    ///
    /// One that has not begun is not sent at all. One that is half sent goes on.
    fn forget(&mut self, delivery: DeliveryId) -> Option<u32> {
        let found = self.deliveries.remove(delivery)?;
        if found.number.is_none()
            && let Some(link) = self.links.get_mut(found.link)
            && let Some(place) = (link.waiting)
                .iter()
                .position(|waiting| waiting.delivery == delivery)
            && let Some(waiting) = link.waiting.remove(place)
        {
            link.queued = link.queued.saturating_sub(1);
            self.count_out(found.link, waiting.message.len());
        }
        if let Some(link) = self.links.get_mut(found.link) {
            link.in_flight = link.in_flight.saturating_sub(1);
        }
        found.number
    }

    fn write_disposition(&mut self, first: u32, last: u32, outcome: Option<Outcome>) {
        if !self.is_open() {
            return;
        }
        let disposition = Disposition {
            role: Role::Sender,
            first,
            last: (last != first).then_some(last),
            settled: true,
            state: outcome.map(Outcome::into_state),
            batchable: false,
        };
        frame::write_disposition(&mut self.outbox, CHANNEL, &disposition);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// Appends the head of a frame and a transfer (§2.7.5); the size is to be patched in later.
fn write_head(into: &mut Vec<u8>, handle: u32, number: Option<u32>, more: More) {
    into.extend_from_slice(&[0, 0, 0, 0, 2, 0]);
    into.extend_from_slice(&CHANNEL.to_be_bytes());
    into.extend_from_slice(&[0x00, 0x53, TRANSFER]);
    value::list(into, |into| {
        value::uint(into, handle);
        match (number, more) {
            (Some(number), _) => {
                value::uint(into, number);
                value::binary(into, &number.to_be_bytes());
                value::uint(into, MESSAGE_FORMAT);
                into.push(FALSE);
            }
            (None, More::Yes) => into.extend_from_slice(&[NULL; 4]),
            (None, More::No) => return 1,
        }
        if more == More::No {
            return 5;
        }
        into.push(TRUE);
        6
    });
}

fn patch_size(frames: &mut [u8], start: usize) {
    let size = u32::try_from(frames.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(place) = frames.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *place = size.to_be_bytes();
    }
}

/// Whether a link that holds `own` of the `used` part of `bound` may take more.
///
/// It may hold [`SHARE`] times what is left free, so that one link gets most of it where others need little, and leaves some to
/// the next one. The last eighth is for links that hold next to nothing.
const fn may_take(own: usize, used: usize, bound: usize) -> bool {
    let reserve = bound / 8;
    let free = bound.saturating_sub(reserve).saturating_sub(used);
    own < free.saturating_mul(SHARE) || (own <= reserve / 64 && used < bound)
}

fn exceeds(size: usize, limit: u64) -> bool {
    limit > 0 && u64::try_from(size).is_ok_and(|size| size > limit)
}

/// A difference of two serial numbers (RFC 1982); none below zero.
const fn at_least_zero(difference: u32) -> u32 {
    if difference > i32::MAX as u32 {
        0
    } else {
        difference
    }
}

/// How many times what is left free a link may hold.
const SHARE: usize = 2;
/// `amqp:transfer:list`.
const TRANSFER: u8 = 0x14;
/// A message as part 3 §3.2 describes it.
const MESSAGE_FORMAT: u32 = 0;
const NULL: u8 = 0x40;
const TRUE: u8 = 0x41;
const FALSE: u8 = 0x42;
/// The head of no transfer frame is longer.
const TRANSFER_ROOM: usize = 48;

//! Messages of the peer's (AMQP 1.0 part 2 §2.6.12): put together from their frames, and settled.

use fe2o3_amqp_types::{
    definitions::Role,
    performatives::{Disposition, Transfer},
};

use zeroize::Zeroizing;

use super::{
    CHANNEL, Connection, append,
    links::{LinkState, Partial, error},
};
use crate::{Event, IncomingId, LinkId, Outcome, frame};

impl Connection {
    /// Tells the peer what became of a message. False if it was settled already, by us or by the peer, or if its link is gone.
    pub fn settle(&mut self, link: LinkId, delivery: IncomingId, outcome: Outcome) -> bool {
        let Some(found) = self.links.get_mut(link) else {
            return false;
        };
        if !found.unsettled.remove(&delivery.0) || !self.is_open() {
            return false;
        }
        self.write_receiver_disposition(delivery.0, outcome);
        true
    }

    pub(super) fn on_transfer(&mut self, transfer: &Transfer, part: Zeroizing<Vec<u8>>) {
        if self.session.incoming_window == 0 {
            self.break_protocol("more frames than the window lets through");
            return;
        }
        self.session.incoming_window = self.session.incoming_window.saturating_sub(1);
        self.session.next_incoming_id = self.session.next_incoming_id.wrapping_add(1);
        if self.session.incoming_window < self.config.incoming_window / 2 {
            let flow = self.flow();
            frame::write_flow(&mut self.outbox, CHANNEL, &flow);
        }
        let Some(link) = self.links.by_remote_mut(transfer.handle.0) else {
            self.break_protocol("a transfer on no link");
            return;
        };
        if link.role != Role::Receiver {
            self.break_protocol("a transfer from a receiver");
            return;
        }
        // What was under way when we said detach is of no interest any more.
        if link.state == LinkState::Attached {
            let id = link.id;
            self.take_part(id, transfer, part);
        }
    }

    fn take_part(&mut self, id: LinkId, transfer: &Transfer, part: Zeroizing<Vec<u8>>) {
        let Some(partial) = self.take_partial(id) else {
            return;
        };
        let mut whole = match (partial, transfer.delivery_id) {
            (None, Some(number)) => Partial {
                number,
                settled: false,
                message: Zeroizing::default(),
            },
            (Some(partial), number) if number.is_none_or(|number| number == partial.number) => {
                partial
            }
            _ => {
                self.break_protocol("a message within another, or without number");
                return;
            }
        };
        if transfer.aborted {
            return;
        }
        whole.settled |= transfer.settled.unwrap_or(false);
        if whole.message.is_empty() {
            whole.message = part;
        } else {
            append(&mut whole.message, &part);
        }
        let size = u64::try_from(whole.message.len()).unwrap_or(u64::MAX);
        let partial_bytes = self.partial_bytes.saturating_add(whole.message.len());
        if size > self.config.max_message_size || partial_bytes > self.config.max_incoming {
            let reason = error(
                "amqp:link:message-size-exceeded",
                "the message is too large",
            );
            self.lose_link(id, reason);
        } else if transfer.more {
            if let Some(link) = self.links.get_mut(id) {
                link.partial = Some(whole);
                self.partial_bytes = partial_bytes;
            }
        } else {
            self.take_message(id, whole);
        }
    }

    /// What has arrived of a message on a link. The outer `None` is for a link that is gone.
    pub(super) fn take_partial(&mut self, id: LinkId) -> Option<Option<Partial>> {
        let partial = self.links.get_mut(id)?.partial.take();
        let bytes = partial.as_ref().map_or(0, |partial| partial.message.len());
        self.partial_bytes = self.partial_bytes.saturating_sub(bytes);
        Some(partial)
    }

    fn take_message(&mut self, id: LinkId, whole: Partial) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let Some(credit) = link.credit.checked_sub(1) else {
            let reason = error("amqp:link:transfer-limit-exceeded", "no credit was left");
            self.lose_link(id, reason);
            return;
        };
        link.credit = credit;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        if !whole.settled {
            if link.unsettled.len() >= self.config.max_unsettled {
                self.write_receiver_disposition(whole.number, Outcome::Released);
                self.grant(id, 1);
                return;
            }
            link.unsettled.insert(whole.number);
        }
        self.events.push_back(Event::Message {
            link: id,
            delivery: IncomingId(whole.number),
            settled: whole.settled,
            message: whole.message,
        });
    }

    /// Detaches a receiver whose peer does not keep to its bounds.
    fn lose_link(&mut self, id: LinkId, reason: fe2o3_amqp_types::definitions::Error) {
        let reported = Some((&reason).into());
        self.detach_because(id, Some(reason));
        self.events.push_back(Event::Detached {
            link: id,
            error: reported,
        });
    }

    /// The peer settled messages of its own before we did: nothing is left to say about them.
    pub(super) fn on_sender_disposition(&mut self, first: u32, last: u32, settled: bool) {
        if !settled {
            return;
        }
        let span = last.wrapping_sub(first);
        for link in self.links.iter_mut() {
            link.unsettled
                .retain(|number| number.wrapping_sub(first) > span);
        }
    }

    fn write_receiver_disposition(&mut self, number: u32, outcome: Outcome) {
        let disposition = Disposition {
            role: Role::Receiver,
            first: number,
            last: None,
            settled: true,
            state: Some(outcome.into_state()),
            batchable: false,
        };
        frame::write_disposition(&mut self.outbox, CHANNEL, &disposition);
    }
}

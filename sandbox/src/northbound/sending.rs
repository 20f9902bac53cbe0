//! The sending half of an application's AMQP client: a link for each address, opened when it is first needed.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use amqp_proto::Outcome;
use fe2o3_amqp_types::{
    definitions::{DeliveryTag, Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{DeliveryState, Released, Source, Target, TargetArchetype},
    performatives::{Attach, Detach, Disposition, Flow, Transfer},
};
use tokio::sync::oneshot;

use crate::{
    Error,
    amqp::{frame, outbox::Outbox},
};

/// A message to send, with the receiver of its outcome.
pub(super) struct Order {
    pub(super) address: String,
    pub(super) message: Vec<u8>,
    pub(super) outcome: oneshot::Sender<Result<Outcome, Error>>,
}

/// All sending links of a client, and what is under way on them.
pub(super) struct Senders {
    outbox: Arc<Outbox>,
    links: HashMap<u32, Link>,
    next_handle: u32,
    next_delivery: u32,
    orders: u32,
    /// The receiver of a delivery's outcome.
    unsettled: BTreeMap<u32, oneshot::Sender<Result<Outcome, Error>>>,
    /// Transfer frames sent so far.
    next_outgoing_id: u32,
    /// Transfer frames that the peer still takes (§2.5.6).
    window: u32,
    pub(super) max_frame_size: usize,
}

struct Link {
    address: String,
    delivery_count: u32,
    credit: u32,
    waiting: VecDeque<Order>,
    /// Why the peer does not want it, known from an attach without target before the detach says it.
    refused: bool,
}

impl Senders {
    /// Handles from `first_handle` on are its own.
    pub(super) fn new(outbox: Arc<Outbox>, first_handle: u32) -> Self {
        Self {
            outbox,
            links: HashMap::new(),
            next_handle: first_handle,
            next_delivery: 0,
            orders: 0,
            unsettled: BTreeMap::new(),
            next_outgoing_id: 0,
            window: 0,
            max_frame_size: 512,
        }
    }

    pub(super) const fn next_outgoing_id(&self) -> u32 {
        self.next_outgoing_id
    }

    pub(super) const fn on_begin(&mut self, incoming_window: u32) {
        self.window = incoming_window;
    }

    /// Sends a message, now or when there is credit for it.
    pub(super) fn send(&mut self, order: Order) {
        self.orders = self.orders.wrapping_add(1);
        if self.orders.is_multiple_of(FORGET_EVERY) {
            self.forget_abandoned();
        }
        let known = self
            .links
            .iter()
            .find(|(_, link)| link.address == order.address && !link.refused);
        let handle = match known.map(|(handle, _)| *handle) {
            Some(handle) => handle,
            None => self.attach(&order.address),
        };
        if let Some(link) = self.links.get_mut(&handle) {
            link.waiting.push_back(order);
        }
        self.drain(handle);
    }

    /// The callers that waited for these have given up.
    fn forget_abandoned(&mut self) {
        for link in self.links.values_mut() {
            link.waiting.retain(|order| !order.outcome.is_closed());
        }
        let abandoned: Vec<u32> = self
            .unsettled
            .iter()
            .filter(|(_, outcome)| outcome.is_closed())
            .map(|(number, _)| *number)
            .collect();
        for number in abandoned {
            self.unsettled.remove(&number);
            self.settle(number, DeliveryState::Released(Released {}));
        }
    }

    fn attach(&mut self, address: &str) -> u32 {
        let handle = self.next_handle;
        self.next_handle = handle.wrapping_add(1);
        let target = Target {
            address: Some(address.to_owned()),
            ..Target::default()
        };
        let attach = Attach {
            name: format!("sender-{handle}-{}", uuid::Uuid::new_v4()),
            handle: Handle(handle),
            role: Role::Sender,
            snd_settle_mode: SenderSettleMode::Unsettled,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: Some(Box::new(Source::default())),
            target: Some(Box::new(TargetArchetype::Target(target))),
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: Some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.outbox.push(|bytes| frame::write(bytes, 0, &attach));
        self.links.insert(
            handle,
            Link {
                address: address.to_owned(),
                delivery_count: 0,
                credit: 0,
                waiting: VecDeque::new(),
                refused: false,
            },
        );
        handle
    }

    pub(super) fn on_attach(&mut self, attach: &Attach) {
        if let Some(link) = self.links.get_mut(&attach.handle.0) {
            link.refused = attach.target.is_none();
        }
    }

    pub(super) fn on_detach(&mut self, detach: Detach) {
        let Some(link) = self.links.remove(&detach.handle.0) else {
            return;
        };
        let answer = Detach {
            handle: detach.handle,
            closed: true,
            error: None,
        };
        self.outbox.push(|bytes| frame::write(bytes, 0, &answer));
        let reason = detach.error.and_then(|error| error.description);
        for order in link.waiting {
            let refused = Error::Refused {
                address: link.address.clone(),
                reason: reason.clone().unwrap_or_default(),
            };
            tell(order.outcome, Err(refused));
        }
    }

    pub(super) fn on_flow(&mut self, flow: &Flow) {
        let seen = flow.next_incoming_id.unwrap_or(0);
        self.window = seen
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(self.next_outgoing_id);
        if let Some(handle) = &flow.handle
            && let Some(link) = self.links.get_mut(&handle.0)
        {
            // §2.6.7: what the receiver can take, counted from what it had seen when it said so.
            let limit = flow
                .delivery_count
                .unwrap_or(0)
                .wrapping_add(flow.link_credit.unwrap_or(0));
            let credit = limit.wrapping_sub(link.delivery_count);
            link.credit = if credit > u32::MAX / 2 { 0 } else { credit };
        }
        let handles: Vec<u32> = self.links.keys().copied().collect();
        for handle in handles {
            self.drain(handle);
        }
    }

    /// Sends as far as credit and window go.
    fn drain(&mut self, handle: u32) {
        while let Some(link) = self.links.get_mut(&handle)
            && link.credit > 0
            && let Some(order) = link.waiting.pop_front()
        {
            if order.outcome.is_closed() {
                continue;
            }
            let number = self.next_delivery;
            let transfer = Transfer {
                handle: Handle(handle),
                delivery_id: Some(number),
                delivery_tag: Some(DeliveryTag::from(number.to_be_bytes())),
                message_format: Some(0),
                settled: Some(false),
                more: false,
                rcv_settle_mode: None,
                state: None,
                resume: false,
                aborted: false,
                batchable: false,
            };
            let frames = frame::cut(transfer, &order.message, self.max_frame_size);
            let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
            // A window beyond half the number space is one that was overrun: closed.
            if count > self.window || self.window > u32::MAX / 2 {
                link.waiting.push_front(order);
                return;
            }
            link.credit -= 1;
            link.delivery_count = link.delivery_count.wrapping_add(1);
            self.next_delivery = number.wrapping_add(1);
            self.window -= count;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(count);
            self.unsettled.insert(number, order.outcome);
            self.outbox.push(|bytes| {
                for (transfer, part) in frames {
                    frame::write_transfer(bytes, 0, &transfer, &part);
                }
            });
        }
    }

    pub(super) fn on_disposition(&mut self, disposition: &Disposition) {
        let last = disposition.last.unwrap_or(disposition.first);
        let outcome = disposition
            .state
            .clone()
            .and_then(Outcome::from_state)
            // Settled without a word: nobody says that it was taken.
            .or(disposition.settled.then_some(Outcome::Released));
        let (Role::Receiver, Some(outcome)) = (&disposition.role, outcome) else {
            return;
        };
        if last < disposition.first {
            return;
        }
        let numbers: Vec<u32> = self
            .unsettled
            .range(disposition.first..=last)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            if !disposition.settled {
                self.settle(number, outcome.clone().into_state());
            }
            if let Some(waiting) = self.unsettled.remove(&number) {
                tell(waiting, Ok(outcome.clone()));
            }
        }
    }

    fn settle(&self, number: u32, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Sender,
            first: number,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.outbox
            .push(|bytes| frame::write(bytes, 0, &disposition));
    }
}

fn tell(waiting: oneshot::Sender<Result<Outcome, Error>>, outcome: Result<Outcome, Error>) {
    if waiting.send(outcome).is_err() {
        tracing::debug!("the sender no longer waits for the outcome");
    }
}

/// How often it is looked for orders that nobody waits for any more, counted in orders.
const FORGET_EVERY: u32 = 64;

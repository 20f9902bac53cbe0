//! From the caller's response to the end of the exchange (RFC 7252 §4.2, §5.2; RFC 7967).

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use fair_share::Holder;

use super::blockwise::sizes;
use super::{Endpoint, Event, GaveUpReason, empty};
use crate::block::Sizes;
use crate::config::{Config, SuppressedResponse};
use crate::exchange::{Exchange, ExchangeId, State, Way};
use crate::message::{Code, Message, MessageId, Type};
use crate::reliability::{Attempt, Retransmission, after, initial_timeout};
use crate::response::Response;
use crate::statistics::count;
use crate::timer::{Deadline, Timer};

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    pub(super) fn answer(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        way: Way,
        mut response: Response,
    ) {
        if self.exchanges.len().saturating_sub(self.open) >= self.config.max_exchanges {
            let peer = self.exchanges.get(&exchange).map(|entry| &entry.peer);
            let holder = peer.and_then(|peer| self.holder_of(peer));
            self.make_room(now, holder);
        }
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let asked = entry.asked.take();
        let Some(way) = way_of_response(&self.config, entry, way, response.code) else {
            count(&mut self.statistics.suppressed);
            return self.answer_nothing(exchange, way);
        };
        if !response.is_valid() {
            count(&mut self.statistics.invalid_responses);
            response = Response::new(Code::INTERNAL_SERVER_ERROR);
        }
        let sizes = sizes(&self.config, entry);
        let peer = entry.peer.clone();
        response = self.within_allowance(now, exchange, response);
        response = match asked {
            Some(asked) => self.cut(now, &peer, exchange, asked, sizes, response),
            None => shortened(response, sizes),
        };
        self.send_response(now, exchange, way, response);
    }

    fn send_response(&mut self, now: Instant, exchange: ExchangeId, way: Way, response: Response) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&entry.peer) else {
            return;
        };
        if !entry.fits(&response) {
            count(&mut self.statistics.shortened);
            return self.answer_nothing(exchange, way);
        }
        let (kind, id) = match way {
            Way::PiggyBacked => (Type::Acknowledgement, Some(entry.request_id)),
            Way::Separate | Way::InPlaceOfAck => (
                Type::Confirmable,
                peer.ids.next(now, self.config.exchange_lifetime),
            ),
            Way::NonConfirmable => (
                Type::NonConfirmable,
                peer.ids.next(now, self.config.exchange_lifetime),
            ),
        };
        let Some(id) = id else {
            count(&mut self.statistics.out_of_message_ids);
            return self.answer_nothing(exchange, way);
        };
        let Some(message) = encode(kind, id, entry, response) else {
            return;
        };
        self.open = self.open.saturating_sub(1);
        let mut holder = None;
        entry.state = match way {
            Way::PiggyBacked | Way::NonConfirmable => State::Done {
                repeat: Some(Arc::clone(&message)),
            },
            Way::Separate | Way::InPlaceOfAck => {
                let timeout = initial_timeout(&self.config, &mut self.random);
                let message = Arc::clone(&message);
                let retransmission = if way == Way::Separate {
                    Retransmission::start(now, message, timeout)
                } else {
                    Retransmission::once(now, message, self.config.max_transmit_wait())
                };
                let at = retransmission.due;
                self.timers
                    .start(Timer::Retransmit, Deadline { at, exchange });
                peer.await_ack(id, exchange);
                holder = peer.holder.map(|(holder, _)| holder);
                State::AwaitAck(Box::new(retransmission))
            }
        };
        count(match way {
            Way::PiggyBacked => &mut self.statistics.piggy_backed,
            Way::Separate | Way::InPlaceOfAck => &mut self.statistics.separate,
            Way::NonConfirmable => &mut self.statistics.non_confirmable,
        });
        let peer = entry.peer.clone();
        if way != Way::PiggyBacked {
            self.prolong(now, exchange);
        }
        if let Some(holder) = holder {
            self.limit_unacknowledged(holder);
        }
        if self.pay(now, &peer, message.len()) {
            self.send(peer, message);
        }
    }

    /// Ends an exchange without a response; a confirmable request is acknowledged all the same (RFC 7967 §2).
    fn answer_nothing(&mut self, exchange: ExchangeId, way: Way) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let ack = empty(Type::Acknowledgement, entry.request_id);
        let repeat = match way {
            Way::PiggyBacked | Way::Separate | Way::InPlaceOfAck => Some(Arc::clone(&ack)),
            Way::NonConfirmable => None,
        };
        entry.state = State::Done { repeat };
        self.open = self.open.saturating_sub(1);
        if way == Way::PiggyBacked {
            let peer = entry.peer.clone();
            self.send(peer, ack);
        }
    }

    /// Counts one more separate response of a holder, and stops the retransmission of an old one if
    /// there are too many.
    fn limit_unacknowledged(&mut self, holder: Holder) {
        if self.holders.add_unacknowledged(holder) <= self.config.max_unacknowledged_per_holder {
            return;
        }
        let peers = self.holders.next_peers(holder).into_iter();
        let unacknowledged = peers.filter_map(|peer| self.peers.get(&peer)?.first_unacknowledged());
        if let Some(oldest) = unacknowledged.min() {
            count(&mut self.statistics.gave_up);
            self.stop_retransmission(oldest, Repeat::Response);
        }
    }

    pub(super) fn retransmit(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let State::AwaitAck(response) = &mut entry.state else {
            return;
        };
        match response.next_attempt(now, self.config.max_retransmit) {
            Attempt::SendAgain => {
                let (at, message, peer) = (
                    response.due,
                    Arc::clone(&response.message),
                    entry.peer.clone(),
                );
                self.timers
                    .start(Timer::Retransmit, Deadline { at, exchange });
                if self.pay(now, &peer, message.len()) {
                    count(&mut self.statistics.retransmissions);
                    self.send(peer, message);
                }
            }
            Attempt::GiveUp => self.give_up(exchange),
        }
    }

    /// Stops the retransmission of a separate response. `repeat` is the answer to a repeated request
    /// from now on.
    pub(super) fn stop_retransmission(&mut self, exchange: ExchangeId, repeat: Repeat) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        if let State::AwaitAck(response) = &entry.state {
            let at = response.due;
            let repeat = Some(match repeat {
                Repeat::Response => Arc::clone(&response.message),
                Repeat::Acknowledgement => empty(Type::Acknowledgement, entry.request_id),
            });
            entry.state = State::Done { repeat };
            self.timers
                .stop(Timer::Retransmit, Deadline { at, exchange });
        }
        if let Some(peer) = self.peers.get_mut(&entry.peer)
            && peer.acknowledge(exchange)
            && let Some((holder, _)) = peer.holder
        {
            self.holders.remove_unacknowledged(holder);
        }
    }

    fn give_up(&mut self, exchange: ExchangeId) {
        self.stop_retransmission(exchange, Repeat::Response);
        count(&mut self.statistics.gave_up);
        if let Some(entry) = self.exchanges.get(&exchange) {
            let (peer, reason) = (entry.peer.clone(), GaveUpReason::TimedOut);
            self.events.push_back(Event::GaveUp {
                exchange,
                peer,
                reason,
            });
        }
    }

    /// Starts the lifetime anew, for the message id we used.
    pub(super) fn prolong(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(reliability) = self.exchanges.get(&exchange).map(|entry| entry.reliability) else {
            return;
        };
        let at = after(now, self.lifetime(reliability));
        if let Some(entry) = self.exchanges.get_mut(&exchange) {
            let before = std::mem::replace(&mut entry.forget_at, at);
            let timers = &mut self.timers;
            timers.stop(
                Timer::Forget,
                Deadline {
                    at: before,
                    exchange,
                },
            );
            timers.start(Timer::Forget, Deadline { at, exchange });
        }
    }

    pub(super) fn end_lifetime(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get(&exchange) else {
            return;
        };
        match entry.way_of_answer() {
            None => {
                if let State::AwaitAck(_) = entry.state {
                    self.give_up(exchange);
                }
                self.close(exchange);
            }
            Some(Way::Separate | Way::NonConfirmable)
                if now < after(entry.received, self.config.max_answer_delay) =>
            {
                self.prolong(now, exchange);
            }
            Some(_) => {
                count(&mut self.statistics.abandoned);
                self.close(exchange);
            }
        }
    }

    /// Forgets an exchange, and its peer if it was the last.
    pub(super) fn close(&mut self, exchange: ExchangeId) {
        let Some(entry) = self.remove(exchange) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&entry.peer) {
            peer.forget(exchange);
            if peer.len() == 0 {
                self.remove_peer(&entry.peer);
            }
        }
    }

    /// Takes an exchange and its deadlines out, not what its peer remembers of it.
    pub(super) fn remove(&mut self, exchange: ExchangeId) -> Option<Exchange<P>> {
        let entry = self.exchanges.remove(&exchange)?;
        let at = entry.forget_at;
        self.timers.stop(Timer::Forget, Deadline { at, exchange });
        if entry.is_open() {
            self.open = self.open.saturating_sub(1);
        }
        let peer = self.peers.get_mut(&entry.peer);
        let holder = peer.as_ref().and_then(|peer| peer.holder);
        if let State::AwaitAck(response) = &entry.state {
            let at = response.due;
            self.timers
                .stop(Timer::Retransmit, Deadline { at, exchange });
            if peer.is_some_and(|peer| peer.acknowledge(exchange))
                && let Some((holder, _)) = holder
            {
                self.holders.remove_unacknowledged(holder);
            }
        }
        if let Some((holder, _)) = holder {
            self.holders.remove_exchange(holder);
        }
        Some(entry)
    }
}

/// How a response is sent; `None` if the client does not want it (RFC 7967).
pub(super) fn way_of_response<P>(
    config: &Config,
    exchange: &Exchange<P>,
    way: Way,
    code: Code,
) -> Option<Way> {
    let in_place_of_ack = config.suppressed_response == SuppressedResponse::InPlaceOfAck;
    match (exchange.no_response.suppresses(code), way) {
        (false, way) => Some(way),
        (true, Way::PiggyBacked) if in_place_of_ack => Some(Way::InPlaceOfAck),
        (true, _) => None,
    }
}

/// The answer to a repeated request whose separate response is not retransmitted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The response again: the client may not have it.
    Response,
    /// An empty ACK: the client has the response.
    Acknowledgement,
}

/// A response to a request that never reached the caller; these have a text for people at most, which
/// is cut to what fits.
fn shortened(mut response: Response, sizes: Sizes) -> Response {
    if !sizes.fit(&response, 0) {
        let room = sizes.payload(&response.options);
        let boundary = |length: &usize| {
            let rest = response.payload.get(*length);
            rest.is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000)
        };
        let end = (0..=room).rev().find(boundary);
        response.payload.truncate(end.unwrap_or_default());
    }
    response
}

fn encode<P>(
    kind: Type,
    id: MessageId,
    exchange: &Exchange<P>,
    response: Response,
) -> Option<Arc<[u8]>> {
    let message = Message {
        kind,
        code: response.code,
        id,
        token: exchange.token,
        options: response.options,
        payload: response.payload,
    };
    message.encode().ok().map(Arc::from)
}

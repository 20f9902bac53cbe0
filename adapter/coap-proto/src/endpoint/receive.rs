//! What a message from a peer sets off (RFC 7252 §4.2, §4.3, §4.5, §5.4): a request is handed on, or refused, or told to be known.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use super::answer::Repeat;
use super::{Endpoint, Event, GaveUpReason, empty};
use crate::config::FormatErrors;
use crate::dedup::Peer;
use crate::exchange::{Exchange, ExchangeId, State, Way};
use crate::message::{Code, DecodeError, FormatError, Message, MessageId, Type};
use crate::reliability::after;
use crate::request::{Refusal, Reliability, Request};
use crate::statistics::count;
use crate::timer::{Deadline, Timer};

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    pub(super) fn handle_message(&mut self, now: Instant, peer: &P, message: Message) {
        let is_request = message.code.is_request();
        match message.kind {
            Type::Confirmable if is_request => {
                self.handle_request(now, peer, Reliability::Confirmable, message);
            }
            Type::NonConfirmable if is_request => {
                self.handle_request(now, peer, Reliability::NonConfirmable, message);
            }
            Type::Confirmable => self.reject_confirmable(peer, message.code, message.id),
            Type::Acknowledgement if message.code == Code::EMPTY => {
                self.handle_ack(peer, message.id);
            }
            Type::Reset if message.code == Code::EMPTY => self.handle_reset(peer, message.id),
            Type::NonConfirmable | Type::Acknowledgement | Type::Reset => {
                count(&mut self.statistics.ignored);
            }
        }
    }

    /// Resets where RFC 7252 §4.2 wants it and the reference does it; see [`FormatErrors`] for the rest.
    pub(super) fn reject_malformed(&mut self, peer: &P, error: DecodeError) {
        count(&mut self.statistics.malformed);
        let Some(header) = error.header else { return };
        let reset = !header.code.is_request()
            || error.error == FormatError::TruncatedToken
            || self.config.format_errors == FormatErrors::Reset;
        if header.kind == Type::Confirmable && reset {
            count(&mut self.statistics.rejected);
            self.send(peer.clone(), empty(Type::Reset, header.id));
        }
    }

    /// A ping (RFC 7252 §4.3), a response nobody asked for, or a reserved class.
    fn reject_confirmable(&mut self, peer: &P, code: Code, id: MessageId) {
        count(match code {
            Code::EMPTY => &mut self.statistics.pings,
            _ => &mut self.statistics.rejected,
        });
        self.send(peer.clone(), empty(Type::Reset, id));
    }

    fn handle_request(
        &mut self,
        now: Instant,
        peer: &P,
        reliability: Reliability,
        message: Message,
    ) {
        if let Some(exchange) = self.duplicate(now, peer, message.id) {
            return self.repeat(exchange, reliability);
        }
        match Request::from_message(reliability, message) {
            (request, Ok(())) => self.accept(now, peer, request),
            (request, Err(Refusal::Proxy)) => {
                count(&mut self.statistics.proxy_requests);
                self.refuse(now, peer, &request, Refusal::Proxy);
            }
            (request, Err(refusal)) => {
                count(&mut self.statistics.bad_options);
                // RFC 7252 §5.4.1: a non-confirmable one is rejected, which may be done silently (§4.3)
                if reliability == Reliability::Confirmable {
                    self.refuse(now, peer, &request, refusal);
                }
            }
        }
    }

    fn refuse(&mut self, now: Instant, peer: &P, request: &Request, refusal: Refusal) {
        if let Some(exchange) = self.open(now, peer, request) {
            self.respond(now, exchange, refusal.response());
        }
    }

    /// The exchange this message id stands for, if its lifetime is not over (RFC 7252 §4.5).
    fn duplicate(&self, now: Instant, peer: &P, id: MessageId) -> Option<ExchangeId> {
        let exchange = self.peers.get(peer)?.find(id)?;
        let entry = self.exchanges.get(&exchange)?;
        (now < after(entry.received, self.lifetime(entry.reliability))).then_some(exchange)
    }

    /// Answers a repeated request as before. A non-confirmable one is never answered with an ACK or
    /// a CON: where its message id is that of a confirmable request, it is ignored.
    fn repeat(&mut self, exchange: ExchangeId, reliability: Reliability) {
        count(&mut self.statistics.duplicates);
        let Some(entry) = self.exchanges.get(&exchange) else {
            return;
        };
        if (entry.reliability, reliability)
            == (Reliability::Confirmable, Reliability::NonConfirmable)
        {
            return;
        }
        let message = match &entry.state {
            State::Undecided | State::Done { repeat: None } => return,
            State::Acknowledged => empty(Type::Acknowledgement, entry.request_id),
            State::AwaitAck(response) => Arc::clone(&response.message),
            State::Done {
                repeat: Some(message),
            } => Arc::clone(message),
        };
        count(&mut self.statistics.repeated);
        let peer = entry.peer.clone();
        self.send(peer, message);
    }

    /// Begins to remember a request; `None` if there is no room for it.
    pub(super) fn open(&mut self, now: Instant, peer: &P, request: &Request) -> Option<ExchangeId> {
        if !self.make_room(now, peer) {
            count(&mut self.statistics.overloaded);
            return None;
        }
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange = self.next_exchange.wrapping_add(1);
        let forget_at = after(now, self.lifetime(request.reliability()));
        let random = &mut self.random;
        let remembered = self
            .peers
            .entry(peer.clone())
            .or_insert_with(|| Peer::new(random));
        remembered.remember(request.message_id(), exchange);
        self.exchanges.insert(
            exchange,
            Exchange::new(peer.clone(), request, now, forget_at),
        );
        let at = forget_at;
        self.timers.start(Timer::Forget, Deadline { at, exchange });
        Some(exchange)
    }

    /// Forgets the oldest answered request, of the peer or of all, if a table is full.
    pub(super) fn make_room(&mut self, now: Instant, peer: &P) -> bool {
        let is_done =
            |exchange: &ExchangeId| self.exchanges.get(exchange).is_some_and(Exchange::is_done);
        let of_peer = self
            .peers
            .get(peer)
            .filter(|peer| peer.len() >= self.config.max_messages_per_peer);
        let oldest = if let Some(of_peer) = of_peer {
            of_peer.exchanges().find(is_done)
        } else if self.exchanges.len() >= self.config.max_exchanges {
            self.timers.oldest(OLDEST_ASKED).find(is_done)
        } else {
            return true;
        };
        if let Some(oldest) = oldest {
            count(&mut self.statistics.forgotten_early);
            self.close(oldest);
        } else if of_peer.is_none() {
            self.pass_over_waiting(now);
        }
        oldest.is_some()
    }

    /// The oldest of all wait for answers that take their time, so that none of them can be forgotten: puts them behind those that
    /// can, for the next message. Their lifetimes would begin anew anyway.
    fn pass_over_waiting(&mut self, now: Instant) {
        let oldest: Vec<_> = self.timers.oldest(OLDEST_ASKED).collect();
        for exchange in oldest {
            let way = self
                .exchanges
                .get(&exchange)
                .and_then(Exchange::way_of_answer);
            if matches!(way, Some(Way::Separate | Way::NonConfirmable)) {
                self.prolong(now, exchange);
            }
        }
    }

    fn handle_ack(&mut self, peer: &P, id: MessageId) {
        match self.finish_separate(peer, id, Repeat::Acknowledgement) {
            Some(_) => count(&mut self.statistics.confirmed),
            None => count(&mut self.statistics.ignored),
        }
    }

    fn handle_reset(&mut self, peer: &P, id: MessageId) {
        let Some(exchange) = self.finish_separate(peer, id, Repeat::Response) else {
            return count(&mut self.statistics.ignored);
        };
        count(&mut self.statistics.reset_by_peer);
        let (peer, reason) = (peer.clone(), GaveUpReason::Reset);
        self.events.push_back(Event::GaveUp {
            exchange,
            peer,
            reason,
        });
    }

    /// Stops the retransmission an ACK or RST is for.
    fn finish_separate(&mut self, peer: &P, id: MessageId, repeat: Repeat) -> Option<ExchangeId> {
        let exchange = self.peers.get(peer)?.awaiting(id)?;
        self.stop_retransmission(exchange, repeat);
        Some(exchange)
    }
}

/// How many of the oldest exchanges are looked at for an answered one when the table is full.
const OLDEST_ASKED: usize = 64;

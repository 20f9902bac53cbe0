//! What a message from a peer sets off (RFC 7252 §4.2, §4.3, §4.5, §5.4): a request is handed on, or refused, or told to be known.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use fair_share::{Holder, Victim};

use super::answer::Repeat;
use super::{Endpoint, Event, GaveUpReason, Source, empty};
use crate::config::FormatErrors;
use crate::dedup::Peer;
use crate::exchange::{Exchange, ExchangeId, State, Way};
use crate::message::{Code, DecodeError, FormatError, Message, MessageId, Type};
use crate::reliability::after;
use crate::request::{Refusal, Reliability, Request};
use crate::statistics::count;
use crate::timer::{Deadline, Timer};

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    pub(super) fn handle_message(&mut self, now: Instant, source: Source<'_, P>, message: Message) {
        let peer = source.peer;
        let is_request = message.code.is_request();
        match message.kind {
            Type::Confirmable if is_request => {
                self.handle_request(now, source, Reliability::Confirmable, message);
            }
            Type::NonConfirmable if is_request => {
                self.handle_request(now, source, Reliability::NonConfirmable, message);
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
        source: Source<'_, P>,
        reliability: Reliability,
        message: Message,
    ) {
        if let Some(exchange) = self.duplicate(now, source.peer, message.id) {
            return self.repeat(now, source, exchange, reliability);
        }
        let (request, verdict) = Request::from_message(reliability, message);
        let source = Source {
            has_echoed: self.has_echoed(now, source.peer, &request),
            ..source
        };
        match (request, verdict) {
            (request, Ok(())) => self.accept(now, source, request),
            (request, Err(Refusal::Proxy)) => {
                count(&mut self.statistics.proxy_requests);
                self.refuse(now, source, &request, Refusal::Proxy);
            }
            (request, Err(refusal)) => {
                count(&mut self.statistics.bad_options);
                // RFC 7252 §5.4.1: a non-confirmable one is rejected, which may be done silently (§4.3)
                if reliability == Reliability::Confirmable {
                    self.refuse(now, source, &request, refusal);
                }
            }
        }
    }

    fn refuse(&mut self, now: Instant, source: Source<'_, P>, request: &Request, refusal: Refusal) {
        if let Some(exchange) = self.open(now, source, request) {
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
    fn repeat(
        &mut self,
        now: Instant,
        source: Source<'_, P>,
        exchange: ExchangeId,
        reliability: Reliability,
    ) {
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
        let is_limited = entry.is_limited() && message.len() > source.allowance.into();
        if is_limited || !self.pay(now, source.peer, message.len()) {
            return;
        }
        count(&mut self.statistics.repeated);
        self.send(source.peer.clone(), message);
    }

    /// Begins to remember a request; `None` if there is no room for it.
    pub(super) fn open(
        &mut self,
        now: Instant,
        source: Source<'_, P>,
        request: &Request,
    ) -> Option<ExchangeId> {
        let is_room = self.open < self.config.max_open_exchanges;
        if !is_room || !self.make_room_of_peer(source.peer) {
            count(&mut self.statistics.overloaded);
            return None;
        }
        self.open = self.open.saturating_add(1);
        let forget_at = after(now, self.lifetime(request.reliability()));
        let mut entry = Exchange::new(source.peer.clone(), request, now, forget_at);
        entry.max_message = self.max_message;
        let exchange = self.insert(source, entry);
        self.limit(now, source, exchange);
        Some(exchange)
    }

    /// Remembers an exchange.
    pub(super) fn insert(&mut self, source: Source<'_, P>, entry: Exchange<P>) -> ExchangeId {
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange = self.next_exchange.wrapping_add(1);
        let (id, at) = (entry.request_id, entry.forget_at);
        let peer = self.peer_mut(source);
        peer.remember(id, exchange);
        if let Some((holder, _)) = peer.holder {
            self.holders.add_exchange(holder);
        }
        self.exchanges.insert(exchange, entry);
        self.timers.start(Timer::Forget, Deadline { at, exchange });
        exchange
    }

    /// Forgets an answered request of a peer if it has too many requests; false if none is answered.
    pub(super) fn make_room_of_peer(&mut self, peer: &P) -> bool {
        let of_peer = self.peers.get(peer).map_or(0, Peer::len);
        if of_peer < self.config.max_messages_per_peer {
            return true;
        }
        let oldest = self.oldest_of_peer(peer);
        if let Some(oldest) = oldest {
            count(&mut self.statistics.forgotten_early);
            self.close(oldest);
        }
        oldest.is_some()
    }

    /// Forgets answered requests if there is no room for one more of `holder`.
    pub(super) fn make_room(&mut self, now: Instant, holder: Option<Holder>) {
        while self.exchanges.len().saturating_sub(self.open) >= self.config.max_exchanges {
            let of_victim = self.oldest_of_victim(holder);
            let Some(oldest) = of_victim.or_else(|| self.oldest_answered(now)) else {
                return;
            };
            count(&mut self.statistics.forgotten_early);
            self.close(oldest);
        }
    }

    /// The oldest answered exchange of a peer; unacknowledged ones are worth more than others.
    fn oldest_of_peer(&self, peer: &P) -> Option<ExchangeId> {
        self.least_valuable(self.peers.get(peer)?.exchanges())
    }

    /// The first exchange that needs nothing any more, else the first unacknowledged one.
    fn least_valuable(&self, exchanges: impl Iterator<Item = ExchangeId>) -> Option<ExchangeId> {
        let mut unacknowledged = None;
        for exchange in exchanges {
            match self.exchanges.get(&exchange) {
                Some(entry) if entry.is_done() => return Some(exchange),
                Some(entry) if !entry.is_open() => {
                    unacknowledged = unacknowledged.or(Some(exchange));
                }
                Some(_) | None => {}
            }
        }
        unacknowledged
    }

    /// An answered exchange of the holder, or of the group of holders, that makes room for a new one
    /// of `newcomer`; none where all have little.
    fn oldest_of_victim(&mut self, newcomer: Option<Holder>) -> Option<ExchangeId> {
        let holder = match self.holders.victim(newcomer, self.exchanges.len()) {
            Victim::Member(holder) => holder,
            Victim::Group(holder) => {
                let of_group = self.timers.oldest(OLDEST_SEARCHED).filter(|exchange| {
                    let entry = self.exchanges.get(exchange);
                    let of = entry.and_then(|entry| self.holder_of(&entry.peer));
                    of.is_some_and(|of| of.group() == holder.group())
                });
                let oldest = self.least_valuable(of_group);
                if oldest.is_some() {
                    return oldest;
                }
                self.holders.most_of_group(holder)?
            }
            Victim::Oldest => return None,
        };
        let peers = self.holders.next_peers(holder);
        let of_peers = peers.iter().filter_map(|peer| self.oldest_of_peer(peer));
        self.least_valuable(of_peers)
    }

    /// The oldest answered exchange of all. Unanswered ones at the front are put behind the others:
    /// their lifetimes would begin again anyway.
    fn oldest_answered(&mut self, now: Instant) -> Option<ExchangeId> {
        for _ in 0..ROUNDS {
            let oldest = self.least_valuable(self.timers.oldest(OLDEST_SEARCHED));
            if oldest.is_some() {
                return oldest;
            }
            if !self.pass_over_waiting(now) {
                return None;
            }
        }
        None
    }

    /// Puts the oldest exchanges behind all others; false if that is impossible for all of them.
    fn pass_over_waiting(&mut self, now: Instant) -> bool {
        let oldest: Vec<_> = self.timers.oldest(OLDEST_SEARCHED).collect();
        let mut some = false;
        for exchange in oldest {
            let way = self
                .exchanges
                .get(&exchange)
                .and_then(Exchange::way_of_answer);
            if matches!(way, Some(Way::Separate | Way::NonConfirmable)) {
                self.prolong(now, exchange);
                some = true;
            }
        }
        some
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

/// How many of the oldest exchanges are searched for an answered one at a time.
const OLDEST_SEARCHED: usize = 64;

/// How often a search goes on behind unanswered exchanges. Each of these is passed over once in a
/// lifetime, so that most searches end in the first round.
const ROUNDS: usize = 256;

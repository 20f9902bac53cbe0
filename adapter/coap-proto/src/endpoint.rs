//! The message layer of a server towards all its peers (RFC 7252 §4): decides what to send, to hand on, to repeat, to forget.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, FormatErrors};
use crate::dedup::Peer;
use crate::exchange::{Exchange, ExchangeId, State, Way};
use crate::message::{Code, DecodeError, FormatError, Message, MessageId, Type};
use crate::reliability::{Attempt, Random, Retransmission, after, initial_timeout};
use crate::request::{Refusal, Reliability, Request};
use crate::response::Response;
use crate::statistics::{Statistics, count};
use crate::timer::{Deadline, Timer, Timers};

/// A CoAP server without socket and clock; `P` tells peers apart: an address, or a DTLS association.
#[derive(Debug)]
pub struct Endpoint<P> {
    config: Config,
    random: Random,
    peers: HashMap<P, Peer>,
    exchanges: HashMap<ExchangeId, Exchange<P>>,
    next_exchange: u64,
    timers: Timers,
    transmits: VecDeque<Transmit<P>>,
    events: VecDeque<Event<P>>,
    statistics: Statistics,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit<P> {
    /// Whom to.
    pub peer: P,
    /// One CoAP message; shared with what is kept for repeating it.
    pub payload: Arc<[u8]>,
}

/// What the caller is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<P> {
    /// A new request, never a duplicate; to be answered by [`Endpoint::respond`].
    Request {
        /// Names it in [`Endpoint::respond`] and [`Endpoint::acknowledge`].
        exchange: ExchangeId,
        /// Who asks.
        peer: P,
        /// What is asked.
        request: Request,
    },
    /// A separate response did not arrive, or the peer did not want it.
    GaveUp {
        /// Which one.
        exchange: ExchangeId,
        /// Who was to get it.
        peer: P,
        /// What happened instead of an acknowledgement.
        reason: GaveUpReason,
    },
}

/// How a separate response came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUpReason {
    /// The peer answered with a Reset: it has forgotten the request.
    Reset,
    /// Nothing came after `MAX_RETRANSMIT` retransmissions.
    TimedOut,
}

impl<P: Clone + Eq + Hash + Debug> Endpoint<P> {
    /// An endpoint without peers; `seed` makes message ids and waits differ between endpoints, and alike between test runs.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            peers: HashMap::new(),
            exchanges: HashMap::new(),
            next_exchange: 0,
            timers: Timers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            statistics: Statistics::default(),
        }
    }

    /// Takes in what came from a peer, whatever it is.
    pub fn handle_datagram(&mut self, now: Instant, peer: &P, datagram: &[u8]) {
        count(&mut self.statistics.datagrams);
        match Message::decode(datagram) {
            Ok(message) => self.handle_message(now, peer, message),
            Err(error) => self.reject_malformed(peer, error),
        }
        self.prune_timers();
    }

    /// Answers a request: piggy-backed, separately if it was acknowledged before, or non-confirmable like the request.
    ///
    /// An exchange that is unknown, answered or over is counted and otherwise ignored, as the peer may have been forgotten meanwhile.
    pub fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response) {
        match self
            .exchanges
            .get(&exchange)
            .and_then(Exchange::way_of_answer)
        {
            Some(way) => self.answer(now, exchange, way, response),
            None => count(&mut self.statistics.late_responses),
        }
        self.prune_timers();
    }

    /// Tells the peer that its request arrived and the answer will take time (RFC 7252 §5.2.2).
    ///
    /// Does nothing for requests that are non-confirmable, acknowledged or answered.
    pub fn acknowledge(&mut self, _now: Instant, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        if entry.way_of_answer() == Some(Way::PiggyBacked) {
            entry.state = State::Acknowledged;
            count(&mut self.statistics.acknowledgements);
            let (peer, id) = (entry.peer.clone(), entry.request_id);
            self.send(peer, empty(Type::Acknowledgement, id));
        }
    }

    /// Drops everything of a peer, sent or to be sent, because its session is over.
    pub fn forget_peer(&mut self, peer: &P) {
        let Some(forgotten) = self.peers.remove(peer) else {
            return;
        };
        for exchange in forgotten.exchanges() {
            self.exchanges.remove(&exchange);
        }
        self.transmits.retain(|transmit| transmit.peer != *peer);
        self.events.retain(|event| match event {
            Event::Request { peer: of, .. } | Event::GaveUp { peer: of, .. } => of != peer,
        });
        self.prune_timers();
    }

    /// Does what is due: sends again, gives up, forgets.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((timer, deadline)) = self.timers.pop_due(now) {
            if !counts(&self.exchanges, timer, deadline) {
                continue;
            }
            match timer {
                Timer::Retransmit => self.retransmit(now, deadline.exchange),
                Timer::Forget(_) => self.end_lifetime(now, deadline.exchange),
            }
        }
        self.prune_timers();
    }

    /// The next datagram to send, if any.
    pub fn poll_transmit(&mut self) -> Option<Transmit<P>> {
        self.transmits.pop_front()
    }

    /// The next thing that happened, if any.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] next; `None` if nothing is waited for. May change after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What was done so far.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How many requests are remembered, answered or not.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Of how many peers something is remembered.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    fn handle_message(&mut self, now: Instant, peer: &P, message: Message) {
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
    fn reject_malformed(&mut self, peer: &P, error: DecodeError) {
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
            return self.repeat(exchange);
        }
        match Request::from_message(reliability, message) {
            (request, Ok(())) => {
                let Some(exchange) = self.open(now, peer, &request) else {
                    return;
                };
                count(&mut self.statistics.requests);
                let peer = peer.clone();
                self.events.push_back(Event::Request {
                    exchange,
                    peer,
                    request,
                });
            }
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

    fn repeat(&mut self, exchange: ExchangeId) {
        count(&mut self.statistics.duplicates);
        let Some(entry) = self.exchanges.get(&exchange) else {
            return;
        };
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
    fn open(&mut self, now: Instant, peer: &P, request: &Request) -> Option<ExchangeId> {
        if !self.make_room(peer) {
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
        self.timers.start(
            Timer::Forget(request.reliability()),
            Deadline {
                at: forget_at,
                exchange,
            },
        );
        Some(exchange)
    }

    /// Forgets the oldest answered request, of the peer or of all, if a table is full.
    fn make_room(&mut self, peer: &P) -> bool {
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
        }
        oldest.is_some()
    }

    fn answer(&mut self, now: Instant, exchange: ExchangeId, way: Way, mut response: Response) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&entry.peer) else {
            return;
        };
        if entry.no_response.suppresses(response.code) {
            count(&mut self.statistics.suppressed);
            return self.answer_nothing(exchange, way);
        }
        if !response.is_valid() {
            count(&mut self.statistics.invalid_responses);
            response = Response::new(Code::INTERNAL_SERVER_ERROR);
        }
        let (kind, id) = match way {
            Way::PiggyBacked => (Type::Acknowledgement, Some(entry.request_id)),
            Way::Separate => (
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
        entry.state = match way {
            Way::PiggyBacked | Way::NonConfirmable => State::Done {
                repeat: Some(Arc::clone(&message)),
            },
            Way::Separate => {
                let timeout = initial_timeout(&self.config, &mut self.random);
                let retransmission = Retransmission::start(now, Arc::clone(&message), timeout);
                let at = retransmission.due;
                self.timers
                    .start(Timer::Retransmit, Deadline { at, exchange });
                peer.await_ack(id, exchange);
                State::AwaitAck(Box::new(retransmission))
            }
        };
        count(match way {
            Way::PiggyBacked => &mut self.statistics.piggy_backed,
            Way::Separate => &mut self.statistics.separate,
            Way::NonConfirmable => &mut self.statistics.non_confirmable,
        });
        let peer = entry.peer.clone();
        if way != Way::PiggyBacked {
            self.prolong(now, exchange);
        }
        self.send(peer, message);
    }

    /// Ends an exchange without a response; a confirmable request is acknowledged all the same (RFC 7967 §2).
    fn answer_nothing(&mut self, exchange: ExchangeId, way: Way) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let ack = empty(Type::Acknowledgement, entry.request_id);
        let repeat = match way {
            Way::PiggyBacked | Way::Separate => Some(Arc::clone(&ack)),
            Way::NonConfirmable => None,
        };
        entry.state = State::Done { repeat };
        if way == Way::PiggyBacked {
            let peer = entry.peer.clone();
            self.send(peer, ack);
        }
    }

    /// Starts the lifetime anew, for the message id we used.
    fn prolong(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(reliability) = self.exchanges.get(&exchange).map(|entry| entry.reliability) else {
            return;
        };
        let at = after(now, self.lifetime(reliability));
        if let Some(entry) = self.exchanges.get_mut(&exchange) {
            entry.forget_at = at;
        }
        self.timers
            .start(Timer::Forget(reliability), Deadline { at, exchange });
    }

    fn handle_ack(&mut self, peer: &P, id: MessageId) {
        match self.finish_separate(peer, id) {
            Some(_) => count(&mut self.statistics.confirmed),
            None => count(&mut self.statistics.ignored),
        }
    }

    fn handle_reset(&mut self, peer: &P, id: MessageId) {
        let Some(exchange) = self.finish_separate(peer, id) else {
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
    fn finish_separate(&mut self, peer: &P, id: MessageId) -> Option<ExchangeId> {
        let exchange = self.peers.get(peer)?.awaiting(id)?;
        self.stop_retransmission(exchange);
        Some(exchange)
    }

    fn stop_retransmission(&mut self, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        if let State::AwaitAck(response) = &entry.state {
            let repeat = Some(Arc::clone(&response.message));
            entry.state = State::Done { repeat };
        }
        if let Some(peer) = self.peers.get_mut(&entry.peer) {
            peer.acknowledge(exchange);
        }
    }

    fn retransmit(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        let State::AwaitAck(response) = &mut entry.state else {
            return;
        };
        match response.next_attempt(now, self.config.max_retransmit) {
            Attempt::SendAgain => {
                count(&mut self.statistics.retransmissions);
                let (at, message, peer) = (
                    response.due,
                    Arc::clone(&response.message),
                    entry.peer.clone(),
                );
                self.timers
                    .start(Timer::Retransmit, Deadline { at, exchange });
                self.send(peer, message);
            }
            Attempt::GiveUp => self.give_up(exchange),
        }
    }

    fn give_up(&mut self, exchange: ExchangeId) {
        self.stop_retransmission(exchange);
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

    fn end_lifetime(&mut self, now: Instant, exchange: ExchangeId) {
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
    fn close(&mut self, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.remove(&exchange) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&entry.peer) {
            peer.forget(exchange);
            if peer.len() == 0 {
                self.peers.remove(&entry.peer);
            }
        }
    }

    fn send(&mut self, peer: P, payload: Arc<[u8]>) {
        self.transmits.push_back(Transmit { peer, payload });
    }

    fn lifetime(&self, reliability: Reliability) -> Duration {
        let configured = match reliability {
            Reliability::Confirmable => self.config.exchange_lifetime,
            Reliability::NonConfirmable => self.config.non_lifetime,
        };
        configured.max(SHORTEST_LIFETIME)
    }

    fn prune_timers(&mut self) {
        let exchanges = &self.exchanges;
        self.timers
            .prune(|timer, deadline| counts(exchanges, timer, deadline));
    }
}

/// Whether a deadline is still that of its exchange.
fn counts<P>(
    exchanges: &HashMap<ExchangeId, Exchange<P>>,
    timer: Timer,
    deadline: Deadline,
) -> bool {
    exchanges
        .get(&deadline.exchange)
        .is_some_and(|entry| match (timer, &entry.state) {
            (Timer::Forget(_), _) => entry.forget_at == deadline.at,
            (Timer::Retransmit, State::AwaitAck(response)) => response.due == deadline.at,
            (Timer::Retransmit, State::Undecided | State::Acknowledged | State::Done { .. }) => {
                false
            }
        })
}

fn empty(kind: Type, id: MessageId) -> Arc<[u8]> {
    Message::empty(kind, id).encode().unwrap_or_default().into()
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

/// How many of the oldest exchanges are looked at for an answered one when the table is full.
const OLDEST_ASKED: usize = 64;

/// A lifetime of nothing would be over before it began.
const SHORTEST_LIFETIME: Duration = Duration::from_millis(1);

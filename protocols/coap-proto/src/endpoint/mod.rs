//! The message layer of a server towards all its peers (RFC 7252 §4): decides what to send, to hand on, to repeat, to forget.

mod receive;

mod blockwise;

mod answer;

mod answered;

mod address;

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use address::UNLIMITED;
use answer::way_of_response;
pub use answered::Answered;
use fair_share::{Holder, SequenceHasher};

use crate::address::AddressValidation;
use crate::block::Transfers;
use crate::config::Config;
use crate::dedup::Peer;
use crate::exchange::{Exchange, ExchangeId, State, Way};
use crate::holders::Holders;
use crate::message::{Message, MessageId, Type};
use crate::reliability::Random;
use crate::request::{Reliability, Request};
use crate::response::Response;
use crate::statistics::{Statistics, count};
use crate::timer::{Timer, Timers};

/// A CoAP server without socket and clock; `P` tells peers apart: an address, or a DTLS association.
#[derive(Debug)]
pub struct Endpoint<P> {
    config: Config,
    random: Random,
    peers: HashMap<P, Peer>,
    exchanges: HashMap<ExchangeId, Exchange<P>, BuildHasherDefault<SequenceHasher>>,
    /// Number of exchanges that the caller has yet to answer.
    open: usize,
    holders: Holders<P>,
    next_exchange: u64,
    transfers: Transfers<P>,
    timers: Timers,
    transmits: VecDeque<Transmit<P>>,
    events: VecDeque<Event<P>>,
    statistics: Statistics,
    /// Whether and how peers have to prove their addresses.
    validation: Option<AddressValidation>,
    /// Largest message that the peer of the current datagram can take.
    max_message: u16,
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
    /// A new request, whole and never a duplicate; to be answered by [`Endpoint::respond`].
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
            transfers: Transfers::new(&config),
            config,
            random: Random::new(seed),
            peers: HashMap::new(),
            exchanges: HashMap::default(),
            open: 0,
            holders: Holders::new(),
            next_exchange: 0,
            timers: Timers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            statistics: Statistics::default(),
            validation: None,
            max_message: u16::MAX,
        }
    }

    /// Takes in what came from a peer without a holder, whatever it is.
    pub fn handle_datagram(&mut self, now: Instant, peer: &P, datagram: &[u8]) {
        self.handle_datagram_of(now, peer, None, usize::MAX, datagram);
    }

    /// Takes in what came from a peer, whatever it is. What is remembered of it counts for `holder`,
    /// which is always the same for a peer; a holder may have several peers. No message of more than
    /// `max_message` bytes can be sent to the peer: what answers the datagram is cut into blocks that
    /// fit.
    pub fn handle_datagram_of(
        &mut self,
        now: Instant,
        peer: &P,
        holder: Option<Holder>,
        max_message: usize,
        datagram: &[u8],
    ) {
        self.max_message = u16::try_from(max_message).unwrap_or(u16::MAX);
        count(&mut self.statistics.datagrams);
        let allowance = self.allowance(peer, datagram.len());
        let source = Source {
            peer,
            holder,
            allowance,
            has_echoed: false,
        };
        match Message::decode(datagram) {
            Ok(message) => self.handle_message(now, source, message),
            Err(error) => self.reject_malformed(peer, error),
        }
    }

    /// Answers a request: piggy-backed, separately if it was acknowledged before, or non-confirmable like the request; in blocks if
    /// the payload is large.
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
    }

    /// Tells the peer that its request arrived and the answer will take time (RFC 7252 §5.2.2).
    ///
    /// Does nothing for requests that are non-confirmable, acknowledged or answered.
    pub fn acknowledge(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(entry) = self.exchanges.get_mut(&exchange) else {
            return;
        };
        if entry.way_of_answer() == Some(Way::PiggyBacked) {
            entry.state = State::Acknowledged;
            count(&mut self.statistics.acknowledgements);
            let acknowledgement = empty(Type::Acknowledgement, entry.request_id);
            address::spend(&mut entry.allowance, &acknowledgement);
            let peer = entry.peer.clone();
            if self.pay(now, &peer, acknowledgement.len()) {
                self.send(peer, acknowledgement);
            }
        }
    }

    /// Drops everything of a peer, sent or to be sent, because its session is over.
    ///
    /// Returns its exchanges, so that the caller may stop working on those not answered yet.
    pub fn forget_peer(&mut self, peer: &P) -> Vec<ExchangeId> {
        self.transfers.forget_peer(peer);
        let Some(of_peer) = self.peers.get(peer) else {
            return Vec::new();
        };
        let forgotten: Vec<_> = of_peer.exchanges().collect();
        for exchange in &forgotten {
            self.remove(*exchange);
        }
        self.remove_peer(peer);
        self.transmits.retain(|transmit| transmit.peer != *peer);
        self.events.retain(|event| match event {
            Event::Request { peer: of, .. } | Event::GaveUp { peer: of, .. } => of != peer,
        });
        forgotten
    }

    /// Whether an exchange is remembered and waits for its answer.
    #[must_use]
    pub fn is_open(&self, exchange: ExchangeId) -> bool {
        let entry = self.exchanges.get(&exchange);
        entry.is_some_and(|entry| entry.way_of_answer().is_some())
    }

    /// Whose an exchange is, if it is remembered.
    #[must_use]
    pub fn peer_of(&self, exchange: ExchangeId) -> Option<&P> {
        self.exchanges.get(&exchange).map(|entry| &entry.peer)
    }

    /// Whether [`Self::respond`] would send this response, whole or its first block: the exchange
    /// waits for it, the peer wants it (RFC 7967), it fits, and there is a message id for it.
    #[must_use]
    pub fn can_send(&self, now: Instant, exchange: ExchangeId, response: &Response) -> bool {
        let Some(entry) = self.exchanges.get(&exchange) else {
            return false;
        };
        let way = entry.way_of_answer();
        let way = way.and_then(|way| way_of_response(&self.config, entry, way, response.code));
        let has_id = match way {
            None => false,
            Some(Way::PiggyBacked) => true,
            Some(Way::InPlaceOfAck | Way::Separate | Way::NonConfirmable) => {
                let lifetime = self.config.exchange_lifetime;
                let peer = self.peers.get(&entry.peer);
                peer.is_some_and(|peer| peer.ids.has_next(now, lifetime))
            }
        };
        has_id && response.is_valid() && self.travels(entry, response)
    }

    /// Does what is due: sends again, gives up, forgets.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((timer, deadline)) = self.timers.pop_due(now) {
            match timer {
                Timer::Retransmit => self.retransmit(now, deadline.exchange),
                Timer::Forget => self.end_lifetime(now, deadline.exchange),
            }
        }
        self.expire_transfers(now);
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
        let transfers = self.transfers.next_timeout();
        self.timers.next().into_iter().chain(transfers).min()
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

    /// How many uploads and answers in blocks are kept.
    #[must_use]
    pub fn transfers(&self) -> usize {
        self.transfers.len()
    }

    /// How many bytes these take.
    #[must_use]
    pub const fn transfer_bytes(&self) -> usize {
        self.transfers.bytes()
    }

    /// The peer, remembered from now on.
    fn peer_mut(&mut self, source: Source<'_, P>) -> &mut Peer {
        let (random, holders) = (&mut self.random, &mut self.holders);
        self.peers.entry(source.peer.clone()).or_insert_with(|| {
            let holder = source.holder;
            let holder = holder.map(|holder| {
                let index = holders.add_peer(holder, source.peer.clone());
                (holder, index)
            });
            Peer::new(random, holder, source.allowance.into())
        })
    }

    fn remove_peer(&mut self, peer: &P) {
        let Some(Peer {
            holder: Some((holder, index)),
            ..
        }) = self.peers.remove(peer)
        else {
            return;
        };
        let moved = self.holders.remove_peer(holder, index);
        if let Some(moved) = moved.and_then(|moved| self.peers.get_mut(moved)) {
            moved.holder = Some((holder, index));
        }
    }

    fn holder_of(&self, peer: &P) -> Option<Holder> {
        let (holder, _) = self.peers.get(peer)?.holder?;
        Some(holder)
    }

    /// Compares the counts with what they count.
    #[cfg(test)]
    pub(crate) fn assert_counts(&self) {
        let open = self.exchanges.values().filter(|entry| entry.is_open());
        assert_eq!(self.open, open.count());
        let mut held = HashMap::<Holder, (usize, usize)>::new();
        for entry in self.exchanges.values() {
            let holder = self.holder_of(&entry.peer).expect("each peer has a holder");
            let (exchanges, unacknowledged) = held.entry(holder).or_default();
            *exchanges += 1;
            *unacknowledged += usize::from(matches!(entry.state, State::AwaitAck(_)));
        }
        self.holders.assert_counts(&held);
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
}

/// Where a message came from.
#[derive(Debug)]
struct Source<'a, P> {
    peer: &'a P,
    holder: Option<Holder>,
    /// Bytes that may be sent for it, if the address of the peer is not proved.
    allowance: u16,
    /// Whether it proves the address of the peer.
    has_echoed: bool,
}

impl<P> Clone for Source<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Source<'_, P> {}

fn empty(kind: Type, id: MessageId) -> Arc<[u8]> {
    Message::empty(kind, id).encode().unwrap_or_default().into()
}

/// A lifetime of nothing would be over before it began.
const SHORTEST_LIFETIME: Duration = Duration::from_millis(1);

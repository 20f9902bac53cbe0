//! The server's side of a handshake with a pre-shared key, from the ClientHello with a good cookie on (RFC 6347 §4.2.4, RFC 4279 §2).
//!
//! ```text
//!   client                         server                                state after
//!   ClientHello (cookie)   ─────▶
//!                          ◀─────  ServerHello, ServerKeyExchange,
//!                                  ServerHelloDone                       AwaitClientKeyExchange
//!   ClientKeyExchange      ─────▶  Event::PskRequested                   AwaitPsk
//!                                  provide_psk(key)                      AwaitChangeCipherSpec
//!                                  provide_psk(None), or nothing in time Silent
//!   ChangeCipherSpec       ─────▶                                        AwaitFinished
//!   Finished               ─────▶
//!                          ◀─────  ChangeCipherSpec, Finished            (a Session)
//! ```
//!
//! With ServerHelloDone the flight is sent again until the client answers. From ClientKeyExchange on we send nothing until the
//! client's Finished is right: with a wrong key it can't be opened, is dropped, and the handshake is forgotten in the end, just as
//! with an unknown identity.
//!
//! A verdict over a certificate would be one more state between `AwaitPsk`'s place and `AwaitChangeCipherSpec`, with an event and
//! an answering method as `AwaitPsk` has.

use std::net::SocketAddr;
use std::time::Instant;

use crate::codec::alert::AlertDescription;
use crate::codec::handshake::{Fragment, HandshakeType, message};
use crate::codec::hello::{ClientHello, Random};
use crate::codec::key_exchange::{decode_psk_identity, encode_psk_identity_hint};
use crate::codec::record::RecordHeader;
use crate::crypto::{KeyExchange, MasterSecret, Psk, Side, Transcript, random};
use crate::event::{AssociationId, Event};
use crate::flight::{Packer, Part};
use crate::inbox::{Inbox, SealedRecord};
use crate::protection::Protection;
use crate::reassembly::{Limits, Reassembler};
use crate::server::MAX_PSK_IDENTITY;
use crate::server::negotiation::Negotiated;
use crate::server::session::{LastFlight, Session};
use crate::server::shared::Shared;
use crate::statistics::count;
use crate::timer::Timer;

/// A handshake that has not ended.
pub(crate) struct Handshake {
    context: Context,
    state: State,
}

/// What a step of the handshake led to.
pub(crate) enum Progress {
    /// It waits for more.
    Ongoing,
    /// It is done; these records came early and belong to the session.
    Established(Box<Session>, Vec<SealedRecord>),
    /// It can't go on; the peer, which has the key, is owed an alert.
    Failed(Box<Protection>, AlertDescription),
}

/// In the order of the protocol.
enum State {
    AwaitClientKeyExchange(AwaitClientKeyExchange),
    AwaitPsk(AwaitPsk),
    AwaitChangeCipherSpec(AwaitChangeCipherSpec),
    AwaitFinished(AwaitFinished),
    Silent,
}

/// Our flight is out; the client must name its identity.
struct AwaitClientKeyExchange {
    flight: Vec<Part>,
    attempt: u32,
}

/// The caller looks for the key.
struct AwaitPsk {
    /// The transcript's hash through ClientKeyExchange (RFC 7627 §3).
    session_hash: [u8; 32],
}

/// The keys are there; the client must switch to them.
struct AwaitChangeCipherSpec {
    master_secret: MasterSecret,
    protection: Protection,
}

/// The client must prove that it has the same key and saw the same handshake.
struct AwaitFinished {
    master_secret: MasterSecret,
    protection: Protection,
    messages: Reassembler,
}

/// What a state makes of what is in the inbox.
enum Step {
    /// What it waits for has not come.
    Wait(State),
    /// It got what it waited for.
    Next(State),
    Done(Progress),
}

/// What every state needs.
struct Context {
    association: AssociationId,
    peer: SocketAddr,
    client_random: Random,
    server_random: Random,
    negotiated: Negotiated,
    transcript: Transcript,
    inbox: Inbox,
    /// Our next record sequence number in epoch 0.
    sequence: u64,
    /// Our next message number.
    message_seq: u16,
    /// Whether the caller was told of the association.
    announced: bool,
}

impl Handshake {
    /// Sends the first flight in answer to a ClientHello with a good cookie; `None` if there is no randomness to be had.
    pub(crate) fn start(
        now: Instant,
        association: AssociationId,
        peer: SocketAddr,
        offer: &Offer<'_>,
        negotiated: Negotiated,
        shared: &mut Shared,
    ) -> Option<Self> {
        let header = offer.fragment.header;
        let mut transcript = Transcript::new();
        transcript.add(&message(
            header.message_type,
            header.message_seq,
            offer.fragment.body,
        ));
        let mut context = Context {
            association,
            peer,
            client_random: offer.hello.random,
            server_random: random()?,
            negotiated,
            transcript,
            inbox: Inbox::new(header.message_seq.saturating_add(1)),
            sequence: offer.record_sequence,
            message_seq: header.message_seq,
            announced: false,
        };
        let state = AwaitClientKeyExchange::enter(&mut context);
        state.send(&mut context, shared);
        let mut handshake = Self {
            context,
            state: State::AwaitClientKeyExchange(state),
        };
        handshake.arm_retransmission(now, shared);
        count(&mut shared.statistics.handshakes_started);
        Some(handshake)
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.context.peer
    }

    /// Whether this handshake was begun by a hello with this random.
    pub(crate) fn is_from(&self, random: &Random) -> bool {
        self.context.client_random == *random
    }

    /// Whether the caller knows of it, so that it must be told of the end.
    pub(crate) fn is_announced(&self) -> bool {
        self.context.announced
    }

    /// Whether an alert in plaintext can be the client's: it has no keys before it has sent its ClientKeyExchange.
    pub(crate) fn heeds_plain_alerts(&self) -> bool {
        matches!(self.state, State::AwaitClientKeyExchange(_))
    }

    pub(crate) fn handle_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        shared: &mut Shared,
    ) -> Progress {
        if self.context.inbox.messages.insert(fragment).is_err() {
            count(&mut shared.statistics.refused_fragments);
        }
        self.advance(now, shared)
    }

    pub(crate) fn handle_change_cipher_spec(
        &mut self,
        now: Instant,
        shared: &mut Shared,
    ) -> Progress {
        self.context.inbox.change_cipher_spec = true;
        self.advance(now, shared)
    }

    pub(crate) fn handle_sealed(
        &mut self,
        now: Instant,
        header: RecordHeader,
        fragment: &[u8],
        shared: &mut Shared,
    ) -> Progress {
        if matches!(self.state, State::Silent) {
            return Progress::Ongoing;
        }
        if self.context.inbox.put_sealed(header, fragment).is_err() {
            count(&mut shared.statistics.early_records_dropped);
        }
        self.advance(now, shared)
    }

    /// The caller's answer to [`Event::PskRequested`]; too late or unasked, it has no effect.
    pub(crate) fn provide_psk(
        &mut self,
        now: Instant,
        key: Option<Psk>,
        shared: &mut Shared,
    ) -> Progress {
        shared
            .timers
            .stop(self.context.association, Timer::PskDeadline);
        self.state = match std::mem::replace(&mut self.state, State::Silent) {
            State::AwaitPsk(state) => match key.filter(Psk::is_usable) {
                Some(key) => State::AwaitChangeCipherSpec(state.answer(&key, &self.context)),
                None => {
                    count(&mut shared.statistics.psk_unknown);
                    State::Silent
                }
            },
            state @ (State::AwaitClientKeyExchange(_)
            | State::AwaitChangeCipherSpec(_)
            | State::AwaitFinished(_)
            | State::Silent) => state,
        };
        self.advance(now, shared)
    }

    /// The client's ClientHello came again: our flight was lost on the way.
    pub(crate) fn repeat_flight(&mut self, shared: &mut Shared) {
        if let State::AwaitClientKeyExchange(state) = &self.state {
            count(&mut shared.statistics.retransmissions);
            state.send(&mut self.context, shared);
        }
    }

    /// Nobody answered in time: sends the flight again and waits longer.
    pub(crate) fn retransmit(&mut self, now: Instant, shared: &mut Shared) {
        if let State::AwaitClientKeyExchange(state) = &mut self.state {
            state.attempt = state.attempt.saturating_add(1);
            count(&mut shared.statistics.retransmissions);
            state.send(&mut self.context, shared);
            self.arm_retransmission(now, shared);
        }
    }

    /// Lets each state take what it waits for, until one has to wait. The one place where a handshake changes its state for what
    /// the client sent.
    fn advance(&mut self, now: Instant, shared: &mut Shared) -> Progress {
        loop {
            let context = &mut self.context;
            let step = match std::mem::replace(&mut self.state, State::Silent) {
                State::AwaitClientKeyExchange(state) => state.step(now, context, shared),
                State::AwaitPsk(state) => Step::Wait(State::AwaitPsk(state)),
                State::AwaitChangeCipherSpec(state) => state.step(context),
                State::AwaitFinished(state) => state.step(context, shared),
                State::Silent => Step::Wait(State::Silent),
            };
            match step {
                Step::Wait(state) => {
                    self.state = state;
                    return Progress::Ongoing;
                }
                Step::Next(state) => self.state = state,
                Step::Done(progress) => return progress,
            }
        }
    }

    /// Waits for the client: once more before the flight is sent again, or a last time before all is forgotten.
    fn arm_retransmission(&mut self, now: Instant, shared: &mut Shared) {
        let State::AwaitClientKeyExchange(state) = &self.state else {
            return;
        };
        let backoff = shared.config.backoff();
        let timer = if state.attempt < backoff.retransmissions {
            Timer::Retransmit
        } else {
            Timer::Forget
        };
        let wait = backoff.wait(state.attempt).unwrap_or(backoff.maximum);
        shared
            .timers
            .set(self.context.association, timer, now, wait);
    }
}

/// The ClientHello that begins a handshake, with what surrounds it.
pub(crate) struct Offer<'a> {
    pub(crate) hello: ClientHello<'a>,
    pub(crate) fragment: Fragment<'a>,
    /// Our first record has the same number as the client's (RFC 6347 §4.2.1).
    pub(crate) record_sequence: u64,
}

impl AwaitClientKeyExchange {
    fn enter(context: &mut Context) -> Self {
        let mut messages = vec![(
            HandshakeType::SERVER_HELLO,
            context.negotiated.server_hello(context.server_random),
        )];
        match context.negotiated.suite.key_exchange() {
            // Always sent, with an empty hint, as the reference does; RFC 4279 §2 would let it be left out.
            KeyExchange::Psk => messages.push((
                HandshakeType::SERVER_KEY_EXCHANGE,
                encode_psk_identity_hint(&[]),
            )),
        }
        messages.push((HandshakeType::SERVER_HELLO_DONE, Vec::new()));
        let flight = messages
            .into_iter()
            .map(|(message_type, body)| Part::Plain(context.next_message(message_type, &body)))
            .collect();
        Self { flight, attempt: 0 }
    }

    fn send(&self, context: &mut Context, shared: &mut Shared) {
        context.send(&self.flight, None, shared);
    }

    fn step(self, now: Instant, context: &mut Context, shared: &mut Shared) -> Step {
        let Some(received) = context.inbox.messages.peek() else {
            return Step::Wait(State::AwaitClientKeyExchange(self));
        };
        let identity = match received.message_type {
            HandshakeType::CLIENT_KEY_EXCHANGE => decode_psk_identity(&received.body).ok(),
            _ => None,
        };
        let Some(identity) = identity else {
            // Anybody can send plaintext in the client's name, so the right message may still come.
            count(&mut shared.statistics.unexpected_messages);
            context.inbox.messages.discard();
            return Step::Wait(State::AwaitClientKeyExchange(self));
        };
        context.inbox.messages.advance();
        context.transcript.add(&received.encode());
        let timers = &mut shared.timers;
        timers.stop(context.association, Timer::Retransmit);
        let lifetime = shared.config.backoff().total();
        timers.set(context.association, Timer::Forget, now, lifetime);
        if identity.len() > MAX_PSK_IDENTITY {
            count(&mut shared.statistics.identities_too_long);
            return Step::Next(State::Silent);
        }
        let deadline = shared.config.psk_deadline;
        timers.set(context.association, Timer::PskDeadline, now, deadline);
        context.announced = true;
        shared.events.push_back(Event::PskRequested {
            association: context.association,
            identity: identity.to_vec(),
            server_name: context.negotiated.server_name.clone(),
        });
        Step::Next(State::AwaitPsk(AwaitPsk {
            session_hash: context.transcript.hash(),
        }))
    }
}

impl AwaitPsk {
    fn answer(self, key: &Psk, context: &Context) -> AwaitChangeCipherSpec {
        let (client, server) = (&context.client_random, &context.server_random);
        let master_secret = if context.negotiated.extended_master_secret {
            MasterSecret::extended(key, &self.session_hash)
        } else {
            MasterSecret::plain(key, client, server)
        };
        let keys = master_secret.keys(context.negotiated.suite.aead(), client, server);
        AwaitChangeCipherSpec {
            master_secret,
            protection: Protection::new(Side::Server, keys),
        }
    }
}

impl AwaitChangeCipherSpec {
    fn step(self, context: &mut Context) -> Step {
        if !context.inbox.change_cipher_spec {
            return Step::Wait(State::AwaitChangeCipherSpec(self));
        }
        let next = context.inbox.messages.next_message_seq();
        Step::Next(State::AwaitFinished(AwaitFinished {
            master_secret: self.master_secret,
            protection: self.protection,
            // Anew, so that nothing sent in plaintext can stand in for a part of Finished.
            messages: Reassembler::new(next, Limits::default()),
        }))
    }
}

impl AwaitFinished {
    fn step(mut self, context: &mut Context, shared: &mut Shared) -> Step {
        while let Some(mut record) = context.inbox.take_sealed_handshake() {
            let Ok(plaintext) = self.protection.open(record.header, &mut record.fragment) else {
                count(&mut shared.statistics.bad_records);
                continue;
            };
            for fragment in shared.fragments(plaintext) {
                if self.messages.insert(&fragment).is_err() {
                    count(&mut shared.statistics.refused_fragments);
                }
            }
            let Some(received) = self.messages.peek() else {
                continue;
            };
            let right = received.message_type == HandshakeType::FINISHED
                && self.master_secret.verifies(
                    Side::Client,
                    &context.transcript.hash(),
                    &received.body,
                );
            if !right {
                let alert = AlertDescription::DECRYPT_ERROR;
                return Step::Done(Progress::Failed(Box::new(self.protection), alert));
            }
            context.transcript.add(&received.encode());
            return Step::Done(self.establish(context, shared));
        }
        Step::Wait(State::AwaitFinished(self))
    }

    fn establish(self, context: &mut Context, shared: &mut Shared) -> Progress {
        let verify_data = self
            .master_secret
            .verify_data(Side::Server, &context.transcript.hash());
        let last_flight = LastFlight {
            sequence: context.sequence,
            message_seq: context.message_seq,
            verify_data,
        };
        let mut session = Session::new(
            context.peer,
            self.protection,
            &context.client_random,
            &context.negotiated,
            last_flight,
        );
        session.send_last_flight(shared);
        let inbox = std::mem::replace(&mut context.inbox, Inbox::new(0));
        Progress::Established(Box::new(session), inbox.into_sealed().into())
    }
}

impl Context {
    /// Makes our next message and takes it into the transcript.
    fn next_message(&mut self, message_type: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(message_type, self.message_seq, body);
        self.message_seq = self.message_seq.saturating_add(1);
        self.transcript.add(&message);
        message
    }

    fn send(
        &mut self,
        parts: &[Part],
        mut protection: Option<&mut Protection>,
        shared: &mut Shared,
    ) {
        let max_fragment = self.negotiated.max_plaintext();
        let mut packer = Packer::new(shared.config.mtu, max_fragment, &mut self.sequence);
        for part in parts {
            // A client that began at the end of the numbers gets no further, and is forgotten in time.
            if packer.pack(part, protection.as_deref_mut()).is_err() {
                return;
            }
        }
        for datagram in packer.datagrams() {
            shared.transmit(self.peer, datagram);
        }
    }
}

//! The server's side of a handshake, from the ClientHello with a good cookie on (RFC 6347 §4.2.4, RFC 4279 §2, RFC 5489 §2).
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

mod context;
mod key_exchange;
mod finished;

use std::net::SocketAddr;
use std::time::Instant;

use crate::codec::alert::AlertDescription;
use crate::codec::connection_id::ConnectionId;
use crate::codec::handshake::{Fragment, message};
use crate::codec::hello::{ClientHello, Random};
use crate::codec::record::RecordHeader;
use crate::crypto::{Psk, Transcript, random};
use crate::event::AssociationId;
use crate::inbox::{Inbox, SealedRecord};
use crate::protection::{IdPair, Protection};
use crate::server::handshake::context::Context;
use crate::server::handshake::finished::{AwaitChangeCipherSpec, AwaitFinished};
use crate::server::handshake::key_exchange::{AwaitClientKeyExchange, AwaitPsk};
use crate::server::negotiation::Negotiated;
use crate::server::session::Session;
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

/// What a state makes of what is in the inbox.
enum Step {
    /// What it waits for has not come.
    Wait(State),
    /// It got what it waited for.
    Next(State),
    Done(Progress),
}

impl Handshake {
    /// Sends the first flight in answer to a ClientHello with a good cookie; `None` if there is no randomness to be had.
    pub(crate) fn start(
        now: Instant,
        association: AssociationId,
        peer: SocketAddr,
        offer: &Offer<'_>,
        negotiated: Negotiated,
        connection_ids: Option<IdPair>,
        shared: &mut Shared,
    ) -> Option<Self> {
        let header = offer.fragment.header;
        let mut transcript = Transcript::new(negotiated.suite.hash());
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
            connection_ids,
            transcript,
            inbox: Inbox::new(header.message_seq.saturating_add(1)),
            sequence: offer.record_sequence,
            message_seq: header.message_seq,
            announced: false,
        };
        let state = AwaitClientKeyExchange::enter(&mut context)?;
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

    /// The id in the client's records; empty if there is none.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.context
            .connection_ids
            .map_or(ConnectionId::EMPTY, |ids| ids.ours)
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

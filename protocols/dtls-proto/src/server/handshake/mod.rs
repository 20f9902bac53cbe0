//! The server's side of a handshake, from the ClientHello with a good cookie on (RFC 6347 §4.2.4).
//!
//! With a pre-shared key (RFC 4279 §2, RFC 5489 §2):
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
//! With certificates (RFC 8422 §2.1):
//!
//! ```text
//!   ClientHello (cookie)   ─────▶
//!                          ◀─────  ServerHello, Certificate,
//!                                  ServerKeyExchange,
//!                                  CertificateRequest, ServerHelloDone   AwaitCertificate
//!   Certificate            ─────▶                                        AwaitCertifiedKeyExchange
//!   ClientKeyExchange      ─────▶                                        AwaitCertificateVerify
//!   CertificateVerify      ─────▶  Event::VerdictRequested               AwaitVerdict
//!                                  provide_verdict(Accepted)             AwaitChangeCipherSpec
//!                          ◀─────  provide_verdict(Refused), or nothing
//!                                  in time: fatal bad_certificate        (gone)
//!   ChangeCipherSpec       ─────▶                                        AwaitFinished, and on as above
//! ```
//!
//! If it brings a session of ours that it wants back (RFC 5246 §7.3):
//!
//! ```text
//!   ClientHello (cookie, session or ticket)
//!                          ─────▶  PskRequested or VerdictRequested      AwaitResumption
//!                                  the answer is no: as if it brought none
//!                          ◀─────  ServerHello, ChangeCipherSpec,
//!                                  Finished                              AwaitChangeCipherSpec
//!   ChangeCipherSpec       ─────▶                                        AwaitFinished
//!   Finished               ─────▶                                        (a Session)
//! ```
//!
//! Until the client answers, the flight with ServerHelloDone is sent again. From then on we send nothing before the client's Finished
//! is right: with a wrong key it can't be opened, is dropped, and the handshake is forgotten in the end, just as with an unknown
//! identity. Who shows a certificate hears why it is not taken.

mod context;
mod resumption;
mod flight;
mod psk;
mod certificate;
mod finished;

use std::net::SocketAddr;
use std::time::Instant;

use fair_share::Holder;

use crate::codec::alert::{Alert, AlertDescription};
use crate::codec::connection_id::ConnectionId;
use crate::codec::handshake::{Fragment, message};
use crate::codec::hello::ClientHello;
use crate::codec::record::{ContentType, RecordHeader, put_plain_record};
use crate::crypto::{Psk, Transcript, random};
use crate::event::{AssociationId, HandshakeFailure, Verdict};
use crate::inbox::{Inbox, SealedRecord};
use crate::path::Path;
use crate::protection::{IdPair, Protection};
use crate::resumption::{Resumable, SessionId};
use crate::server::fingerprint::HelloFingerprint;
use crate::server::handshake::certificate::{
    AwaitCertificate, AwaitCertificateVerify, AwaitCertifiedKeyExchange, AwaitVerdict,
};
use crate::server::handshake::context::{Context, Outgoing};
use crate::server::handshake::finished::{AwaitChangeCipherSpec, AwaitFinished};
use crate::server::handshake::psk::{AwaitClientKeyExchange, AwaitPsk};
use crate::server::handshake::resumption::AwaitResumption;
use crate::server::negotiation::{Exchange, Negotiated};
use crate::server::places::Place;
use crate::server::session::Session;
use crate::server::shared::Shared;
use crate::statistics::count;
use crate::timer::Timer;

/// A handshake that has not ended.
pub(crate) struct Handshake {
    context: Context,
    state: State,
    place: Place,
    /// Who the session will belong to, if the caller has said so.
    owner: Option<Holder>,
    /// When the flight was last sent.
    flight_sent: Option<Instant>,
}

/// What a step of the handshake led to.
pub(crate) enum Progress {
    /// It waits for more.
    Ongoing,
    /// It is done.
    Established(Box<Established>),
    /// It can't go on; the peer, which has the key, is owed an alert, sealed where there is a
    /// protection.
    Failed(Option<Box<Protection>>, AlertDescription),
    /// The client ended it in its new keys.
    Ended(Alert),
    /// It can't go on; the peer, which has shown a certificate, is owed an alert in plaintext.
    Refused(AlertDescription),
}

/// What a finished handshake leaves.
pub(crate) struct Established {
    pub(crate) session: Session,
    /// The hello that began it.
    pub(crate) hello: HelloFingerprint,
    /// These records came early and belong to the session.
    pub(crate) early: Vec<SealedRecord>,
    /// What the session may be resumed from, and by which id.
    pub(crate) resumable: Option<(SessionId, Resumable)>,
}

/// In the order of the protocol.
enum State {
    AwaitResumption(Box<AwaitResumption>),
    AwaitClientKeyExchange(AwaitClientKeyExchange),
    AwaitPsk(AwaitPsk),
    AwaitCertificate(AwaitCertificate),
    AwaitCertifiedKeyExchange(AwaitCertifiedKeyExchange),
    AwaitCertificateVerify(AwaitCertificateVerify),
    AwaitVerdict(AwaitVerdict),
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
        path: Path,
        offer: &Offer<'_>,
        negotiated: Negotiated,
        connection_ids: Option<IdPair>,
        shared: &mut Shared,
    ) -> Option<Self> {
        let header = offer.fragment.header;
        let hello = message(header.message_type, header.message_seq, offer.fragment.body);
        let hash = negotiated.suite.hash();
        let mut transcript = match negotiated.exchange {
            Exchange::Psk | Exchange::EcdhePsk(_) => Transcript::new(hash),
            Exchange::EcdheEcdsa(_) => Transcript::with_messages(hash),
        };
        transcript.add(&hello);
        let mut context = Context {
            association,
            path,
            client_random: offer.hello.random,
            hello: offer.fingerprint,
            server_random: random()?,
            negotiated,
            connection_ids,
            transcript,
            inbox: Inbox::new(header.message_seq.saturating_add(1), shared.config.inbox),
            sequence: offer.record_sequence,
            message_seq: header.message_seq,
            session_id: Vec::new(),
            credential: None,
            announced: false,
            failed: false,
            answered: false,
            outgoing: None,
            path_mtu: u16::MAX,
        };
        let state = match &offer.resumable {
            Some(resumable) => State::AwaitResumption(Box::new(AwaitResumption::enter(
                now,
                resumable.clone(),
                offer.hello.session_id,
                hello,
                &mut context,
                shared,
            ))),
            None => context.answer_hello(shared)?,
        };
        context.send_flight(None, shared);
        let mut handshake = Self {
            context,
            state,
            place: offer.place,
            owner: None,
            flight_sent: None,
        };
        handshake.arm_retransmission(now, shared);
        count(&mut shared.statistics.handshakes_started);
        Some(handshake)
    }

    /// The client's address, and the local one it talks to.
    pub(crate) fn path(&self) -> Path {
        self.context.path
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.context.path.remote
    }

    /// The id in the client's records; empty if there is none.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.context
            .connection_ids
            .map_or(ConnectionId::EMPTY, |ids| ids.ours)
    }

    /// Whether this handshake was begun by a copy of this hello.
    pub(crate) fn is_from(&self, hello: &HelloFingerprint) -> bool {
        self.context.hello == *hello
    }

    /// Its place among all handshakes of the port.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    /// Whether the client has answered our flight.
    pub(crate) fn is_answered(&self) -> bool {
        self.context.answered
    }

    /// Whether the flight was sent twice, and waits for an answer.
    pub(crate) fn is_twice_unanswered(&self) -> bool {
        let outgoing = self.context.outgoing.as_ref();
        outgoing.is_some_and(|outgoing| outgoing.attempt > 0)
    }

    pub(crate) fn owner(&self) -> Option<Holder> {
        self.owner
    }

    pub(crate) fn set_owner(&mut self, owner: Holder) {
        self.owner = Some(owner);
    }

    /// No datagram of more than `bytes` reaches the client: what was larger is sent again at once.
    pub(crate) fn set_path_mtu(&mut self, bytes: u16, shared: &mut Shared) {
        if bytes < self.context.path_mtu {
            self.context.path_mtu = bytes;
            self.send_flight_again(shared);
        }
    }

    /// Whether the caller knows of it, so that it must be told of the end.
    pub(crate) fn is_announced(&self) -> bool {
        self.context.announced
    }

    /// Tells the caller that it has come to nothing; the first reason counts.
    pub(crate) fn tell_failure(&mut self, failure: HandshakeFailure, shared: &mut Shared) {
        self.context.tell_failure(failure, shared);
    }

    /// Whether an alert in plaintext can be the client's: it has no keys before it has answered our flight.
    pub(crate) fn heeds_plain_alerts(&self) -> bool {
        self.context.outgoing.is_some()
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
        if let State::AwaitResumption(state) = &self.state {
            return match state.is_of(key.as_ref().filter(|key| key.is_usable())) {
                Some(same) => self.decide_resumption(now, same, shared),
                None => Progress::Ongoing,
            };
        }
        if !matches!(self.state, State::AwaitPsk(_)) {
            return Progress::Ongoing;
        }
        let timers = &mut shared.timers;
        timers.stop(self.context.association, Timer::Answer);
        if let State::AwaitPsk(state) = std::mem::replace(&mut self.state, State::Silent) {
            match key.filter(Psk::is_usable) {
                Some(key) => {
                    let next = state.answer(&key, &mut self.context, shared);
                    self.state = State::AwaitChangeCipherSpec(next);
                }
                None => {
                    count(&mut shared.statistics.psk_unknown);
                    self.tell_failure(HandshakeFailure::KeyUnknown, shared);
                }
            }
        }
        self.advance(now, shared)
    }

    /// The caller's answer to [`Event::VerdictRequested`]; too late or unasked, it has no effect.
    ///
    /// [`Event::VerdictRequested`]: crate::Event::VerdictRequested
    pub(crate) fn provide_verdict(
        &mut self,
        now: Instant,
        verdict: Verdict,
        shared: &mut Shared,
    ) -> Progress {
        if let State::AwaitResumption(state) = &self.state {
            return if state.has_certificate() {
                self.decide_resumption(now, verdict == Verdict::Accepted, shared)
            } else {
                Progress::Ongoing
            };
        }
        if !matches!(self.state, State::AwaitVerdict(_)) {
            return Progress::Ongoing;
        }
        let timers = &mut shared.timers;
        timers.stop(self.context.association, Timer::Answer);
        match (std::mem::replace(&mut self.state, State::Silent), verdict) {
            (State::AwaitVerdict(state), Verdict::Accepted) => {
                self.state = State::AwaitChangeCipherSpec(state.accepted);
                self.advance(now, shared)
            }
            _ => {
                count(&mut shared.statistics.certificates_refused);
                self.tell_failure(HandshakeFailure::CertificateRefused, shared);
                Progress::Refused(AlertDescription::BAD_CERTIFICATE)
            }
        }
    }

    /// Resumes the session, or begins a full handshake instead.
    fn decide_resumption(&mut self, now: Instant, granted: bool, shared: &mut Shared) -> Progress {
        let timers = &mut shared.timers;
        timers.stop(self.context.association, Timer::Answer);
        let State::AwaitResumption(state) = std::mem::replace(&mut self.state, State::Silent)
        else {
            return Progress::Ongoing;
        };
        if granted {
            let mut next = state.resume(&mut self.context);
            self.context.send_flight(Some(&mut next.protection), shared);
            self.state = State::AwaitChangeCipherSpec(next);
        } else {
            count(&mut shared.statistics.resumptions_refused);
            if let Some(state) = self.context.answer_hello(shared) {
                self.context.send_flight(None, shared);
                self.state = state;
            }
        }
        self.arm_retransmission(now, shared);
        self.advance(now, shared)
    }

    /// The caller did not answer in time.
    pub(crate) fn do_without_answer(&mut self, now: Instant, shared: &mut Shared) -> Progress {
        let (resuming, verdict) = if let State::AwaitResumption(state) = &self.state {
            (true, state.has_certificate())
        } else {
            (false, matches!(self.state, State::AwaitVerdict(_)))
        };
        // A resumption becomes a full handshake, which may succeed.
        if !resuming {
            let failure = if verdict {
                HandshakeFailure::VerdictDeadline
            } else {
                HandshakeFailure::KeyDeadline
            };
            self.tell_failure(failure, shared);
        }
        if verdict {
            count(&mut shared.statistics.verdict_deadlines);
            self.provide_verdict(now, Verdict::Refused, shared)
        } else {
            count(&mut shared.statistics.psk_deadlines);
            self.provide_psk(now, None, shared)
        }
    }

    /// Sends an alert in plaintext, the last that is said.
    pub(crate) fn send_plain_alert(&self, alert: AlertDescription, shared: &mut Shared) {
        let header = RecordHeader::new(ContentType::ALERT, 0, self.context.sequence);
        let mut payload = Vec::new();
        put_plain_record(header, &Alert::fatal(alert).encode(), &mut payload);
        shared.transmit(self.context.path, payload);
    }

    /// Sends the flight again for a repeated ClientHello, unless it was sent less than a
    /// retransmission time-out ago: anybody who saw a hello can repeat it.
    pub(crate) fn repeat_flight(&mut self, now: Instant, shared: &mut Shared) {
        let pause = shared.config.retransmission_timeout;
        let is_due = self
            .flight_sent
            .is_none_or(|sent| now.saturating_duration_since(sent) >= pause);
        if is_due {
            self.flight_sent = Some(now);
            self.send_flight_again(shared);
        }
    }

    fn send_flight_again(&mut self, shared: &mut Shared) {
        if self.context.outgoing.is_some() {
            count(&mut shared.statistics.retransmissions);
            let protection = match &mut self.state {
                State::AwaitChangeCipherSpec(state) => Some(&mut state.protection),
                State::AwaitFinished(state) => Some(&mut state.protection),
                State::AwaitResumption(_)
                | State::AwaitClientKeyExchange(_)
                | State::AwaitPsk(_)
                | State::AwaitCertificate(_)
                | State::AwaitCertifiedKeyExchange(_)
                | State::AwaitCertificateVerify(_)
                | State::AwaitVerdict(_)
                | State::Silent => None,
            };
            self.context.send_flight(protection, shared);
        }
    }

    /// Nobody answered in time: sends the flight again and waits longer.
    pub(crate) fn retransmit(&mut self, now: Instant, shared: &mut Shared) {
        if let Some(outgoing) = &mut self.context.outgoing {
            outgoing.attempt = outgoing.attempt.saturating_add(1);
            self.send_flight_again(shared);
            self.arm_retransmission(now, shared);
        }
    }

    /// Lets each state take what it waits for, until one has to wait. The one place where a handshake changes its state for what
    /// the client sent.
    fn advance(&mut self, now: Instant, shared: &mut Shared) -> Progress {
        loop {
            let context = &mut self.context;
            let step = match std::mem::replace(&mut self.state, State::Silent) {
                State::AwaitResumption(state) => Step::Wait(State::AwaitResumption(state)),
                State::AwaitClientKeyExchange(state) => state.step(now, context, shared),
                State::AwaitPsk(state) => Step::Wait(State::AwaitPsk(state)),
                State::AwaitCertificate(state) => state.step(now, context, shared),
                State::AwaitCertifiedKeyExchange(state) => state.step(context, shared),
                State::AwaitCertificateVerify(state) => state.step(now, context, shared),
                State::AwaitVerdict(state) => Step::Wait(State::AwaitVerdict(state)),
                State::AwaitChangeCipherSpec(state) => state.step(context, shared),
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
        let Some(Outgoing { attempt, .. }) = self.context.outgoing else {
            return;
        };
        self.flight_sent = Some(now);
        let backoff = shared.config.backoff();
        let timer = if attempt < backoff.retransmissions {
            Timer::Retransmit
        } else {
            Timer::Forget
        };
        let wait = backoff.wait(attempt).unwrap_or(backoff.maximum);
        shared
            .timers
            .set(self.context.association, timer, now, wait);
    }
}

/// The ClientHello that begins a handshake, with what surrounds it.
pub(crate) struct Offer<'a> {
    /// The session the client wants back, if it may have it.
    pub(crate) resumable: Option<Resumable>,
    pub(crate) hello: ClientHello<'a>,
    pub(crate) fingerprint: HelloFingerprint,
    pub(crate) place: Place,
    pub(crate) fragment: Fragment<'a>,
    /// Our first record has the same number as the client's (RFC 6347 §4.2.1).
    pub(crate) record_sequence: u64,
}

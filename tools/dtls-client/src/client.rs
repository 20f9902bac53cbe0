//! One association with one server: what comes in, what goes out, when to send again.

use std::collections::VecDeque;
use std::time::Instant;

use dtls_proto::codec::alert::{Alert, AlertLevel};
use dtls_proto::codec::handshake::read_fragments;
use dtls_proto::codec::path::{PathMessage, PathMessageType};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record, split_first};
use dtls_proto::crypto::random;
use dtls_proto::flight::{Backoff, CHANGE_CIPHER_SPEC, Packer, Part};
use dtls_proto::protection::{Protection, SealError};
use dtls_proto::{AlertDescription, CipherSuite};
use thiserror::Error;

use crate::config::{Config, PathChallenges};
use crate::handshake::{Established, Handshake, Progress, Sent, Stage};
use crate::resumption::Resumption;

/// A DTLS client; it speaks as soon as it is made.
#[derive(Debug)]
pub struct Client {
    backoff: Backoff,
    state: State,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    dropped: u64,
    /// Flights that were sent again.
    repeated: u32,
    /// How far the handshake came.
    stage: Stage,
    /// What the server has proved itself with.
    server_chain: Vec<Vec<u8>>,
    /// How long the connection id in the server's records is.
    id_length: usize,
    path_challenges: PathChallenges,
}

/// Something the caller must know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server has proved that it has the key; data may flow.
    Established {
        /// What protects the records.
        suite: CipherSuite,
    },
    /// The content of one record.
    ApplicationData(Vec<u8>),
    /// The association is over; nothing follows.
    Closed(CloseReason),
}

/// Why the association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server sent `close_notify`.
    PeerClosed,
    /// The server sent a fatal alert.
    PeerAlert(AlertDescription),
    /// [`Client::close`] was called.
    Local,
    /// The server did not answer, however often the flight was sent again.
    HandshakeTimeout,
    /// The server violated the protocol; the client sent an alert.
    HandshakeFailed(AlertDescription),
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handshake is not done, or the association is over.
    #[error("not established")]
    NotEstablished,
    /// More than one record may carry.
    #[error("more than the {limit} bytes a record may carry")]
    TooLarge {
        /// The most that can be sent at once.
        limit: usize,
    },
    /// All sequence numbers were used.
    #[error("no sequence numbers left")]
    SequenceExhausted,
}

/// The system has no random bytes to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no randomness available")]
pub struct RandomnessUnavailable;

#[derive(Debug)]
enum State {
    Handshaking {
        handshake: Box<Handshake>,
        /// How often the current flight was sent again.
        attempt: u32,
        /// When to send it again, or to give up.
        deadline: Option<Instant>,
    },
    Established {
        protection: Box<Protection>,
        max_plaintext: usize,
        connection_ids: bool,
        return_routability: bool,
        resumption: Box<Resumption>,
        /// What the server may still wait for.
        last_flight: Option<LastFlight>,
    },
    Closed,
}

/// Our ChangeCipherSpec and Finished in a resumption, where we have the last word.
#[derive(Debug)]
struct LastFlight {
    finished: Vec<u8>,
    /// Our next record sequence number in epoch 0.
    sequence: u64,
}

impl Client {
    /// A client that has its ClientHello ready to send.
    ///
    /// # Errors
    /// [`RandomnessUnavailable`] if the system has no random bytes.
    pub fn new(now: Instant, config: Config) -> Result<Self, RandomnessUnavailable> {
        let random = random().ok_or(RandomnessUnavailable)?;
        let mut client = Self {
            id_length: config.connection_id.as_ref().map_or(0, Vec::len),
            path_challenges: config.path_challenges,
            backoff: config.backoff,
            state: State::Handshaking {
                handshake: Box::new(Handshake::start(config, random)),
                attempt: 0,
                deadline: None,
            },
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: 0,
            repeated: 0,
            stage: Stage::Begun,
            server_chain: Vec::new(),
        };
        client.transmit_flight(now, 0);
        Ok(client)
    }

    /// Takes a datagram from the server; it is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        let mut rest = datagram;
        while !rest.is_empty() {
            let Ok(split) = split_first(rest, self.id_length) else {
                self.drop_one();
                return;
            };
            match split.header.epoch {
                0 => self.handle_plain(now, split.header, split.fragment),
                1 => self.handle_sealed(now, split.header, split.fragment),
                _ => self.drop_one(),
            }
            rest = split.rest;
        }
    }

    /// Does what has fallen due; to be called when [`Client::poll_timeout`] has come, earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let State::Handshaking {
            attempt, deadline, ..
        } = &self.state
        else {
            return;
        };
        if deadline.is_some_and(|deadline| deadline <= now) {
            let next = attempt.saturating_add(1);
            self.repeated = self.repeated.saturating_add(1);
            self.transmit_flight(now, next);
        }
    }

    /// Sends `data` as one record.
    ///
    /// # Errors
    /// [`SendError`] if the association can't carry this.
    pub fn send(&mut self, _now: Instant, data: &[u8]) -> Result<(), SendError> {
        self.send_record(ContentType::APPLICATION_DATA, data)
    }

    /// Sends a protected record of any content, for tests that want to be hostile.
    ///
    /// # Errors
    /// [`SendError`] if the association can't carry this.
    pub fn send_record(
        &mut self,
        content_type: ContentType,
        content: &[u8],
    ) -> Result<(), SendError> {
        let State::Established {
            protection,
            max_plaintext,
            ..
        } = &mut self.state
        else {
            return Err(SendError::NotEstablished);
        };
        let limit = *max_plaintext;
        if content.len() > limit {
            return Err(SendError::TooLarge { limit });
        }
        let mut payload = Vec::new();
        protection
            .seal(content_type, content, &mut payload)
            .map_err(|error| match error {
                SealError::Exhausted => SendError::SequenceExhausted,
                SealError::TooLong => SendError::TooLarge { limit },
            })?;
        self.transmits.push_back(payload);
        Ok(())
    }

    /// Ends the association, with `close_notify` if it was established.
    pub fn close(&mut self, _now: Instant) {
        if matches!(self.state, State::Closed) {
            return;
        }
        // Before it is established there is nobody to take leave of.
        self.send_record(ContentType::ALERT, &Alert::CLOSE_NOTIFY.encode())
            .unwrap_or(());
        self.end(CloseReason::Local);
    }

    /// The next datagram to send to the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The next thing the caller must know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] must be called; `None` when nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking { deadline, .. } => *deadline,
            State::Established { .. } | State::Closed => None,
        }
    }

    /// Whether data may be sent.
    #[must_use]
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established { .. })
    }

    /// What this session can be resumed from, once it is established; of use only if the server gave an id or a ticket.
    #[must_use]
    pub fn resumption(&self) -> Option<Resumption> {
        match &self.state {
            State::Established { resumption, .. } => Some((**resumption).clone()),
            State::Handshaking { .. } | State::Closed => None,
        }
    }

    /// Whether client and server agreed on connection ids (RFC 9146).
    #[must_use]
    pub fn uses_connection_ids(&self) -> bool {
        matches!(
            self.state,
            State::Established {
                connection_ids: true,
                ..
            }
        )
    }

    /// Whether client and server agreed to prove addresses (RFC 9853).
    #[must_use]
    pub fn proves_paths(&self) -> bool {
        matches!(
            self.state,
            State::Established {
                return_routability: true,
                ..
            }
        )
    }

    /// How far the handshake came, whether or not it goes on.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The certificates (DER) that the server has proved itself with, its own first; empty before the handshake is done, and with a
    /// pre-shared key. Nobody has judged them.
    #[must_use]
    pub fn server_chain(&self) -> &[Vec<u8>] {
        &self.server_chain
    }

    /// Whether the association is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// How often a flight of the handshake went unanswered so long that it was sent again, or given up.
    #[must_use]
    pub fn timeouts(&self) -> u32 {
        self.repeated
    }

    /// How many records were dropped: cut off, not authentic, seen before, or out of place.
    #[must_use]
    pub fn dropped_records(&self) -> u64 {
        self.dropped
    }

    fn handle_plain(&mut self, now: Instant, header: RecordHeader, fragment: &[u8]) {
        match header.content_type {
            ContentType::HANDSHAKE => {
                for fragment in read_fragments(fragment).filter_map(Result::ok) {
                    self.with_handshake(now, |handshake| handshake.handle_fragment(&fragment));
                }
            }
            ContentType::CHANGE_CIPHER_SPEC if fragment == CHANGE_CIPHER_SPEC => {
                self.with_handshake(now, Handshake::handle_change_cipher_spec);
            }
            ContentType::ALERT => self.handle_plain_alert(fragment),
            _ => self.drop_one(),
        }
    }

    fn handle_plain_alert(&mut self, fragment: &[u8]) {
        let heeds = match &self.state {
            State::Handshaking { handshake, .. } => handshake.heeds_plain_alerts(),
            State::Established { .. } | State::Closed => false,
        };
        match Alert::decode(fragment) {
            Ok(alert) if heeds => self.handle_alert(alert),
            _ => self.drop_one(),
        }
    }

    fn handle_sealed(&mut self, now: Instant, header: RecordHeader, fragment: &mut [u8]) {
        match &mut self.state {
            State::Handshaking { .. } => {
                self.with_handshake(now, |handshake| handshake.handle_sealed(header, fragment));
            }
            State::Established {
                protection,
                return_routability,
                ..
            } => {
                let proves_paths = *return_routability;
                let Ok(opened) = protection.open(header, fragment) else {
                    return self.drop_one();
                };
                match (opened.content_type, Alert::decode(opened.plaintext)) {
                    (ContentType::APPLICATION_DATA, _) => {
                        self.events
                            .push_back(Event::ApplicationData(opened.plaintext.to_vec()));
                    }
                    (ContentType::ALERT, Ok(alert)) => self.handle_alert(alert),
                    (ContentType::RETURN_ROUTABILITY_CHECK, _) if proves_paths => {
                        let message = PathMessage::decode(opened.plaintext);
                        self.answer_path_message(message.ok());
                    }
                    // The server's Finished again.
                    (ContentType::HANDSHAKE, _) => self.send_last_flight(),
                    _ => self.drop_one(),
                }
            }
            State::Closed => self.drop_one(),
        }
    }

    /// One answer to each challenge, over the path it came by (RFC 9853).
    fn answer_path_message(&mut self, message: Option<PathMessage>) {
        let challenge = message.filter(|message| message.kind == PathMessageType::Challenge);
        let Some(PathMessage { mut cookie, .. }) = challenge else {
            return self.drop_one();
        };
        match self.path_challenges {
            PathChallenges::Answered => {}
            PathChallenges::AnsweredWrong => cookie = cookie.map(|byte| !byte),
            PathChallenges::Ignored | PathChallenges::NotOffered => return,
        }
        let kind = PathMessageType::Response;
        let response = PathMessage { kind, cookie }.encode();
        // Without a number left it can't be answered.
        self.send_record(ContentType::RETURN_ROUTABILITY_CHECK, &response)
            .unwrap_or(());
    }

    fn handle_alert(&mut self, alert: Alert) {
        if !alert.ends_association() {
            return;
        }
        if alert.level == AlertLevel::FATAL {
            return self.end(CloseReason::PeerAlert(alert.description));
        }
        self.send_record(ContentType::ALERT, &Alert::CLOSE_NOTIFY.encode())
            .unwrap_or(());
        self.end(CloseReason::PeerClosed);
    }

    fn with_handshake(&mut self, now: Instant, take: impl FnOnce(&mut Handshake) -> Progress) {
        let State::Handshaking { handshake, .. } = &mut self.state else {
            return self.drop_one();
        };
        let progress = take(handshake);
        self.stage = self.stage.max(handshake.stage());
        match progress {
            Progress::Ongoing(Sent::Nothing) => {}
            Progress::Ongoing(Sent::Flight) => self.transmit_flight(now, 0),
            Progress::Established(established) => self.establish(now, *established),
            Progress::Failed(alert) => {
                let mut payload = Vec::new();
                let header = RecordHeader::new(ContentType::ALERT, 0, u64::from(u32::MAX));
                put_plain_record(header, &Alert::fatal(alert).encode(), &mut payload);
                self.transmits.push_back(payload);
                self.end(CloseReason::HandshakeFailed(alert));
            }
        }
    }

    fn establish(&mut self, now: Instant, established: Established) {
        self.state = State::Established {
            protection: Box::new(established.protection),
            max_plaintext: established.max_plaintext,
            connection_ids: established.connection_ids,
            return_routability: established.return_routability,
            resumption: Box::new(established.resumption),
            last_flight: established.finished.map(|finished| LastFlight {
                finished,
                sequence: established.sequence,
            }),
        };
        self.stage = Stage::Established;
        self.server_chain = established.server_chain;
        self.send_last_flight();
        self.events.push_back(Event::Established {
            suite: established.suite,
        });
        for mut record in established.early {
            self.handle_sealed(now, record.header, &mut record.fragment);
        }
    }

    /// Sends the flight with which a resumption ends, for the first time or because the server has not got it.
    fn send_last_flight(&mut self) {
        let State::Established {
            protection,
            last_flight: Some(flight),
            max_plaintext,
            ..
        } = &mut self.state
        else {
            return;
        };
        let mut packer = Packer::new(usize::MAX, *max_plaintext, &mut flight.sequence);
        for part in [
            Part::ChangeCipherSpec,
            Part::Protected(flight.finished.clone()),
        ] {
            if packer.pack(&part, Some(&mut **protection)).is_err() {
                return;
            }
        }
        self.transmits.extend(packer.datagrams());
    }

    /// Sends the current flight for the `next`th time again, or gives up.
    fn transmit_flight(&mut self, now: Instant, next: u32) {
        let State::Handshaking {
            handshake,
            attempt,
            deadline,
        } = &mut self.state
        else {
            return;
        };
        let Some(wait) = self.backoff.wait(next) else {
            return self.end(CloseReason::HandshakeTimeout);
        };
        *attempt = next;
        *deadline = now.checked_add(wait);
        self.transmits.extend(handshake.datagrams());
    }

    fn end(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.events.push_back(Event::Closed(reason));
    }

    fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }
}

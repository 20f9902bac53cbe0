//! The endpoint of a client: one connection with one session (AMQP 1.0 part 2 §2.4, §2.5).
//!
//! ```text
//! us ── SASL header, init ──> peer       (sasl.rs; left out if there is nobody to introduce to)
//! us ── AMQP header, open ──> peer
//! us <────── header, open ─── peer
//! us ────────── begin ──────> peer, and back
//! us ── attach, transfer, disposition, flow, detach ──> peer, and back    (links.rs, outgoing.rs, incoming.rs)
//! us ────────── close ──────> peer, and back
//! ```

mod sasl;

mod links;

mod deliveries;

mod outgoing;

mod incoming;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use fe2o3_amqp_types::{
    definitions::{self, Handle},
    performatives::{Begin, Close, End, Flow, Open, Performative},
};
use zeroize::{Zeroize, Zeroizing};

use self::{deliveries::Deliveries, links::Links, outgoing::Pending};
use crate::{
    CloseReason, Config, DecodeError, Event, PeerError,
    frame::{self, AMQP_HEADER, Frame, SASL_HEADER},
    outcome::parts,
};

/// A client's end of one connection.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    state: State,
    /// The start of a frame, of which the rest has still to come.
    inbox: Zeroizing<Vec<u8>>,
    /// What is to be written.
    outbox: Vec<u8>,
    /// How often the outbox was taken, to tell of which outbox a link's bytes are.
    outboxes: u64,
    events: VecDeque<Event>,
    heard: Instant,
    written: Instant,
    /// After how much silence of ours the peer gets an empty frame (§2.4.5).
    heartbeat: Option<Duration>,
    /// The largest frame that the peer takes.
    remote_max_frame_size: usize,
    session: Session,
    links: Links,
    /// Bytes of all messages that have arrived in part.
    partial_bytes: usize,
    deliveries: Deliveries,
    pending: Pending,
    /// Whether the lack of room was reported.
    full: bool,
}

/// In the order of their coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitSaslHeader,
    AwaitMechanisms,
    AwaitSaslOutcome,
    AwaitHeader,
    AwaitOpen,
    AwaitBegin,
    Open,
    /// We said close, the peer has not yet.
    AwaitClose,
    Closed,
}

/// The numbers of the session's flow control (§2.5.6).
#[derive(Debug, Default)]
struct Session {
    /// The channel that the peer speaks on.
    remote_channel: u16,
    /// The number of the next transfer frame.
    next_outgoing_id: u32,
    /// The number of the next message (§2.8.6).
    next_delivery: u32,
    remote_incoming_window: u32,
    next_incoming_id: u32,
    incoming_window: u32,
    /// Whether the peer has asked for the session's state, and not got it yet.
    flow_owed: bool,
}

impl Connection {
    /// Starts to speak. `now` is the caller's clock.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut connection = Self {
            state: State::AwaitHeader,
            inbox: Zeroizing::default(),
            outbox: Vec::new(),
            outboxes: 0,
            events: VecDeque::new(),
            heard: now,
            written: now,
            heartbeat: None,
            remote_max_frame_size: MIN_MAX_FRAME_SIZE,
            session: Session::default(),
            links: Links::default(),
            partial_bytes: 0,
            deliveries: Deliveries::default(),
            pending: Pending::default(),
            full: false,
            config,
        };
        if matches!(connection.config.sasl, crate::Sasl::None) {
            connection.say_hello();
        } else {
            connection.outbox.extend_from_slice(&SASL_HEADER);
            connection.state = State::AwaitSaslHeader;
        }
        connection
    }

    /// Takes bytes from the stream, in whatever pieces they come.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.heard = now;
        if self.inbox.is_empty() {
            let used = self.take_frames(bytes);
            append(&mut self.inbox, bytes.get(used..).unwrap_or_default());
        } else {
            append(&mut self.inbox, bytes);
            let inbox = std::mem::take(&mut self.inbox);
            let used = self.take_frames(&inbox);
            self.inbox = inbox;
            self.consume(used);
        }
    }

    /// Removes the first bytes of the inbox.
    fn consume(&mut self, used: usize) {
        let rest = self.inbox.len().saturating_sub(used);
        if used > 0 && rest > 0 {
            self.inbox.copy_within(used.., 0);
        }
        if self.config.sensitive
            && let Some(left) = self.inbox.get_mut(rest..)
        {
            left.zeroize();
        }
        self.inbox.truncate(rest);
    }

    /// Whether more bytes should be read from the stream: not while a peer that does not read lets the answers to it pile up.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.outbox.len() < self.config.max_outgoing
    }

    /// The stream ended.
    pub fn handle_end_of_stream(&mut self) {
        let reason = match self.state {
            State::AwaitClose => CloseReason::Local,
            _ => CloseReason::Lost,
        };
        self.end(reason);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if self.idle_deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(
                "amqp:resource-limit-exceeded",
                "nothing was heard for too long",
                CloseReason::Idle,
            );
            return;
        }
        self.settle_overdue(now);
        if self.outbox.is_empty() && self.heartbeat_due().is_some_and(|due| due <= now) {
            frame::write_heartbeat(&mut self.outbox);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        [
            self.idle_deadline(),
            self.heartbeat_due(),
            self.deliveries.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What to write next, appended to `into`: all there is. False if there is nothing.
    pub fn poll_transmit(&mut self, now: Instant, into: &mut Vec<u8>) -> bool {
        self.write_flows();
        if self.outbox.is_empty() {
            return false;
        }
        self.written = now;
        self.outboxes = self.outboxes.wrapping_add(1);
        if into.is_empty() {
            std::mem::swap(into, &mut self.outbox);
        } else {
            into.append(&mut self.outbox);
        }
        self.tell_room();
        true
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to write.
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        !self.outbox.is_empty() || !self.links.owing.is_empty() || self.session.flow_owed
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether links can be attached.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// How many deliveries of ours have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.deliveries.len()
    }

    /// How many links there are, those included that are being detached.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Says goodbye; [`Event::Closed`] comes when the peer has answered.
    pub fn close(&mut self) {
        match self.state {
            State::AwaitClose | State::Closed => {}
            State::AwaitOpen | State::AwaitBegin | State::Open => {
                self.write(&Close { error: None });
                self.state = State::AwaitClose;
            }
            State::AwaitSaslHeader
            | State::AwaitMechanisms
            | State::AwaitSaslOutcome
            | State::AwaitHeader => self.end(CloseReason::Local),
        }
    }

    /// Takes what is whole of these bytes; tells how many that were.
    fn take_frames(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.state != State::Closed {
            match self.take_one(rest) {
                Ok(Some(left)) => rest = left,
                Ok(None) => return bytes.len().saturating_sub(rest.len()),
                Err(error) => self.break_off(&error),
            }
        }
        bytes.len()
    }

    fn take_one<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
        if matches!(self.state, State::AwaitSaslHeader | State::AwaitHeader) {
            let Some((header, rest)) = bytes.split_first_chunk() else {
                return Ok(None);
            };
            self.on_header(*header)?;
            return Ok(Some(rest));
        }
        let Some(start) = bytes.first_chunk() else {
            return Ok(None);
        };
        let Some((whole, rest)) =
            bytes.split_at_checked(frame::size(*start, self.config.max_frame_size.max(512))?)
        else {
            return Ok(None);
        };
        match self.state {
            State::AwaitMechanisms => self.on_mechanisms(frame::sasl_body(whole)?)?,
            State::AwaitSaslOutcome => self.on_sasl_outcome(frame::sasl_body(whole)?)?,
            _ => self.on_frame(Frame::decode(whole)?),
        }
        Ok(Some(rest))
    }

    fn on_header(&mut self, header: [u8; 8]) -> Result<(), DecodeError> {
        match (self.state, header) {
            (State::AwaitSaslHeader, SASL_HEADER) => self.state = State::AwaitMechanisms,
            (State::AwaitSaslHeader, AMQP_HEADER) => self.end(CloseReason::NoSasl),
            (State::AwaitHeader, AMQP_HEADER) => self.state = State::AwaitOpen,
            _ => return Err(DecodeError::Protocol),
        }
        Ok(())
    }

    /// The header of AMQP itself and the open at once; the peer's answers to both follow (§2.4.1).
    fn say_hello(&mut self) {
        let open = Open {
            container_id: self.config.container_id.clone(),
            hostname: self.config.hostname.clone(),
            max_frame_size: self.config.max_frame_size.max(512).into(),
            channel_max: 0.into(),
            idle_time_out: self.config.idle_timeout.map(|idle| {
                u32::try_from(idle.as_millis() / 2)
                    .unwrap_or(u32::MAX)
                    .max(1)
            }),
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.outbox.extend_from_slice(&AMQP_HEADER);
        self.write(&open);
        self.state = State::AwaitHeader;
    }

    fn on_frame(&mut self, frame: Frame) {
        let Some(performative) = frame.performative else {
            return;
        };
        if let Performative::Close(close) = performative {
            self.on_close(close.error.as_ref());
            return;
        }
        match (self.state, performative) {
            (State::AwaitOpen, Performative::Open(open)) => self.on_open(&open),
            (State::AwaitBegin, Performative::Begin(begin)) => self.on_begin(frame.channel, &begin),
            (State::Open, performative) if frame.channel == self.session.remote_channel => {
                self.on_performative(performative, frame.payload);
            }
            // What was under way when we said close.
            (State::AwaitClose, _) => {}
            _ => self.break_protocol("a performative that has no place here"),
        }
    }

    fn on_open(&mut self, open: &Open) {
        self.remote_max_frame_size =
            usize::from(open.max_frame_size.clone()).max(MIN_MAX_FRAME_SIZE);
        self.heartbeat = open
            .idle_time_out
            .filter(|idle| *idle > 0)
            .map(|idle| Duration::from_millis(u64::from(idle) / 2).max(MIN_HEARTBEAT));
        self.session.incoming_window = self.config.incoming_window;
        self.write(&Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: self.config.incoming_window,
            outgoing_window: OUTGOING_WINDOW,
            handle_max: Handle::default(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        });
        self.state = State::AwaitBegin;
    }

    fn on_begin(&mut self, channel: u16, begin: &Begin) {
        self.session.remote_channel = channel;
        self.session.next_incoming_id = begin.next_outgoing_id;
        self.session.remote_incoming_window = begin.incoming_window;
        self.links.limit(self.config.max_links, begin.handle_max.0);
        self.state = State::Open;
        self.events.push_back(Event::Opened);
    }

    fn on_performative(&mut self, performative: Performative, payload: Vec<u8>) {
        match performative {
            Performative::Attach(attach) => self.on_attach(attach),
            Performative::Flow(flow) => self.on_flow(&flow),
            Performative::Transfer(transfer) => {
                self.on_transfer(&transfer, Zeroizing::new(payload));
            }
            Performative::Disposition(disposition) => self.on_disposition(disposition),
            Performative::Detach(detach) => self.on_detach(&detach),
            Performative::End(end) => self.on_end(end.error.as_ref()),
            Performative::Open(_) | Performative::Begin(_) | Performative::Close(_) => {
                self.break_protocol("a performative that has no place here");
            }
        }
    }

    fn on_close(&mut self, error: Option<&definitions::Error>) {
        let reason = if self.state == State::AwaitClose {
            CloseReason::Local
        } else {
            self.write(&Close { error: None });
            CloseReason::Remote(error.map(PeerError::from))
        };
        self.end(reason);
    }

    /// A client without session is of no use: the connection goes with it.
    fn on_end(&mut self, error: Option<&definitions::Error>) {
        self.write(&End { error: None });
        self.write(&Close { error: None });
        self.end(CloseReason::Remote(error.map(PeerError::from)));
    }

    /// Ends the connection because of bytes that are not AMQP.
    fn break_off(&mut self, error: &DecodeError) {
        let text = error.to_string();
        self.fail(
            "amqp:decode-error",
            &text,
            CloseReason::Protocol(text.clone()),
        );
    }

    /// Ends the connection because of a frame that does not fit.
    fn break_protocol(&mut self, text: &'static str) {
        self.fail(
            "amqp:not-allowed",
            text,
            CloseReason::Protocol(text.to_owned()),
        );
    }

    fn fail(&mut self, condition: &str, text: &str, reason: CloseReason) {
        if matches!(
            self.state,
            State::AwaitOpen | State::AwaitBegin | State::Open
        ) {
            let error = Some(links::error(condition, text));
            self.write(&Close { error });
        }
        self.end(reason);
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.pending = Pending::default();
            self.events.push_back(Event::Closed { reason });
        }
    }

    fn write(&mut self, performative: &impl serde::Serialize) {
        frame::write(&mut self.outbox, CHANNEL, performative);
    }

    /// The session's part of a flow. Each flow opens our window to its full width again.
    fn flow(&mut self) -> Flow {
        self.session.incoming_window = self.config.incoming_window;
        Flow {
            next_incoming_id: Some(self.session.next_incoming_id),
            incoming_window: self.session.incoming_window,
            next_outgoing_id: self.session.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.heard.checked_add(self.config.idle_timeout?)
    }

    fn heartbeat_due(&self) -> Option<Instant> {
        self.written.checked_add(self.heartbeat?)
    }
}

impl From<&definitions::Error> for PeerError {
    fn from(error: &definitions::Error) -> Self {
        let (condition, description) = parts(error);
        Self {
            condition,
            description,
        }
    }
}

/// Appends bytes, and leaves no copy of the others behind where the buffer has to grow.
fn append(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = buffer.len().saturating_add(bytes.len());
    if needed > buffer.capacity() {
        let mut larger = Vec::with_capacity(needed.max(buffer.capacity().saturating_mul(2)));
        larger.extend_from_slice(buffer);
        *buffer = Zeroizing::new(larger);
    }
    buffer.extend_from_slice(bytes);
}

/// The channel of our only session.
const CHANNEL: u16 = 0;
/// What every peer takes (§2.4.1).
const MIN_MAX_FRAME_SIZE: usize = 512;
/// What we say we may send; the peer has its own window to limit it.
const OUTGOING_WINDOW: u32 = i32::MAX as u32;
/// No peer needs to hear from us more often.
const MIN_HEARTBEAT: Duration = Duration::from_millis(50);

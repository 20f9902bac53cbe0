//! One device, without socket and clock: a DTLS session, and one request after the other (RFC 7252 §4.7, NSTART = 1).
//!
//! After each verb that takes something in, [`Device::poll_transmit`] and [`Device::poll_event`] are drained.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use dtls_client::Client;

use crate::{
    coap::{self, CONTENT_FORMAT, Kind, LOCATION_PATH, Message, URI_PATH, URI_QUERY},
    credentials::Credentials,
    random::Random,
    scenario::{Operation, Scenario},
    world,
};

/// Something that a device is to do, and when it was meant to: a latency is counted from then, however long the device was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) sequence: u32,
    pub(crate) intended: Instant,
}

/// What became of a job, or of the device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// There is a session that no job had asked for.
    Ready,
    /// The new session that a job had asked for is there.
    Established(Job),
    /// A response, or a Reset, which counts as code 0.
    Answered(Job, u8),
    /// The event that asks for a command was answered 2.04; the job goes on.
    Uploaded(Job),
    /// A command was executed: the one that belongs to this message of this device, if it says so.
    Executed(Option<Origin>),
    /// The event was answered 2.04, without the command that it asked for.
    NoCommand(Job),
    /// Nothing came in time.
    GaveUp(Job, Why),
}

/// Why a device gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// As many datagrams were lost on the way as were tried: nobody could have answered.
    AllLost,
    /// The server had what it needs.
    Silence,
}

pub(crate) struct Device {
    number: u32,
    scenario: Arc<Scenario>,
    credentials: Arc<Credentials>,
    random: Random,
    /// None on the port without security.
    dtls: Option<Box<Client>>,
    /// The job that the handshake is for.
    handshake: Option<Job>,
    exchange: Option<Exchange>,
    waiting: VecDeque<Job>,
    next_id: u16,
    next_token: u32,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    repeated: u64,
    /// Its datagrams that were lost, either way, since the request or the handshake under way began.
    lost: u32,
}

/// The request under way.
struct Exchange {
    job: Job,
    step: Step,
    bytes: Vec<u8>,
    id: u16,
    token: u32,
    /// When to send it again, and how long to wait after that.
    again: Option<(Instant, Duration)>,
    repeats: u32,
    acknowledged: bool,
    deadline: Instant,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Upload,
    /// The response to the command that came.
    Response,
}

impl Device {
    pub(crate) fn new(
        number: u32,
        scenario: Arc<Scenario>,
        credentials: Arc<Credentials>,
        mut random: Random,
    ) -> Self {
        let [high, low, ..] = random.next().to_be_bytes();
        Self {
            number,
            scenario,
            credentials,
            random,
            dtls: None,
            handshake: None,
            exchange: None,
            waiting: VecDeque::new(),
            next_id: u16::from_be_bytes([high, low]),
            next_token: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            repeated: 0,
            lost: 0,
        }
    }

    /// Starts a handshake; a session that was there is forgotten.
    pub(crate) fn connect(&mut self, now: Instant) {
        let mut config = self.credentials.config(self.number);
        if Scenario::is_among(self.scenario.connection_ids, self.number) {
            // Nothing is asked for in what comes; what goes out carries the server's id.
            config.connection_id = Some(Vec::new());
        }
        // Without randomness there is no session, which the run will tell.
        self.dtls = Client::new(now, config).ok().map(Box::new);
        self.drive(now);
    }

    /// Does something new, or as soon as what goes before it is done.
    pub(crate) fn take(&mut self, now: Instant, job: Job) {
        self.waiting.push_back(job);
        self.go_on(now);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8]) {
        match &mut self.dtls {
            Some(client) => {
                client.handle_datagram(now, datagram);
                self.drive(now);
            }
            None => self.handle_message(now, datagram),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(client) = &mut self.dtls {
            client.handle_timeout(now);
            self.drive(now);
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if exchange.deadline <= now {
            let tries = if exchange.acknowledged {
                // Those of the server, which has a separate response to bring.
                MAX_RETRANSMIT + 1
            } else {
                exchange.repeats + 1
            };
            let event = Event::GaveUp(exchange.job, Why::of(self.lost, tries));
            if self.scenario.secure {
                // The server may have forgotten the session.
                self.connect(now);
            }
            return self.finish(now, event);
        }
        if let Some((when, wait)) = exchange.again
            && when <= now
        {
            exchange.repeats += 1;
            exchange.again = (exchange.repeats < MAX_RETRANSMIT).then(|| (now + wait, wait * 2));
            let bytes = std::mem::take(&mut exchange.bytes);
            self.repeated += 1;
            self.send(now, &bytes);
            if let Some(exchange) = &mut self.exchange {
                exchange.bytes = bytes;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let exchange = self.exchange.as_ref().map(|exchange| {
            let again = exchange.again.map_or(exchange.deadline, |(when, _)| when);
            again.min(exchange.deadline)
        });
        let dtls = self.dtls.as_ref().and_then(|client| client.poll_timeout());
        exchange.into_iter().chain(dtls).min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether it may get another address without losing its session, nor what is on its way to it.
    pub(crate) fn may_move(&self) -> bool {
        let client = self.dtls.as_deref();
        self.exchange.is_none() && client.is_some_and(Client::uses_connection_ids)
    }

    /// Something that it sent, or that was sent to it, is lost.
    pub(crate) const fn lose(&mut self) {
        self.lost += 1;
    }

    /// How often a flight of the present session's handshake went unanswered.
    pub(crate) fn timeouts(&self) -> u32 {
        self.dtls.as_ref().map_or(0, |client| client.timeouts())
    }

    /// Requests sent again so far.
    pub(crate) const fn repeated(&self) -> u64 {
        self.repeated
    }

    fn go_on(&mut self, now: Instant) {
        if self.exchange.is_some() || self.handshake.is_some() {
            return;
        }
        let ready = match &self.dtls {
            Some(client) => client.is_established(),
            None => !self.scenario.secure,
        };
        match self.waiting.front() {
            Some(job) if job.operation == Operation::Handshake => {
                self.handshake = self.waiting.pop_front();
                self.lost = 0;
                self.connect(now);
            }
            Some(_) if ready => {
                if let Some(job) = self.waiting.pop_front() {
                    self.upload(now, job);
                }
            }
            Some(_) if self.scenario.secure && self.dtls.is_none() => self.connect(now),
            _ => {}
        }
    }

    fn upload(&mut self, now: Instant, job: Job) {
        let scenario = Arc::clone(&self.scenario);
        let device = world::device_id(self.number);
        let waits = matches!(job.operation, Operation::Wait | Operation::Command);
        let query = waits.then(|| format!("hono-ttd={}", scenario.ttd));
        let endpoint: &[u8] = match job.operation {
            Operation::Event | Operation::Wait | Operation::Command => b"e",
            Operation::Telemetry | Operation::Handshake => b"t",
        };
        let mut options: Vec<(u16, &[u8])> = vec![(URI_PATH, endpoint)];
        if !scenario.secure {
            options.push((URI_PATH, world::TENANT.as_bytes()));
            options.push((URI_PATH, device.as_bytes()));
        }
        options.push((CONTENT_FORMAT, &[OCTETS]));
        options.extend(query.as_ref().map(|query| (URI_QUERY, query.as_bytes())));
        let kind = if scenario.confirmable || waits {
            Kind::Confirmable
        } else {
            Kind::NonConfirmable
        };
        let origin = Origin {
            device: self.number,
            sequence: job.sequence,
            wants_command: job.operation == Operation::Command,
        };
        let payload = origin.payload(scenario.payload);
        let ttd = Duration::from_secs(if waits { scenario.ttd.into() } else { 0 });
        self.request(now, job, Step::Upload, kind, ttd, &options, &payload);
    }

    /// Answers the command whose response belongs to `location`.
    fn respond(&mut self, now: Instant, job: Job, location: &[Vec<u8>]) {
        let mut options: Vec<(u16, &[u8])> = location
            .iter()
            .map(|segment| (URI_PATH, segment.as_slice()))
            .collect();
        options.push((CONTENT_FORMAT, &[OCTETS]));
        options.push((URI_QUERY, b"hono-cmd-status=200"));
        let origin = Origin {
            device: self.number,
            sequence: job.sequence,
            wants_command: true,
        };
        let payload = origin.payload(self.scenario.payload);
        self.request(
            now,
            job,
            Step::Response,
            Kind::Confirmable,
            Duration::ZERO,
            &options,
            &payload,
        );
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all that a request differs by, in one place"
    )]
    fn request(
        &mut self,
        now: Instant,
        job: Job,
        step: Step,
        kind: Kind,
        ttd: Duration,
        options: &[(u16, &[u8])],
        payload: &[u8],
    ) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.next_token = self.next_token.wrapping_add(1);
        let token = self.next_token;
        let again = (kind == Kind::Confirmable).then(|| {
            let wait = ACK_TIMEOUT.mul_f64(1.0 + 0.5 * self.random.fraction());
            (now + wait, wait * 2)
        });
        let method = if self.scenario.secure {
            coap::POST
        } else {
            coap::PUT
        };
        let bytes = coap::request(kind, method, id, token, options, payload);
        self.lost = 0;
        self.send(now, &bytes);
        self.exchange = Some(Exchange {
            job,
            step,
            bytes,
            id,
            token,
            again,
            repeats: 0,
            acknowledged: false,
            deadline: now + ttd + self.scenario.patience,
        });
    }

    fn handle_message(&mut self, now: Instant, bytes: &[u8]) {
        let Some(message) = Message::decode(bytes) else {
            return;
        };
        if message.kind == Kind::Confirmable {
            // A repeated response is acknowledged again, too (§4.2).
            self.send(now, &coap::acknowledgement(message.id));
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let ours = message.id == exchange.id;
        match message.kind {
            _ if message.is_response() && message.token == Some(exchange.token) => {
                self.answered(now, &message);
            }
            Kind::Reset if ours => {
                let event = Event::Answered(exchange.job, 0);
                self.finish(now, event);
            }
            Kind::Acknowledgement if ours => {
                exchange.again = None;
                exchange.acknowledged = true;
            }
            _ => {}
        }
    }

    fn answered(&mut self, now: Instant, message: &Message<'_>) {
        let Some(Exchange { job, step, .. }) = self.exchange.take() else {
            return;
        };
        let wants_command = job.operation == Operation::Command && step == Step::Upload;
        if !wants_command || message.code != coap::CHANGED {
            return self.finish(now, Event::Answered(job, message.code));
        }
        self.events.push_back(Event::Uploaded(job));
        let location: Vec<Vec<u8>> = message.options(LOCATION_PATH).map(<[u8]>::to_vec).collect();
        if location.is_empty() {
            return self.finish(now, Event::NoCommand(job));
        }
        let command = Origin::of(message.payload());
        self.events.push_back(Event::Executed(command));
        self.respond(now, job, &location);
    }

    fn finish(&mut self, now: Instant, event: Event) {
        self.exchange = None;
        self.events.push_back(event);
        self.go_on(now);
    }

    /// What is sent without a session is lost, and sent again in time.
    fn send(&mut self, now: Instant, message: &[u8]) {
        match &mut self.dtls {
            None => self.transmits.push_back(message.to_vec()),
            Some(client) => {
                if client.send(now, message).is_ok() {
                    self.transmits.extend(client.poll_transmit());
                }
            }
        }
    }

    /// Takes what the session has to send and to tell.
    fn drive(&mut self, now: Instant) {
        let mut over = false;
        while let Some(client) = &mut self.dtls {
            while let Some(datagram) = client.poll_transmit() {
                self.transmits.push_back(datagram);
            }
            match client.poll_event() {
                None => break,
                Some(dtls_client::Event::ApplicationData(data)) => self.handle_message(now, &data),
                Some(dtls_client::Event::Established { .. }) => {
                    let ready = self
                        .handshake
                        .take()
                        .map_or(Event::Ready, Event::Established);
                    self.events.push_back(ready);
                    self.go_on(now);
                }
                Some(dtls_client::Event::Closed(_)) => over = true,
                Some(_) => {}
            }
        }
        if over {
            match self.handshake.take() {
                Some(job) => {
                    let why = Why::of(self.lost, self.timeouts());
                    self.dtls = None;
                    self.events.push_back(Event::GaveUp(job, why));
                    self.go_on(now);
                }
                None => self.connect(now),
            }
        }
    }
}

impl Why {
    const fn of(lost: u32, tries: u32) -> Self {
        if tries > 0 && lost >= tries {
            Self::AllLost
        } else {
            Self::Silence
        }
    }
}

/// What a payload tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) device: u32,
    /// Which of the device's messages it is.
    pub(crate) sequence: u32,
    pub(crate) wants_command: bool,
}

impl Origin {
    /// Filled up to `length` bytes.
    pub(crate) fn payload(self, length: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(length);
        payload.extend(self.device.to_be_bytes());
        payload.extend(self.sequence.to_be_bytes());
        payload.push(if self.wants_command { b'c' } else { b'.' });
        payload.resize(length.max(payload.len()), b'.');
        payload
    }

    /// None if it is no payload of a device here.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let (device, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        Some(Self {
            device: u32::from_be_bytes(*device),
            sequence: u32::from_be_bytes(*sequence),
            wants_command: rest.first() == Some(&b'c'),
        })
    }
}

/// application/octet-stream (RFC 7252 §12.3).
const OCTETS: u8 = 42;
/// RFC 7252 §4.8.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// RFC 7252 §4.8.
const MAX_RETRANSMIT: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Device {
        let scenario = Scenario {
            secure: false,
            ..Scenario::default()
        };
        Device::new(7, Arc::new(scenario), Arc::default(), Random::new(1, 1))
    }

    fn job(sequence: u32, intended: Instant) -> Job {
        Job {
            operation: Operation::Telemetry,
            sequence,
            intended,
        }
    }

    fn answer(request: &[u8], kind: u8) -> Vec<u8> {
        let mut answer = vec![0x44 | kind << 4, coap::CHANGED];
        answer.extend(&request[2..8]);
        answer
    }

    #[test]
    fn a_lost_request_is_sent_again_and_answered_once() {
        let (mut device, start) = (plain(), Instant::now());
        let job = job(0, start);
        device.take(start, job);
        let first = device.poll_transmit().unwrap();
        assert!(first.ends_with(b"\xFF\0\0\0\x07\0\0\0\0............"));
        let later = device.poll_timeout().unwrap();
        assert!(later - start >= ACK_TIMEOUT && later - start <= ACK_TIMEOUT * 3 / 2);
        device.handle_timeout(later);
        assert_eq!(device.poll_transmit().unwrap(), first);
        for _ in 0..2 {
            device.handle_datagram(later, &mut answer(&first, 2));
        }
        assert_eq!(
            device.poll_event(),
            Some(Event::Answered(job, coap::CHANGED))
        );
        assert_eq!(device.poll_event(), None);
        assert_eq!(device.poll_timeout(), None);
    }

    #[test]
    fn a_device_that_gives_up_tells_whether_anybody_could_have_answered() {
        let start = Instant::now();
        for (lost, acknowledged, why) in [
            (5, false, Why::AllLost),
            (4, false, Why::Silence),
            (5, true, Why::AllLost),
            (4, true, Why::Silence),
        ] {
            let (mut device, job) = (plain(), job(0, start));
            device.lose();
            device.take(start, job);
            let request = device.poll_transmit().unwrap();
            (0..lost).for_each(|_| device.lose());
            if acknowledged {
                device.handle_datagram(start, &mut [0x60, 0, request[2], request[3]]);
            }
            while let Some(when) = device.poll_timeout() {
                device.handle_timeout(when);
            }
            assert_eq!(device.poll_event(), Some(Event::GaveUp(job, why)));
        }
    }

    #[test]
    fn an_acknowledged_request_is_waited_for_and_its_answer_acknowledged_each_time() {
        let (mut device, start) = (plain(), Instant::now());
        let job = job(1, start);
        device.take(start, job);
        let request = device.poll_transmit().unwrap();
        device.handle_datagram(start, &mut [0x60, 0, request[2], request[3]]);
        assert!(device.poll_timeout().unwrap() >= start + device.scenario.patience);
        for _ in 0..2 {
            let mut separate = answer(&request, 0);
            separate[2..4].copy_from_slice(&[9, 9]);
            device.handle_datagram(start, &mut separate);
            assert_eq!(device.poll_transmit().unwrap(), [0x60, 0, 9, 9]);
        }
        assert_eq!(
            device.poll_event(),
            Some(Event::Answered(job, coap::CHANGED))
        );
        assert_eq!(device.poll_event(), None);
    }

    #[test]
    fn a_busy_device_does_the_next_thing_when_it_is_free() {
        let (mut device, start) = (plain(), Instant::now());
        for sequence in 0..2 {
            device.take(start, job(sequence, start));
        }
        let first = device.poll_transmit().unwrap();
        assert_eq!(device.poll_transmit(), None);
        device.handle_datagram(start, &mut answer(&first, 2));
        let second = device.poll_transmit().unwrap();
        assert_eq!(second[7], 2);
        assert!(second.ends_with(b"\0\0\0\x01............"));
    }

    #[test]
    fn a_command_is_answered_where_it_says_and_is_missed_if_it_does_not_come() {
        let (mut device, start) = (plain(), Instant::now());
        for sequence in 0..2 {
            let operation = Operation::Command;
            device.take(
                start,
                Job {
                    operation,
                    ..job(sequence, start)
                },
            );
        }
        let event = device.poll_transmit().unwrap();
        let mut command = answer(&event, 2);
        command.extend(b"\x82cr\x01x\xFF\0\0\0\x07\0\0\0\x05c");
        device.handle_datagram(start, &mut command);
        assert!(matches!(device.poll_event(), Some(Event::Uploaded(_))));
        let origin = Origin {
            device: 7,
            sequence: 5,
            wants_command: true,
        };
        assert_eq!(device.poll_event(), Some(Event::Executed(Some(origin))));
        let response = device.poll_transmit().unwrap();
        assert!(response[8..].starts_with(b"\xB2cr\x01x"), "{response:02x?}");
        device.handle_datagram(start, &mut answer(&response, 2));
        assert!(matches!(
            device.poll_event(),
            Some(Event::Answered(_, coap::CHANGED))
        ));
        let event = device.poll_transmit().unwrap();
        device.handle_datagram(start, &mut answer(&event, 2));
        assert!(matches!(device.poll_event(), Some(Event::Uploaded(_))));
        assert!(matches!(device.poll_event(), Some(Event::NoCommand(_))));
    }
}

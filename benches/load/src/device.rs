//! One device, without socket and clock: a DTLS session, and one request after the other (RFC 7252 §4.7, NSTART = 1).
//!
//! After each verb that takes something in, [`Device::poll_transmit`] and [`Device::poll_event`] are drained.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use dtls_client::{CipherSuite, Client, Config};

use crate::{
    coap::{self, CONTENT_FORMAT, Kind, Message, URI_PATH, URI_QUERY},
    random::Random,
    scenario::{Operation, Scenario},
    world,
};

/// Something that a device is to do, and when it was meant to: a latency is counted from then, however long the device was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
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
    /// Nothing came in time.
    GaveUp(Job),
}

pub(crate) struct Device {
    number: u32,
    scenario: Arc<Scenario>,
    random: Random,
    /// None on the port without security.
    dtls: Option<Box<Client>>,
    /// The job that the handshake is for.
    handshake: Option<Job>,
    exchange: Option<Exchange>,
    waiting: VecDeque<Job>,
    next_id: u16,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    repeated: u64,
}

/// The request under way.
struct Exchange {
    job: Job,
    bytes: Vec<u8>,
    id: u16,
    token: u32,
    /// When to send it again, and how long to wait after that.
    again: Option<(Instant, Duration)>,
    repeats: u32,
    deadline: Instant,
}

impl Device {
    pub(crate) fn new(number: u32, scenario: Arc<Scenario>, mut random: Random) -> Self {
        let [high, low, ..] = random.next().to_be_bytes();
        Self {
            number,
            scenario,
            random,
            dtls: None,
            handshake: None,
            exchange: None,
            waiting: VecDeque::new(),
            next_id: u16::from_be_bytes([high, low]),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            repeated: 0,
        }
    }

    /// Starts a handshake; a session that was there is forgotten.
    pub(crate) fn connect(&mut self, now: Instant) {
        let (identity, key) = (world::identity(self.number), world::key(self.number));
        let mut config = Config::new(identity, key.as_bytes());
        config.suites = vec![CipherSuite::PskAes128Ccm8];
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
            let event = Event::GaveUp(exchange.job);
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

    /// Requests sent again so far.
    pub(crate) const fn repeated(&self) -> u64 {
        self.repeated
    }

    fn go_on(&mut self, now: Instant) {
        if self.exchange.is_some() || self.handshake.is_some() {
            return;
        }
        if self.scenario.operation == Operation::Handshake {
            if let Some(job) = self.waiting.pop_front() {
                self.handshake = Some(job);
                self.connect(now);
            }
            return;
        }
        let ready = match &self.dtls {
            Some(client) => client.is_established(),
            None => !self.scenario.secure,
        };
        if ready && let Some(job) = self.waiting.pop_front() {
            self.request(now, job);
        }
    }

    fn request(&mut self, now: Instant, job: Job) {
        let scenario = Arc::clone(&self.scenario);
        let (id, token) = (self.next_id, job.sequence);
        self.next_id = id.wrapping_add(1);
        let device = world::device_id(self.number);
        let query = scenario.ttd.map(|ttd| format!("hono-ttd={ttd}"));
        let endpoint: &[u8] = match scenario.operation {
            Operation::Event => b"e",
            Operation::Telemetry | Operation::Handshake => b"t",
        };
        let mut options: Vec<(u16, &[u8])> = vec![(URI_PATH, endpoint)];
        if !scenario.secure {
            options.push((URI_PATH, world::TENANT.as_bytes()));
            options.push((URI_PATH, device.as_bytes()));
        }
        options.push((CONTENT_FORMAT, &[OCTETS]));
        options.extend(query.as_ref().map(|query| (URI_QUERY, query.as_bytes())));
        let (kind, again) = if scenario.confirmable {
            let wait = ACK_TIMEOUT.mul_f64(1.0 + 0.5 * self.random.fraction());
            (Kind::Confirmable, Some((now + wait, wait * 2)))
        } else {
            (Kind::NonConfirmable, None)
        };
        let method = if scenario.secure {
            coap::POST
        } else {
            coap::PUT
        };
        let payload = payload(self.number, job.sequence, scenario.payload);
        let bytes = coap::request(kind, method, id, token, &options, &payload);
        let ttd = Duration::from_secs(scenario.ttd.unwrap_or(0).into());
        self.send(now, &bytes);
        self.exchange = Some(Exchange {
            job,
            bytes,
            id,
            token,
            again,
            repeats: 0,
            deadline: now + ttd + scenario.patience,
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
                let event = Event::Answered(exchange.job, message.code);
                self.finish(now, event);
            }
            Kind::Reset if ours => {
                let event = Event::Answered(exchange.job, 0);
                self.finish(now, event);
            }
            Kind::Acknowledgement if ours => exchange.again = None,
            _ => {}
        }
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
                    self.events.push_back(Event::GaveUp(job));
                    self.go_on(now);
                }
                None => self.connect(now),
            }
        }
    }
}

/// Who sends it and which of its messages it is, filled up to `length`.
fn payload(device: u32, sequence: u32, length: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(length);
    payload.extend(device.to_be_bytes());
    payload.extend(sequence.to_be_bytes());
    payload.resize(length.max(payload.len()), b'.');
    payload
}

/// The device and the sequence number that a payload tells.
pub(crate) fn origin(payload: &[u8]) -> Option<(u32, u32)> {
    let (device, rest) = payload.split_first_chunk()?;
    let sequence = rest.first_chunk()?;
    Some((u32::from_be_bytes(*device), u32::from_be_bytes(*sequence)))
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
        Device::new(7, Arc::new(scenario), Random::new(1, 1))
    }

    fn answer(request: &[u8], kind: u8) -> Vec<u8> {
        let mut answer = vec![0x44 | kind << 4, coap::CHANGED];
        answer.extend(&request[2..8]);
        answer
    }

    #[test]
    fn a_lost_request_is_sent_again_and_answered_once() {
        let (mut device, start) = (plain(), Instant::now());
        let job = Job {
            sequence: 0,
            intended: start,
        };
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
    fn an_acknowledged_request_is_waited_for_and_its_answer_acknowledged_each_time() {
        let (mut device, start) = (plain(), Instant::now());
        let job = Job {
            sequence: 1,
            intended: start,
        };
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
            device.take(
                start,
                Job {
                    sequence,
                    intended: start,
                },
            );
        }
        let first = device.poll_transmit().unwrap();
        assert_eq!(device.poll_transmit(), None);
        device.handle_datagram(start, &mut answer(&first, 2));
        let second = device.poll_transmit().unwrap();
        assert_eq!(second[7], 1);
    }
}

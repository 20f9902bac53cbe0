//! How long the message layer takes for a request, from the datagram in to the datagram out, on one thread.
//!
//! `cargo bench -p coap-proto`; requests a second are the reciprocal. Time is virtual: `RATE` requests come in a second, so that
//! the tables are as full as they would be then.

#![expect(
    clippy::disallowed_methods,
    reason = "virtual time must begin somewhere"
)]

use std::time::{Duration, Instant};

use coap_proto::message::{Message, Type};
use coap_proto::{Code, Config, Endpoint, Event, MessageId, Response, Token, option};
use divan::Bencher;

fn main() {
    divan::main();
}

/// A confirmable upload of 100 bytes, answered piggy-backed.
#[divan::bench(args = [1, 1_000, 100_000], sample_size = SAMPLE)]
fn upload(bencher: Bencher<'_, '_>, peers: u32) {
    let mut world = World::new(peers, &[]);
    world.warm_up();
    bencher.bench_local(|| world.exchange(Answer::AtOnce));
}

/// The same, acknowledged first and answered in a confirmable message that is acknowledged.
#[divan::bench(args = [1_000], sample_size = SAMPLE)]
fn separate(bencher: Bencher<'_, '_>, peers: u32) {
    let mut world = World::new(peers, &[]);
    world.warm_up();
    bencher.bench_local(|| world.exchange(Answer::Separately));
}

/// A datagram that came before.
#[divan::bench]
fn duplicate(bencher: Bencher<'_, '_>) {
    let mut world = World::new(1, &[]);
    world.exchange(Answer::AtOnce);
    bencher.bench_local(|| world.repeat());
}

/// One block of 512 in an upload that goes on for ever.
#[divan::bench(args = [1_000], sample_size = SAMPLE)]
fn block(bencher: Bencher<'_, '_>, peers: u32) {
    let mut world = World::new(peers, &[0x0d]);
    world.warm_up();
    bencher.bench_local(|| world.exchange(Answer::AtOnce));
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let datagram = request(&[]);
    bencher.bench_local(|| Message::decode(divan::black_box(&datagram)));
}

#[derive(Clone, Copy)]
enum Answer {
    AtOnce,
    Separately,
}

/// Clients that take turns.
struct World {
    endpoint: Endpoint<u32>,
    now: Instant,
    peers: u32,
    next_peer: u32,
    next_id: u16,
    datagram: Vec<u8>,
}

impl World {
    fn new(peers: u32, block1: &[u8]) -> Self {
        Self {
            endpoint: Endpoint::new(Config::default(), 1),
            now: Instant::now(),
            peers,
            next_peer: 0,
            next_id: 0,
            datagram: request(block1),
        }
    }

    fn warm_up(&mut self) {
        for _ in 0..300_000 {
            self.exchange(Answer::AtOnce);
        }
    }

    fn exchange(&mut self, answer: Answer) {
        self.now += Duration::from_secs(1) / RATE;
        self.next_peer += 1;
        if self.next_peer >= self.peers {
            self.next_peer = 0;
            self.next_id = self.next_id.wrapping_add(1);
        }
        self.datagram[2..4].copy_from_slice(&self.next_id.to_be_bytes());
        self.repeat();
        if let Some(Event::Request {
            exchange, request, ..
        }) = self.endpoint.poll_event()
        {
            assert_eq!(request.uri_path(), ["telemetry"]);
            if matches!(answer, Answer::Separately) {
                self.endpoint.acknowledge(self.now, exchange);
            }
            self.endpoint
                .respond(self.now, exchange, Response::new(Code::CHANGED));
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if let [0x44, _, high, low, ..] = *transmit.payload {
                let ack = [0x60, 0, high, low];
                self.endpoint
                    .handle_datagram(self.now, &transmit.peer, &ack);
            }
            divan::black_box(transmit);
        }
        if self
            .endpoint
            .poll_timeout()
            .is_some_and(|next| next <= self.now)
        {
            self.endpoint.handle_timeout(self.now);
        }
    }

    fn repeat(&mut self) {
        self.endpoint
            .handle_datagram(self.now, &self.next_peer, &self.datagram);
    }
}

/// `POST /telemetry?hono-ttd=10` with a Content-Format and a payload.
fn request(block1: &[u8]) -> Vec<u8> {
    let mut message = Message::empty(Type::Confirmable, MessageId(0));
    message.code = Code::POST;
    message.token = Token::new(&[1, 2, 3, 4]).unwrap_or_default();
    message.options.push(option::URI_PATH, b"telemetry");
    message.options.push(option::CONTENT_FORMAT, &[50]);
    message.options.push(option::URI_QUERY, b"hono-ttd=10");
    message.payload = vec![b'x'; 100];
    if !block1.is_empty() {
        message.options.push(option::BLOCK1, block1);
        message.payload = vec![b'x'; 512];
    }
    message.encode().unwrap_or_default()
}

const RATE: u32 = 10_000;

/// Enough of them that what is done now and then is in each.
const SAMPLE: u32 = 10_000;

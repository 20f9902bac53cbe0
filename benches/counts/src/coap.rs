//! The CoAP message layer: exchanges from the datagram in to the datagram out, among few and many that it remembers.

use std::time::Instant;

use coap_proto::message::{Message, Type};
use coap_proto::{Code, Config, Endpoint, Event, MessageId, Response, Token, option};

use crate::{Meter, Subject};

pub(crate) const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "exchange_among_100",
        what: "confirmable upload -> request, response -> datagram, and an exchange forgotten; 100 are remembered",
        run: |meter| exchanges(meter, 100, &[], Answer::AtOnce),
    },
    Subject {
        name: "exchange_among_100000",
        what: "the same, 100,000 are remembered",
        run: |meter| exchanges(meter, 100_000, &[], Answer::AtOnce),
    },
    Subject {
        name: "exchange_separate",
        what: "the same among 100, acknowledged first, answered in a confirmable message that is acknowledged",
        run: |meter| exchanges(meter, 100, &[], Answer::Separately),
    },
    Subject {
        name: "exchange_block",
        what: "the same among 100 for a block of 512 bytes of a longer body",
        run: |meter| exchanges(meter, 100, &[0x0d], Answer::AtOnce),
    },
    Subject {
        name: "duplicate_among_100000",
        what: "a datagram that came before -> the answer that it got; 100,000 are remembered",
        run: duplicates,
    },
];

/// How many exchanges are counted; what is done now and then is in it.
const MANY: u32 = 2_000;

#[derive(Clone, Copy)]
enum Answer {
    AtOnce,
    Separately,
}

fn exchanges(meter: &mut Meter<'_>, remembered: u32, block1: &[u8], answer: Answer) {
    let mut world = World::remembering(remembered, block1, answer);
    for _ in 0..MANY {
        let peer = world.next_turn();
        let code = meter.count(1, || world.exchange(peer, answer));
        assert_eq!(code, Some(if block1.is_empty() { 0x44 } else { 0x5f }));
    }
}

fn duplicates(meter: &mut Meter<'_>) {
    const PEERS: u32 = 100_000;
    let mut world = World::remembering(PEERS, &[], Answer::AtOnce);
    // Of those that spoke in the first round only, any.
    world.name_message(0);
    for number in 0..MANY {
        let peer = PEERS / 2 + number * 7 % (PEERS / 2);
        let (endpoint, now, datagram) = (&mut world.endpoint, world.now, &world.datagram);
        let answer = meter.count(1, || {
            endpoint.handle_datagram(now, &peer, datagram);
            endpoint.poll_transmit()
        });
        assert!(answer.is_some() && endpoint.poll_event().is_none());
    }
}

/// Peers that take turns, each back when its last exchange is about to be forgotten: the tables have the same size all along.
struct World {
    endpoint: Endpoint<u32>,
    now: Instant,
    peers: u32,
    /// How many exchanges there were.
    past: u32,
    datagram: Vec<u8>,
}

impl World {
    fn remembering(exchanges: u32, block1: &[u8], answer: Answer) -> Self {
        let mut world = Self {
            endpoint: Endpoint::new(Config::default(), 1),
            now: Instant::now(),
            peers: exchanges,
            past: 0,
            datagram: request(block1),
        };
        for _ in 0..exchanges + exchanges / 10 {
            let peer = world.next_turn();
            world.exchange(peer, answer);
        }
        let remembered = world.endpoint.exchanges();
        assert!(
            (exchanges as usize..=exchanges as usize + 1).contains(&remembered),
            "{remembered}"
        );
        world
    }

    /// Whose turn it is; the datagram is that peer's next one.
    fn next_turn(&mut self) -> u32 {
        self.now += Config::default().exchange_lifetime / self.peers;
        let (round, peer) = (self.past / self.peers, self.past % self.peers);
        self.past += 1;
        self.name_message(round);
        peer
    }

    /// Gives the datagram the message id of this round of turns.
    fn name_message(&mut self, round: u32) {
        self.datagram[2..4].copy_from_slice(&round.to_be_bytes()[2..]);
    }

    /// All that the endpoint does for one request; gives the code that it says at last.
    fn exchange(&mut self, peer: u32, answer: Answer) -> Option<u8> {
        let (endpoint, now) = (&mut self.endpoint, self.now);
        endpoint.handle_datagram(now, &peer, &self.datagram);
        // The endpoint asks by itself for the blocks that follow.
        if let Some(Event::Request { exchange, .. }) = endpoint.poll_event() {
            if matches!(answer, Answer::Separately) {
                endpoint.acknowledge(now, exchange);
            }
            endpoint.respond(now, exchange, Response::new(Code::CHANGED));
        }
        let mut last = None;
        while let Some(transmit) = endpoint.poll_transmit() {
            if let [0x44, _, high, low, ..] = *transmit.payload {
                endpoint.handle_datagram(now, &transmit.peer, &[0x60, 0, high, low]);
            }
            last = transmit.payload.get(1).copied();
        }
        if endpoint.poll_timeout().is_some_and(|next| next <= now) {
            endpoint.handle_timeout(now);
        }
        last
    }
}

/// `POST /telemetry?hono-ttd=10` with a Content-Format and a payload.
pub(crate) fn request(block1: &[u8]) -> Vec<u8> {
    let mut message = Message::empty(Type::Confirmable, MessageId(0));
    message.code = Code::POST;
    message.token = Token::new(&[1, 2, 3, 4]).unwrap();
    message.options.push(option::URI_PATH, b"telemetry");
    message.options.push(option::CONTENT_FORMAT, &[50]);
    message.options.push(option::URI_QUERY, b"hono-ttd=10");
    message.payload = vec![b'x'; 100];
    if !block1.is_empty() {
        message.options.push(option::BLOCK1, block1);
        message.payload = vec![b'x'; 512];
    }
    message.encode().unwrap()
}

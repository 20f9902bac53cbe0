//! Tests of the endpoint as a whole, in virtual time.

mod addresses;
mod blockwise;
mod bounds;
mod exchanges;
mod format;
mod network;
mod options;
mod recorded;

use std::time::{Duration, Instant};

use crate::message::{Code, Message, MessageId, Options, Token, Type};
use crate::{
    Config, Endpoint, Event, ExchangeId, GaveUpReason, Request, Response, SuppressedResponse,
    option,
};

/// An endpoint with a clock of its own; peers are numbers.
struct Server {
    endpoint: Endpoint<u8>,
    now: Instant,
}

impl Server {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            endpoint: Endpoint::new(config, 42),
            now: start(),
        }
    }

    /// What a datagram from peer 0 makes the endpoint send.
    fn receive(&mut self, datagram: &[u8]) -> Vec<Message> {
        self.receive_from(0, datagram)
    }

    fn receive_from(&mut self, peer: u8, datagram: &[u8]) -> Vec<Message> {
        self.endpoint.handle_datagram(self.now, &peer, datagram);
        self.sent()
    }

    /// Everything sent since.
    fn sent(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| Message::decode(&transmit.payload).expect("well-formed"))
            .collect()
    }

    fn request(&mut self) -> Option<(ExchangeId, Request)> {
        match self.endpoint.poll_event()? {
            Event::Request {
                exchange, request, ..
            } => Some((exchange, request)),
            Event::GaveUp { .. } => panic!("a request was to come"),
        }
    }

    /// Takes in a request that must reach the caller.
    fn accept(&mut self, message: &Message) -> ExchangeId {
        assert_eq!(
            self.receive(&message.encode().unwrap()),
            [],
            "nothing is sent before the answer"
        );
        self.request().expect("a request").0
    }

    fn respond(&mut self, exchange: ExchangeId, response: Response) -> Vec<Message> {
        self.endpoint.respond(self.now, exchange, response);
        self.sent()
    }

    fn acknowledge(&mut self, exchange: ExchangeId) -> Vec<Message> {
        self.endpoint.acknowledge(self.now, exchange);
        self.sent()
    }

    /// Lets time pass, serving every timeout at its time; tells what was sent when.
    fn pass(&mut self, time: Duration) -> Vec<(Duration, Message)> {
        let (began, until) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(next) = self.endpoint.poll_timeout().filter(|next| *next <= until) {
            self.now = next;
            self.endpoint.handle_timeout(next);
            sent.extend(
                self.sent()
                    .into_iter()
                    .map(|message| (next - began, message)),
            );
        }
        self.now = until;
        sent
    }

    fn gave_up(&mut self) -> Option<(ExchangeId, GaveUpReason)> {
        match self.endpoint.poll_event()? {
            Event::GaveUp {
                exchange, reason, ..
            } => Some((exchange, reason)),
            Event::Request { .. } => panic!("no request was to come"),
        }
    }

    /// Whether nothing at all is left.
    fn is_empty(&self) -> bool {
        self.endpoint.exchanges() == 0
            && self.endpoint.peers() == 0
            && (self.endpoint.transfers(), self.endpoint.transfer_bytes()) == (0, 0)
            && self.endpoint.poll_timeout().is_none()
    }
}

fn message(kind: Type, code: Code, id: u16) -> Message {
    Message {
        code,
        token: Token::new(&id.to_be_bytes()).unwrap(),
        ..Message::empty(kind, MessageId(id))
    }
}

/// A confirmable `POST /t`.
fn con(id: u16) -> Message {
    with_option(
        message(Type::Confirmable, Code::POST, id),
        option::URI_PATH,
        b"t",
    )
}

/// A non-confirmable `POST /t`.
fn non(id: u16) -> Message {
    Message {
        kind: Type::NonConfirmable,
        ..con(id)
    }
}

fn with_option(mut message: Message, number: u16, value: &[u8]) -> Message {
    message.options.push(number, value);
    message
}

fn ack(id: MessageId) -> Vec<u8> {
    Message::empty(Type::Acknowledgement, id).encode().unwrap()
}

fn reset(id: MessageId) -> Vec<u8> {
    Message::empty(Type::Reset, id).encode().unwrap()
}

fn changed() -> Response {
    Response::new(Code::CHANGED)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time must begin somewhere"
)]
fn start() -> Instant {
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

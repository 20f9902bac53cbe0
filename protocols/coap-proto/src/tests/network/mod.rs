//! Clients and server over a network that loses, doubles, delays and reorders by a seed, in virtual time.

mod client;

mod promises;

use std::collections::{BTreeMap, HashMap, VecDeque};

use client::{Client, ClientState, upload};

use super::*;
use crate::BlockSize;
use crate::reliability::Random;

/// Out of 100 datagrams, how many are lost and how many come twice.
#[derive(Debug, Clone, Copy)]
struct Network {
    lost: u64,
    doubled: u64,
    delay_ms: u64,
}

/// What happens next in the world.
#[derive(Debug)]
enum Happening {
    ToServer {
        client: u8,
        datagram: Vec<u8>,
    },
    ToClient {
        client: u8,
        datagram: Vec<u8>,
    },
    ClientTimeout {
        client: u8,
        request: MessageId,
        timeout: Duration,
    },
    Respond {
        exchange: ExchangeId,
        payload: Vec<u8>,
    },
}

struct Pair {
    server: Server,
    network: Network,
    random: Random,
    clients: Vec<Client>,
    /// By time, and in order within it.
    agenda: BTreeMap<(Instant, u64), Happening>,
    happened: u64,
    /// How often a request reached the caller.
    seen: HashMap<Token, u32>,
}

impl Pair {
    /// Every fourth request is non-confirmable.
    fn seeded(seed: u64, clients: u8, network: Network) -> Self {
        let requests = (0..clients).map(|client| {
            let id = u16::from(client);
            VecDeque::from([if client % 4 == 3 { non(id) } else { con(id) }])
        });
        Self::with(seed, network, requests.collect())
    }

    /// Clients that upload a body in blocks; the server answers with the same body.
    fn transferring(seed: u64, bodies: &[(Vec<u8>, BlockSize)], network: Network) -> Self {
        let uploads = bodies.iter().map(|(body, size)| upload(body, *size));
        Self::with(seed, network, uploads.collect())
    }

    fn with(seed: u64, network: Network, requests: Vec<VecDeque<Message>>) -> Self {
        let mut pair = Self {
            server: Server::new(),
            network,
            random: Random::new(seed),
            clients: Vec::new(),
            agenda: BTreeMap::new(),
            happened: 0,
            seen: HashMap::new(),
        };
        for (mut blocks, client) in requests.into_iter().zip(0..) {
            let request = blocks.pop_front().unwrap();
            let id = request.id;
            pair.clients.push(Client {
                request,
                blocks,
                received: Vec::new(),
                attempts: 0,
                state: ClientState::Sending,
                response: None,
            });
            let at = pair.server.now + Duration::from_millis(pair.below(2000));
            pair.plan(at, first_attempt(client, id));
        }
        pair
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound.max(1)
    }

    fn plan(&mut self, at: Instant, happening: Happening) {
        self.happened += 1;
        self.agenda.insert((at, self.happened), happening);
    }

    fn carry(&mut self, happening: impl Fn() -> Happening) {
        let copies = if self.below(100) < self.network.lost {
            0
        } else {
            1 + u64::from(self.below(100) < self.network.doubled)
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.below(self.network.delay_ms));
            self.plan(self.server.now + delay, happening());
        }
    }

    /// Lets everything happen that is to happen.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let timeout = self.server.endpoint.poll_timeout();
            let first = self.agenda.first_key_value().map(|((at, _), _)| *at);
            match (timeout, first) {
                (Some(timeout), Some(first)) if timeout <= first => self.serve_timeout(timeout),
                (Some(timeout), None) => self.serve_timeout(timeout),
                (_, Some(_)) => {
                    let ((at, _), happening) = self.agenda.pop_first().unwrap();
                    self.server.now = at;
                    self.happen(happening);
                }
                (None, None) => return,
            }
            self.drain();
        }
        panic!("the world does not come to rest");
    }

    fn serve_timeout(&mut self, timeout: Instant) {
        self.server.now = timeout;
        self.server.endpoint.handle_timeout(timeout);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToServer { client, datagram } => {
                self.server
                    .endpoint
                    .handle_datagram(self.server.now, &client, &datagram);
            }
            Happening::ToClient { client, datagram } => self.client_receives(client, &datagram),
            Happening::ClientTimeout {
                client,
                request,
                timeout,
            } => self.client_sends(client, request, timeout),
            Happening::Respond { exchange, payload } => {
                let response = changed().payload(payload);
                self.server
                    .endpoint
                    .respond(self.server.now, exchange, response);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.server.endpoint.poll_event() {
            if let Event::Request {
                exchange, request, ..
            } = event
            {
                *self.seen.entry(request.token()).or_default() += 1;
                self.decide(exchange, request.into_payload());
            }
        }
        while let Some(transmit) = self.server.endpoint.poll_transmit() {
            let (client, datagram) = (transmit.peer, transmit.payload.to_vec());
            self.carry(|| Happening::ToClient {
                client,
                datagram: datagram.clone(),
            });
        }
    }

    /// Answers at once, or soon, or acknowledges and takes its time.
    fn decide(&mut self, exchange: ExchangeId, payload: Vec<u8>) {
        let delay = match self.below(3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.below(1500)),
            _ => {
                self.server.endpoint.acknowledge(self.server.now, exchange);
                Duration::from_millis(self.below(30_000))
            }
        };
        self.plan(
            self.server.now + delay,
            Happening::Respond { exchange, payload },
        );
    }

    fn client_sends(&mut self, client: u8, request: MessageId, timeout: Duration) {
        let of = &mut self.clients[usize::from(client)];
        if of.state != ClientState::Sending || of.request.id != request {
            return;
        }
        let confirmable = of.request.kind == Type::Confirmable;
        if of.attempts > 4 || (of.attempts > 0 && !confirmable) {
            of.state = ClientState::GaveUp;
            return;
        }
        of.attempts += 1;
        let datagram = of.request.encode().unwrap();
        self.plan(
            self.server.now + timeout,
            Happening::ClientTimeout {
                client,
                request,
                timeout: timeout * 2,
            },
        );
        self.carry(|| Happening::ToServer {
            client,
            datagram: datagram.clone(),
        });
    }

    fn client_receives(&mut self, client: u8, datagram: &[u8]) {
        let message = Message::decode(datagram).unwrap();
        if message.kind == Type::Confirmable {
            self.carry(|| Happening::ToServer {
                client,
                datagram: ack(message.id),
            });
        }
        let of = &mut self.clients[usize::from(client)];
        if message.code == Code::EMPTY {
            assert_eq!(message.kind, Type::Acknowledgement, "nobody is reset");
            if of.state == ClientState::Sending && message.id == of.request.id {
                of.state = ClientState::AwaitResponse;
            }
            return;
        }
        if message.token != of.request.token {
            assert!(message.token.as_bytes() < of.request.token.as_bytes());
            return;
        }
        let first = of.response.get_or_insert_with(|| message.clone());
        assert_eq!(
            *first, message,
            "every response to a request is the same message"
        );
        if of.state == ClientState::Answered {
            return;
        }
        of.state = ClientState::Answered;
        if of.goes_on(&message) {
            let id = of.request.id;
            self.plan(self.server.now, first_attempt(client, id));
        }
    }
}

const fn first_attempt(client: u8, request: MessageId) -> Happening {
    Happening::ClientTimeout {
        client,
        request,
        timeout: Duration::from_secs(2),
    }
}

//! Clients and server over a network that loses, doubles, delays and reorders by a seed, in virtual time.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::reliability::Random;

/// Out of 100 datagrams, how many are lost and how many come twice.
#[derive(Debug, Clone, Copy)]
struct Network {
    lost: u64,
    doubled: u64,
    delay_ms: u64,
}

/// A client that knows just enough: sends a confirmable request again until something comes, acknowledges responses.
struct Client {
    request: Message,
    attempts: u32,
    state: ClientState,
    response: Option<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Sending,
    AwaitResponse,
    Answered,
    GaveUp,
}

/// What happens next in the world.
#[derive(Debug)]
enum Happening {
    ToServer { client: u8, datagram: Vec<u8> },
    ToClient { client: u8, datagram: Vec<u8> },
    ClientTimeout { client: u8, timeout: Duration },
    Respond(ExchangeId),
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
    fn seeded(seed: u64, clients: u8, network: Network) -> Self {
        let mut pair = Self {
            server: Server::new(),
            network,
            random: Random::new(seed),
            clients: Vec::new(),
            agenda: BTreeMap::new(),
            happened: 0,
            seen: HashMap::new(),
        };
        for client in 0..clients {
            let id = u16::from(client);
            let request = if client % 4 == 3 { non(id) } else { con(id) };
            pair.clients.push(Client {
                request,
                attempts: 0,
                state: ClientState::Sending,
                response: None,
            });
            let at = pair.server.now + Duration::from_millis(pair.below(2000));
            pair.plan(
                at,
                Happening::ClientTimeout {
                    client,
                    timeout: SECOND * 2,
                },
            );
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
            Happening::ClientTimeout { client, timeout } => self.client_sends(client, timeout),
            Happening::Respond(exchange) => {
                self.server
                    .endpoint
                    .respond(self.server.now, exchange, changed());
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
                self.decide(exchange);
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
    fn decide(&mut self, exchange: ExchangeId) {
        let delay = match self.below(3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.below(1500)),
            _ => {
                self.server.endpoint.acknowledge(self.server.now, exchange);
                Duration::from_millis(self.below(30_000))
            }
        };
        self.plan(self.server.now + delay, Happening::Respond(exchange));
    }

    fn client_sends(&mut self, client: u8, timeout: Duration) {
        let of = &mut self.clients[usize::from(client)];
        if of.state != ClientState::Sending {
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
        let of = &mut self.clients[usize::from(client)];
        if message.code == Code::EMPTY {
            assert_eq!(
                message,
                Message::empty(Type::Acknowledgement, of.request.id),
                "nobody is reset"
            );
            if of.state == ClientState::Sending {
                of.state = ClientState::AwaitResponse;
            }
            return;
        }
        assert_eq!(
            (message.token, message.code),
            (of.request.token, Code::CHANGED)
        );
        let first = of.response.get_or_insert_with(|| message.clone());
        assert_eq!(
            *first, message,
            "every response to a request is the same message"
        );
        of.state = ClientState::Answered;
        if message.kind == Type::Confirmable {
            self.carry(|| Happening::ToServer {
                client,
                datagram: ack(message.id),
            });
        }
    }
}

#[test]
fn on_a_good_network_every_request_is_answered_without_repetition() {
    let mut pair = Pair::seeded(
        7,
        40,
        Network {
            lost: 0,
            doubled: 0,
            delay_ms: 100,
        },
    );
    pair.run();
    assert!(
        pair.clients
            .iter()
            .all(|client| client.state == ClientState::Answered)
    );
    assert_eq!(pair.server.endpoint.statistics().retransmissions, 0);
    assert!(pair.server.is_empty());
}

#[test]
fn a_lost_con_is_sent_again_and_seen_once() {
    let mut pair = Pair::seeded(
        7,
        1,
        Network {
            lost: 100,
            doubled: 0,
            delay_ms: 50,
        },
    );
    let ((at, _), first) = pair.agenda.pop_first().unwrap();
    pair.server.now = at;
    pair.happen(first);
    pair.network.lost = 0;
    pair.run();
    assert_eq!(pair.clients[0].state, ClientState::Answered);
    assert_eq!(pair.seen[&con(0).token], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_the_network_does_every_exchange_ends_and_no_request_is_seen_twice(
        seed: u64, clients in 1..20_u8, lost in 0..100_u64, doubled in 0..100_u64, delay_ms in 0..5000_u64,
    ) {
        let mut pair = Pair::seeded(seed, clients, Network { lost, doubled, delay_ms });
        pair.run();
        prop_assert!(pair.seen.values().all(|times| *times == 1));
        prop_assert!(pair.clients.iter().all(|client| client.state != ClientState::Sending));
        prop_assert!(pair.server.is_empty());
        let statistics = pair.server.endpoint.statistics();
        prop_assert_eq!(statistics.separate, statistics.confirmed + statistics.gave_up);
        prop_assert_eq!(statistics.abandoned + statistics.late_responses + statistics.malformed, 0);
        if lost == 0 {
            prop_assert!(pair.clients.iter().all(|client| client.state == ClientState::Answered));
        }
    }
}

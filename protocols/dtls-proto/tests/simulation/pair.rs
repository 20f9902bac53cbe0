//! A client and a server on one clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_client::Client;
use dtls_proto::codec::handshake::{HandshakeType, read_fragments};
use dtls_proto::codec::record::split_first;
use dtls_proto::{AssociationId, CipherSuite, CloseReason, Config, Event, Psk, Server, Verdict};

use crate::network::{Network, Towards, Weather};

pub(crate) const IDENTITY: &str = "sensor1@DEFAULT_TENANT";
pub(crate) const KEY: &[u8] = b"secret1";

/// What the server's caller found.
#[derive(Debug)]
enum Answer {
    Key(Option<Psk>),
    Verdict(Verdict),
}

/// Client, server, the network between them, and all that was seen.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) network: Network,
    /// Where the client is; what is sent elsewhere gets lost.
    pub(crate) address: SocketAddr,
    /// How long the look-up of a key takes; `None`: for ever.
    pub(crate) lookup: Option<Duration>,
    /// What is thought of every certificate, after the same time.
    pub(crate) verdict: Verdict,
    lookups: Vec<(Instant, AssociationId, Answer)>,
    pub(crate) client_events: Vec<dtls_client::Event>,
    pub(crate) server_events: Vec<Event>,
    /// Everything each side sent, in order, lost or not.
    pub(crate) from_client: Vec<Vec<u8>>,
    pub(crate) from_server: Vec<Vec<u8>>,
}

impl Pair {
    /// Over a network without faults, all settings as they come.
    pub(crate) fn new() -> Self {
        Self::with(client_config(), Config::default(), Weather::FINE, 0)
    }

    pub(crate) fn with(
        client: dtls_client::Config,
        server: Config,
        weather: Weather,
        seed: u64,
    ) -> Self {
        let now = start();
        let mut pair = Self {
            now,
            client: Client::new(now, client).unwrap(),
            server: Server::new(server, [42; 32]),
            network: Network::new(weather, seed),
            address: peer(),
            lookup: Some(Duration::ZERO),
            verdict: Verdict::Accepted,
            lookups: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            from_client: Vec::new(),
            from_server: Vec::new(),
        };
        pair.drain();
        pair
    }

    /// The same server, a new client at the same address.
    pub(crate) fn replace_client(&mut self, config: dtls_client::Config) -> Client {
        std::mem::replace(&mut self.client, Client::new(self.now, config).unwrap())
    }

    /// Over a network without faults until both have nothing more to do, but for the server forgetting things.
    pub(crate) fn established() -> (Self, AssociationId) {
        let mut pair = Self::new();
        pair.run_for(Duration::from_secs(1));
        let association = pair.association().unwrap();
        assert!(pair.client.is_established());
        (pair, association)
    }

    /// The association established last.
    pub(crate) fn association(&self) -> Option<AssociationId> {
        self.server_events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Established { association, .. } => Some(*association),
                _ => None,
            })
    }

    pub(crate) fn suite(&self) -> Option<CipherSuite> {
        self.server_events.iter().find_map(|event| match event {
            Event::Established { suite, .. } => Some(*suite),
            _ => None,
        })
    }

    /// What the server got.
    pub(crate) fn server_data(&self) -> Vec<&[u8]> {
        self.server_events
            .iter()
            .filter_map(|event| match event {
                Event::ApplicationData { data, .. } => Some(data.as_slice()),
                _ => None,
            })
            .collect()
    }

    /// What the client got.
    pub(crate) fn client_data(&self) -> Vec<&[u8]> {
        self.client_events
            .iter()
            .filter_map(|event| match event {
                dtls_client::Event::ApplicationData(data) => Some(data.as_slice()),
                _ => None,
            })
            .collect()
    }

    /// How the server's associations ended.
    pub(crate) fn closed(&self) -> Vec<CloseReason> {
        self.server_events
            .iter()
            .filter_map(|event| match event {
                Event::Closed { reason, .. } => Some(*reason),
                _ => None,
            })
            .collect()
    }

    /// Of which handshake a key or a verdict was asked for last.
    pub(crate) fn last_asked(&self) -> Option<AssociationId> {
        self.server_events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::PskRequested { association, .. }
                | Event::VerdictRequested { association, .. }
                | Event::RawKeyRequested { association, .. } => Some(*association),
                _ => None,
            })
    }

    /// How often a key or a verdict was asked for.
    pub(crate) fn requests(&self) -> usize {
        self.server_events
            .iter()
            .filter(|event| {
                matches!(
                    event,
                    Event::PskRequested { .. } | Event::VerdictRequested { .. }
                )
            })
            .count()
    }

    /// The body of the server's first plaintext message of this type, if it fits into one fragment.
    pub(crate) fn message_of_server(&self, wanted: HandshakeType) -> Option<Vec<u8>> {
        self.from_server.iter().find_map(|datagram| {
            let mut datagram = datagram.clone();
            let mut rest = datagram.as_mut_slice();
            while let Ok(split) = split_first(rest, 0) {
                let found = read_fragments(split.fragment)
                    .filter_map(Result::ok)
                    .find(|fragment| fragment.header.message_type == wanted);
                if let Some(fragment) = found.filter(|_| split.header.epoch == 0) {
                    return Some(fragment.body.to_vec());
                }
                rest = split.rest;
            }
            None
        })
    }

    /// Lets time pass, with all that happens in it.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.drain();
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until nothing more will ever happen.
    pub(crate) fn run_out(&mut self) {
        self.run_for(Duration::from_secs(24 * 3600));
        assert_eq!(self.next_time(), None);
    }

    /// Gives the server a datagram as if the client had sent it.
    pub(crate) fn inject(&mut self, datagram: &[u8]) {
        self.server
            .handle_datagram(self.now, self.address, &mut datagram.to_vec());
        self.drain();
    }

    /// The same from any address.
    pub(crate) fn inject_from(&mut self, address: SocketAddr, datagram: &[u8]) {
        self.server
            .handle_datagram(self.now, address, &mut datagram.to_vec());
        self.drain();
    }

    pub(crate) fn network_is_busy(&self) -> bool {
        self.network.next_arrival().is_some()
    }

    /// Takes the next datagram off the network.
    pub(crate) fn take_next(&mut self) -> Option<(Towards, Vec<u8>)> {
        self.now = self.network.next_arrival()?;
        self.network.arrive(self.now)
    }

    /// Gives a datagram to its receiver.
    pub(crate) fn give(&mut self, towards: Towards, payload: &[u8]) {
        match towards {
            Towards::Server => self.inject(payload),
            Towards::Client => {
                self.client.handle_datagram(self.now, &mut payload.to_vec());
                self.drain();
            }
        }
    }

    fn next_time(&self) -> Option<Instant> {
        [
            self.network.next_arrival(),
            self.client.poll_timeout(),
            self.server.poll_timeout(),
            self.lookups.iter().map(|(at, ..)| *at).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn step(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.lookups.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, association, answer) in due {
            self.answer(association, answer);
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.drain();
        while let Some((towards, mut payload)) = self.network.arrive(self.now) {
            match towards {
                Towards::Server => {
                    self.server
                        .handle_datagram(self.now, self.address, &mut payload);
                }
                Towards::Client => self.client.handle_datagram(self.now, &mut payload),
            }
            self.drain();
        }
    }

    fn answer(&mut self, association: AssociationId, answer: Answer) {
        match answer {
            Answer::Key(key) => self.server.provide_psk(self.now, association, key),
            Answer::Verdict(verdict) => {
                self.server.provide_verdict(self.now, association, verdict);
            }
        }
    }

    pub(crate) fn drain(&mut self) {
        while let Some(payload) = self.client.poll_transmit() {
            self.network.send(self.now, Towards::Server, &payload);
            self.from_client.push(payload);
        }
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
        }
        while let Some(event) = self.server.poll_event() {
            let found = match &event {
                Event::PskRequested {
                    association,
                    identity,
                    ..
                } => {
                    let key = (identity == IDENTITY.as_bytes()).then(|| Psk::from(KEY));
                    Some((*association, Answer::Key(key)))
                }
                Event::VerdictRequested { association, .. }
                | Event::RawKeyRequested { association, .. } => {
                    Some((*association, Answer::Verdict(self.verdict)))
                }
                _ => None,
            };
            self.server_events.push(event);
            if let (Some((association, answer)), Some(lookup)) = (found, self.lookup) {
                if lookup.is_zero() {
                    self.answer(association, answer);
                } else {
                    self.lookups.push((self.now + lookup, association, answer));
                }
            }
        }
        while let Some(transmit) = self.server.poll_transmit() {
            if transmit.peer == self.address {
                self.network
                    .send(self.now, Towards::Client, &transmit.payload);
            }
            self.from_server.push(transmit.payload);
        }
    }
}

/// The client's address.
pub(crate) fn peer() -> SocketAddr {
    ([192, 0, 2, 1], 40_000).into()
}

pub(crate) fn client_config() -> dtls_client::Config {
    dtls_client::Config::new(IDENTITY, KEY)
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to make an Instant"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

//! The DTLS engine: records, a handshake, the way of a record to its shard, sessions on their way to the next process.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use dtls_client::Client;
use dtls_proto::{
    AssociationId, CipherSuite, Config, ConnectionIds, Event, Moment, Psk, SaveKey, Server,
};

use crate::{Meter, Subject};

pub(crate) const SUBJECTS: [Subject; 9] = [
    Subject {
        name: "record_open_ccm8",
        what: "DTLS record with 64 bytes of data -> event",
        run: |meter| open(meter, CipherSuite::PskAes128Ccm8, None),
    },
    Subject {
        name: "record_open_ccm8_connection_id",
        what: "the same, found by its connection id",
        run: |meter| open(meter, CipherSuite::PskAes128Ccm8, Some(vec![1; 4])),
    },
    Subject {
        name: "record_open_gcm",
        what: "the same with GCM",
        run: |meter| open(meter, CipherSuite::PskAes128GcmSha256, None),
    },
    Subject {
        name: "record_seal_ccm8",
        what: "64 bytes of data -> DTLS record",
        run: |meter| seal(meter, CipherSuite::PskAes128Ccm8),
    },
    Subject {
        name: "record_seal_gcm",
        what: "the same with GCM",
        run: |meter| seal(meter, CipherSuite::PskAes128GcmSha256),
    },
    Subject {
        name: "handshake_psk_ccm8",
        what: "the server's part of a handshake, cookie and key included",
        run: handshake,
    },
    Subject {
        name: "connection_id_route",
        what: "DTLS record -> the node and shard that its connection id names",
        run: route,
    },
    Subject {
        name: "session_save",
        what: "a session of 200 -> its part of a sealed file",
        run: save,
    },
    Subject {
        name: "session_load",
        what: "the same the other way round",
        run: load,
    },
];

/// How many records and handshakes are counted; what is done now and then is in it.
const MANY: u32 = 200;
const DATA: [u8; 64] = [5; 64];
const KEY: &[u8] = b"a key of a device";
/// The length of the connection ids that the server asks for.
const ID_LENGTH: u8 = 8;

fn open(meter: &mut Meter<'_>, suite: CipherSuite, connection_id: Option<Vec<u8>>) {
    let mut engine = Engine::new();
    let (mut client, _) = engine.established(1, suite, connection_id);
    for _ in 0..MANY {
        let mut record = sealed(&mut client, engine.now);
        let (server, now) = (&mut engine.server, engine.now);
        let event = meter.count(1, || {
            server.handle_datagram(now, address(1), &mut record);
            server.poll_event()
        });
        assert!(matches!(event, Some(Event::ApplicationData { .. })));
    }
}

fn seal(meter: &mut Meter<'_>, suite: CipherSuite) {
    let mut engine = Engine::new();
    let (mut client, association) = engine.established(1, suite, None);
    while client.poll_event().is_some() {}
    for _ in 0..MANY {
        let (server, now) = (&mut engine.server, engine.now);
        let record = meter.count(1, || {
            server.send(now, association, &DATA).unwrap();
            server.poll_transmit()
        });
        client.handle_datagram(now, &mut record.unwrap().payload);
        let opened = client.poll_event().unwrap();
        assert_eq!(opened, dtls_client::Event::ApplicationData(DATA.to_vec()));
    }
}

fn handshake(meter: &mut Meter<'_>) {
    let mut engine = Engine::new();
    for number in 0..MANY {
        let config = client_config(CipherSuite::PskAes128Ccm8, None);
        let mut server_turns = 0;
        engine.shake(address(number), config, |server, work| {
            // One handshake in all.
            meter.count(u64::from(server_turns == 0), || work(server));
            server_turns += 1;
        });
    }
}

fn route(meter: &mut Meter<'_>) {
    let mut engine = Engine::new();
    let (mut client, _) = engine.established(1, CipherSuite::PskAes128Ccm8, Some(vec![1; 4]));
    let ids = connection_ids();
    let record = sealed(&mut client, engine.now);
    meter.count(1_000, || {
        for _ in 0..1_000 {
            assert!(ids.route(std::hint::black_box(&record)).is_some());
        }
    });
}

/// How many sessions go from one process to the next, and how often: the order in which hash tables give them shows in what it costs
/// to free them.
const SESSIONS: u32 = 200;
const RESTARTS: u32 = 5;

fn save(meter: &mut Meter<'_>) {
    for _ in 0..RESTARTS {
        let engine = Engine::with_sessions();
        let file = meter.count(SESSIONS.into(), || engine.save());
        assert!(file.len() > SESSIONS as usize * OWNER);
    }
}

fn load(meter: &mut Meter<'_>) {
    for _ in 0..RESTARTS {
        let file = Engine::with_sessions().save();
        let mut next = Engine::new();
        let loaded = meter.count(SESSIONS.into(), || {
            let saved = SaveKey::new([5; 32]).open(file).unwrap();
            next.server.load(moment(next.now), &saved).unwrap()
        });
        assert_eq!(loaded.sessions.len(), SESSIONS as usize);
    }
}

/// How long what is saved with a session is, in bytes.
const OWNER: usize = 48;

struct Engine {
    server: Server,
    now: Instant,
}

impl Engine {
    fn new() -> Self {
        let mut config = Config::default();
        config.connection_ids = Some(connection_ids());
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::now(),
        }
    }

    /// Half of them with connection ids.
    fn with_sessions() -> Self {
        let mut engine = Self::new();
        for number in 0..SESSIONS {
            let connection_id = (number % 2 == 0).then(Vec::new);
            engine.established(number, CipherSuite::PskAes128Ccm8, connection_id);
        }
        engine
    }

    fn save(self) -> Vec<u8> {
        let saved = self.server.save(moment(self.now), |_| Some(vec![1; OWNER]));
        SaveKey::new([5; 32]).seal([6; 32], saved).unwrap()
    }

    fn established(
        &mut self,
        number: u32,
        suite: CipherSuite,
        connection_id: Option<Vec<u8>>,
    ) -> (Client, AssociationId) {
        let config = client_config(suite, connection_id);
        self.shake(address(number), config, |server, work| work(server))
    }

    /// A handshake in which `at_server` does what is the server's.
    fn shake(
        &mut self,
        address: SocketAddr,
        config: dtls_client::Config,
        mut at_server: impl FnMut(&mut Server, &mut dyn FnMut(&mut Server)),
    ) -> (Client, AssociationId) {
        let now = self.now;
        let mut client = Client::new(now, config).unwrap();
        let mut established = None;
        while let Some(mut datagram) = client.poll_transmit() {
            let mut sent = Vec::with_capacity(8);
            at_server(&mut self.server, &mut |server| {
                server.handle_datagram(now, address, &mut datagram);
                while let Some(event) = server.poll_event() {
                    match event {
                        Event::PskRequested { association, .. } => {
                            server.provide_psk(now, association, Some(Psk::from(KEY)));
                        }
                        Event::Established { association, .. } => established = Some(association),
                        _ => {}
                    }
                }
                sent.extend(std::iter::from_fn(|| server.poll_transmit()));
            });
            for mut transmit in sent {
                client.handle_datagram(now, &mut transmit.payload);
            }
        }
        assert!(client.is_established());
        (client, established.unwrap())
    }
}

fn sealed(client: &mut Client, now: Instant) -> Vec<u8> {
    client.send(now, &DATA).unwrap();
    client.poll_transmit().unwrap()
}

fn client_config(suite: CipherSuite, connection_id: Option<Vec<u8>>) -> dtls_client::Config {
    let mut config = dtls_client::Config::new("sensor1@DEFAULT_TENANT", KEY);
    config.suites = vec![suite];
    config.connection_id = connection_id;
    config
}

fn connection_ids() -> ConnectionIds {
    ConnectionIds::new(ID_LENGTH, 0, 0).unwrap()
}

const fn moment(now: Instant) -> Moment {
    Moment {
        now,
        wall: SystemTime::UNIX_EPOCH,
    }
}

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 5684).into()
}

//! What the engine does in a second on one core: the server's own time, the client's left out.
//!
//! `cargo bench -p dtls-proto` prints a table; `-- --test` does each thing a few times, to see that it works. Divan times whole
//! closures, and here client and server take turns inside of one handshake, so the time is taken by hand: CPU time of the thread, so
//! that what else runs on the machine counts only as far as it takes caches away; many handshakes at once, so that taking the time
//! counts for nothing; in rounds, in each of which every subject has its turn.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a bench needs a clock")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dtls_client::{Client, Tickets};
use dtls_proto::{
    AssociationId, CipherSuite, Config, ConnectionIds, Event, Identity, Moment, Psk, SaveKey,
    Server, TicketKeys, Verdict,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustix::time::{ClockId, clock_gettime};

/// A server, and how long it has worked.
struct Engine {
    server: Server,
    now: Instant,
    worked: Duration,
    established: Vec<AssociationId>,
}

impl Engine {
    fn new(kind: Kind) -> Self {
        let mut config = Config::default();
        config.identity = Some(identity());
        config.connection_ids = ConnectionIds::new(8, 0, 0).ok();
        match kind {
            Kind::Full => {}
            Kind::SessionId => config.resumption.cached_sessions = 10_000,
            Kind::Ticket => config.resumption.tickets = Some(TicketKeys::new([3; 32], None)),
        }
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::now(),
            worked: Duration::ZERO,
            established: Vec::new(),
        }
    }

    /// Whole handshakes side by side, each with a new client at its address.
    fn shake(&mut self, clients: Vec<(SocketAddr, dtls_client::Config)>) -> Vec<Client> {
        let mut addresses = BTreeMap::new();
        let mut all = Vec::new();
        for (address, config) in clients {
            addresses.insert(address, all.len());
            all.push(Client::new(self.now, config).unwrap());
        }
        loop {
            let mut datagrams = Vec::new();
            for (address, index) in &addresses {
                while let Some(datagram) = all[*index].poll_transmit() {
                    datagrams.push((*address, datagram));
                }
            }
            if datagrams.is_empty() {
                break;
            }
            let start = cpu_time();
            let mut sent = Vec::with_capacity(4 * datagrams.len());
            for (address, datagram) in &mut datagrams {
                self.server.handle_datagram(self.now, *address, datagram);
                self.answer();
                sent.extend(std::iter::from_fn(|| self.server.poll_transmit()));
            }
            self.worked += cpu_time() - start;
            for mut transmit in sent {
                let client = &mut all[addresses[&transmit.peer]];
                client.handle_datagram(self.now, &mut transmit.payload);
            }
        }
        assert!(all.iter().all(Client::is_established));
        all
    }

    fn answer(&mut self) {
        let (server, now) = (&mut self.server, self.now);
        while let Some(event) = server.poll_event() {
            match event {
                Event::PskRequested { association, .. } => {
                    server.provide_psk(now, association, Some(Psk::from(KEY)));
                }
                Event::VerdictRequested { association, .. } => {
                    server.provide_verdict(now, association, Verdict::Accepted);
                }
                Event::Established { association, .. } => self.established.push(association),
                _ => {}
            }
        }
    }
}

/// How the clients of a bench come in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    /// Back by the id of a session that was.
    SessionId,
    /// Back by a ticket.
    Ticket,
}

const KEY: &[u8] = b"a key of a device";

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (rounds, scale) = if test { (1, 500) } else { (ROUNDS, 1) };
    let mut table = Table::default();
    for _ in 0..rounds {
        for (name, suite, kind, count) in [
            ("psk_ccm8", CipherSuite::PskAes128Ccm8, Kind::Full, 10_000),
            (
                "ecdhe_psk_ccm8",
                CipherSuite::EcdhePskAes128Ccm8Sha256,
                Kind::Full,
                2_000,
            ),
            (
                "ecdsa_mutual_ccm8",
                CipherSuite::EcdheEcdsaAes128Ccm8,
                Kind::Full,
                1_000,
            ),
            (
                "ecdsa_mutual_gcm",
                CipherSuite::EcdheEcdsaAes128GcmSha256,
                Kind::Full,
                1_000,
            ),
            (
                "resumed_id_psk_ccm8",
                CipherSuite::PskAes128Ccm8,
                Kind::SessionId,
                10_000,
            ),
            (
                "resumed_ticket_psk_ccm8",
                CipherSuite::PskAes128Ccm8,
                Kind::Ticket,
                10_000,
            ),
            (
                "resumed_ticket_ecdsa_ccm8",
                CipherSuite::EcdheEcdsaAes128Ccm8,
                Kind::Ticket,
                5_000,
            ),
        ] {
            handshakes(&mut table, name, suite, kind, count / scale);
        }
        for (name, suite) in [
            ("64b_ccm8", CipherSuite::PskAes128Ccm8),
            ("64b_gcm", CipherSuite::PskAes128GcmSha256),
        ] {
            records(&mut table, name, suite, 250_000 / scale);
        }
    }
    table.print();
    restart(100_000 / scale);
}

/// How often each subject has its turn.
const ROUNDS: usize = 9;

fn client_config(suite: CipherSuite) -> dtls_client::Config {
    let mut config = dtls_client::Config::new("sensor1@DEFAULT_TENANT", KEY);
    config.suites = vec![suite];
    config.certificate = Some(identity());
    config
}

fn handshakes(table: &mut Table, name: &'static str, suite: CipherSuite, kind: Kind, count: u32) {
    const BATCH: u32 = 100;
    let (mut engine, mut config) = (Engine::new(kind), client_config(suite));
    if kind == Kind::Ticket {
        config.tickets = Tickets::Wanted;
    }
    if kind != Kind::Full {
        let first = engine.shake(vec![(address(0), config.clone())]);
        config.resume = first[0].resumption();
    }
    engine.worked = Duration::ZERO;
    let batch = BATCH.min(count);
    for _ in 0..count / batch {
        // Each takes the place of the one before.
        let clients = (1..=batch).map(|number| (address(number), config.clone()));
        engine.shake(clients.collect());
    }
    let resumed = engine.server.statistics().resumptions_established;
    let back = if kind == Kind::Full { 0 } else { count };
    assert_eq!(resumed, u64::from(back / batch * batch));
    table.add(
        format!("handshake_{name}"),
        count / batch * batch,
        engine.worked,
    );
}

fn records(table: &mut Table, name: &str, suite: CipherSuite, count: u32) {
    let mut engine = Engine::new(Kind::Full);
    let mut clients = engine.shake(vec![(address(1), client_config(suite))]);
    let (client, association) = (&mut clients[0], engine.established[0]);
    let (mut opened, mut sealed) = (Duration::ZERO, Duration::ZERO);
    const BATCH: u32 = 500;
    for _ in 0..count / BATCH {
        let mut batch: Vec<_> = (0..BATCH)
            .map(|_| {
                client.send(engine.now, &[5; 64]).unwrap();
                client.poll_transmit().unwrap()
            })
            .collect();
        let start = cpu_time();
        for record in &mut batch {
            engine
                .server
                .handle_datagram(engine.now, address(1), record);
            assert!(engine.server.poll_event().is_some());
        }
        let between = cpu_time();
        for _ in 0..BATCH {
            engine
                .server
                .send(engine.now, association, &[5; 64])
                .unwrap();
            assert!(engine.server.poll_transmit().is_some());
        }
        sealed += cpu_time() - between;
        opened += between - start;
    }
    table.add(format!("record_open_{name}"), count, opened);
    table.add(format!("record_seal_{name}"), count, sealed);
    table.add(
        format!("record_open_and_seal_{name}"),
        count,
        opened + sealed,
    );
}

/// What each subject did in a second, round by round.
#[derive(Default)]
struct Table {
    rates: Vec<(String, Vec<f64>)>,
}

impl Table {
    fn add(&mut self, name: String, count: u32, time: Duration) {
        let rate = f64::from(count) / time.as_secs_f64().max(f64::MIN_POSITIVE);
        match self.rates.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rates)) => rates.push(rate),
            None => self.rates.push((name, vec![rate])),
        }
    }

    fn print(mut self) {
        println!(
            "{:<36} {:>12} {:>12} {:>12}",
            "a second of CPU time", "lowest", "median", "highest"
        );
        for (name, rates) in &mut self.rates {
            rates.sort_by(f64::total_cmp);
            let (lowest, median, highest) =
                (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
            println!("{name:<36} {lowest:>12.0} {median:>12.0} {highest:>12.0}");
        }
    }
}

/// How long this thread has worked.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// How long sessions take from one server to the next: half of them with an id, all with an owner of 48 bytes.
fn restart(count: u32) {
    let mut engine = Engine::new(Kind::Full);
    for number in 0..count {
        let mut config = client_config(CipherSuite::PskAes128Ccm8);
        config.connection_id = (number % 2 == 0).then(Vec::new);
        engine.shake(vec![(address(number), config)]);
    }
    let at = Moment {
        now: engine.now,
        wall: SystemTime::UNIX_EPOCH,
    };
    let key = SaveKey::new([5; 32]);
    let mut next = Engine::new(Kind::Full).server;
    let start = cpu_time();
    let saved = engine.server.save(at, |_| Some(vec![1; 48]));
    let file = key.seal([6; 32], saved).unwrap();
    let (saving, length) = (cpu_time() - start, file.len());
    let start = cpu_time();
    let loaded = next.load(at, &key.open(file).unwrap()).unwrap();
    let loading = cpu_time() - start;
    assert_eq!(loaded.sessions.len(), usize::try_from(count).unwrap());
    for (name, time) in [("save", saving), ("load", loading)] {
        let seconds = time.as_secs_f64();
        println!(
            "{name:<32} {seconds:>12.3} seconds of CPU time for {count} sessions, {length} bytes"
        );
    }
}

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 5684).into()
}

/// On P-256, the same for both sides.
fn identity() -> Arc<Identity> {
    static IDENTITY: std::sync::LazyLock<Arc<Identity>> = std::sync::LazyLock::new(|| {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Arc::new(Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap())
    });
    Arc::clone(&IDENTITY)
}

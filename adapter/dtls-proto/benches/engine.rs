//! What the engine does in a second on one core, and what a session costs: the server's own time, the client's left out.
//!
//! `cargo bench -p dtls-proto` prints a table; `-- --test` does each thing a few times, to see that it works. Divan times whole
//! closures, and here client and server take turns inside of one handshake, so the time is taken by hand.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a bench needs a clock")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dtls_client::Client;
use dtls_proto::{
    AssociationId, CipherSuite, Config, ConnectionIds, Event, Identity, Moment, Psk, SaveKey,
    Server, Verdict,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A server, and how long it has worked.
struct Engine {
    server: Server,
    now: Instant,
    worked: Duration,
    established: Option<AssociationId>,
}

impl Engine {
    fn new() -> Self {
        let mut config = Config::default();
        config.identity = Some(identity());
        config.connection_ids = ConnectionIds::new(8, 0, 0).ok();
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::now(),
            worked: Duration::ZERO,
            established: None,
        }
    }

    fn work<R>(&mut self, what: impl FnOnce(&mut Server, Instant) -> R) -> R {
        let start = Instant::now();
        let result = what(&mut self.server, self.now);
        self.worked += start.elapsed();
        result
    }

    /// A whole handshake with a new client at this address.
    fn shake(&mut self, config: &dtls_client::Config, address: SocketAddr) -> Client {
        let mut client = Client::new(self.now, config.clone()).unwrap();
        while let Some(mut datagram) = client.poll_transmit() {
            self.work(|server, now| server.handle_datagram(now, address, &mut datagram));
            self.answer();
            while let Some(mut sent) = self.work(|server, _| server.poll_transmit()) {
                client.handle_datagram(self.now, &mut sent.payload);
            }
        }
        assert!(client.is_established());
        client
    }

    fn answer(&mut self) {
        while let Some(event) = self.work(|server, _| server.poll_event()) {
            match event {
                Event::PskRequested { association, .. } => self.work(|server, now| {
                    server.provide_psk(now, association, Some(Psk::from(KEY)));
                }),
                Event::VerdictRequested { association, .. } => self.work(|server, now| {
                    server.provide_verdict(now, association, Verdict::Accepted);
                }),
                Event::Established { association, .. } => self.established = Some(association),
                _ => {}
            }
        }
    }
}

const KEY: &[u8] = b"a key of a device";

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let scale = if test { 500 } else { 1 };
    for (name, suite, count) in [
        ("handshake_psk_ccm8", CipherSuite::PskAes128Ccm8, 20_000),
        (
            "handshake_ecdhe_psk_ccm8",
            CipherSuite::EcdhePskAes128Ccm8Sha256,
            5_000,
        ),
        (
            "handshake_ecdsa_mutual_ccm8",
            CipherSuite::EcdheEcdsaAes128Ccm8,
            3_000,
        ),
        (
            "handshake_ecdsa_mutual_gcm",
            CipherSuite::EcdheEcdsaAes128GcmSha256,
            3_000,
        ),
    ] {
        handshakes(name, suite, count / scale);
    }
    for (name, suite) in [
        ("64b_ccm8", CipherSuite::PskAes128Ccm8),
        ("64b_gcm", CipherSuite::PskAes128GcmSha256),
    ] {
        records(name, suite, 500_000 / scale);
    }
    sessions(100_000 / scale);
    restart(100_000 / scale);
}

fn client_config(suite: CipherSuite) -> dtls_client::Config {
    let mut config = dtls_client::Config::new("sensor1@DEFAULT_TENANT", KEY);
    config.suites = vec![suite];
    config.certificate = Some(identity());
    config
}

fn handshakes(name: &str, suite: CipherSuite, count: u32) {
    let (mut engine, config) = (Engine::new(), client_config(suite));
    for number in 0..count {
        // Each takes the place of the one before.
        let port = u16::try_from(1 + number % 1_000).unwrap();
        engine.shake(&config, ([192, 0, 2, 1], port).into());
    }
    report(name, count, engine.worked);
}

fn records(name: &str, suite: CipherSuite, count: u32) {
    let mut engine = Engine::new();
    let address = ([192, 0, 2, 1], 1).into();
    let mut client = engine.shake(&client_config(suite), address);
    let association = engine.established.unwrap();
    let (mut opened, mut sealed) = (Duration::ZERO, Duration::ZERO);
    const BATCH: u32 = 500;
    for _ in 0..count / BATCH {
        let mut batch: Vec<_> = (0..BATCH)
            .map(|_| {
                client.send(engine.now, &[5; 64]).unwrap();
                client.poll_transmit().unwrap()
            })
            .collect();
        let start = Instant::now();
        for record in &mut batch {
            engine.server.handle_datagram(engine.now, address, record);
            assert!(engine.server.poll_event().is_some());
        }
        opened += start.elapsed();
        let start = Instant::now();
        for _ in 0..BATCH {
            engine
                .server
                .send(engine.now, association, &[5; 64])
                .unwrap();
            assert!(engine.server.poll_transmit().is_some());
        }
        sealed += start.elapsed();
    }
    report(&format!("record_open_{name}"), count, opened);
    report(&format!("record_seal_{name}"), count, sealed);
}

fn report(name: &str, count: u32, time: Duration) {
    let seconds = time.as_secs_f64().max(f64::MIN_POSITIVE);
    println!(
        "{name:<32} {:>12.0} a second and core",
        f64::from(count) / seconds
    );
}

/// What so many idle sessions take of the process's memory, tables included, principals not.
fn sessions(count: u32) {
    let mut engine = Engine::new();
    let config = client_config(CipherSuite::PskAes128Ccm8);
    // What clients and handshakes need in passing is there before the first count.
    for number in 0..count / 100 {
        engine.shake(&config, address(number));
    }
    let (before, first) = (resident(), engine.server.established());
    for number in count / 100..count {
        engine.shake(&config, address(number));
    }
    let (after, last) = (resident(), engine.server.established());
    let bytes = after.saturating_sub(before) / u64::try_from(last - first).unwrap();
    println!(
        "{:<32} {bytes:>12} bytes a session of {last}",
        "session_idle_memory"
    );
}

/// How long sessions take from one server to the next: half of them with an id, all with an owner of 48 bytes.
fn restart(count: u32) {
    let mut engine = Engine::new();
    let mut config = client_config(CipherSuite::PskAes128Ccm8);
    for number in 0..count {
        config.connection_id = (number % 2 == 0).then(Vec::new);
        engine.shake(&config, address(number));
    }
    let at = Moment {
        now: engine.now,
        wall: SystemTime::UNIX_EPOCH,
    };
    let key = SaveKey::new([5; 32]);
    let mut next = Engine::new().server;
    let start = Instant::now();
    let saved = engine.server.save(at, |_| Some(vec![1; 48]));
    let file = key.seal([6; 32], saved).unwrap();
    let (saving, length) = (start.elapsed(), file.len());
    let start = Instant::now();
    let loaded = next.load(at, &key.open(file).unwrap()).unwrap();
    let loading = start.elapsed();
    assert_eq!(loaded.sessions.len(), usize::try_from(count).unwrap());
    for (name, time) in [("save", saving), ("load", loading)] {
        let seconds = time.as_secs_f64();
        println!("{name:<32} {seconds:>12.3} seconds for {count} sessions, {length} bytes");
    }
}

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 5684).into()
}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
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

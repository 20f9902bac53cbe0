//! Very many seeds: every key exchange over every kind of bad network. A seed decides the case and the weather, so one that fails is
//! where to look: `DTLS_SEED=<seed> cargo test -p dtls-proto --test simulation seeds` runs it 200 times. Keys are random all the same,
//! and a signature may be a byte longer, so with certificates not each of these takes the very same way.
//!
//! `DTLS_SEEDS` is how many there are; without it 1,000.

use std::panic::catch_unwind;
use std::thread::{available_parallelism, scope};

use dtls_proto::{CipherSuite, Config, ConnectionIds, Event};

use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki;

const SUITES: [CipherSuite; 6] = [
    CipherSuite::PskAes128Ccm8,
    CipherSuite::EcdhePskAes128Ccm8Sha256,
    CipherSuite::EcdheEcdsaAes128Ccm8,
    CipherSuite::PskAes256GcmSha384,
    CipherSuite::EcdhePskAes256GcmSha384,
    CipherSuite::EcdheEcdsaAes256GcmSha384,
];

/// What a seed stands for.
#[derive(Debug)]
struct Case {
    suite: CipherSuite,
    weather: Weather,
    mtu: usize,
    ids: bool,
}

impl Case {
    /// Each part changes at its own pace, so that in time all meet all.
    fn of(seed: u64) -> Self {
        let pick = |divisor: u64, count: u64| (seed / divisor) % count;
        Self {
            suite: SUITES[usize::try_from(pick(1, 6)).unwrap()],
            ids: pick(6, 2) == 1,
            mtu: [100, 101, 128, 256, 500, 1232][usize::try_from(pick(12, 6)).unwrap()],
            weather: Weather {
                loss: seed.wrapping_mul(7) % 51,
                duplication: seed.wrapping_mul(11) % 31,
                delay: [1, 50, 400, 2_500][usize::try_from(pick(72, 4)).unwrap()],
            },
        }
    }

    fn pair(&self, seed: u64) -> Pair {
        let mut client = client_config();
        client.suites = vec![self.suite];
        client.mtu = self.mtu;
        client.certificate = Some(pki::device());
        let mut server = Config::default();
        server.mtu = self.mtu;
        server.identity = Some(pki::server());
        if self.ids {
            client.connection_id = Some(vec![7; usize::try_from(seed % 21).unwrap()]);
            server.connection_ids =
                ConnectionIds::new([0, 6, 8, 20][usize::try_from(seed % 4).unwrap()], 1, 2).ok();
        }
        Pair::with(client, server, self.weather, seed)
    }
}

/// Whether the client was let in. In any case both come to an end, agree, and nothing is left of what failed.
fn run(seed: u64) -> bool {
    let case = Case::of(seed);
    let mut pair = case.pair(seed);
    pair.run_out();
    let established = pair.client.is_established();
    assert!(established || pair.client.is_closed());
    assert_eq!(pair.server.handshaking(), 0);
    let announced = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::Established { .. }))
        .count();
    assert!(announced <= 1);
    for datagram in &pair.from_server {
        assert!(datagram.len() <= case.mtu, "{}", datagram.len());
    }
    if established {
        // Whoever has our Finished is known here.
        assert_eq!((announced, pair.server.established()), (1, 1));
        assert_eq!(pair.suite(), Some(case.suite));
        exchange(&mut pair, &case);
    }
    established
}

/// Data over the same network: none is doubled or changed, and where nothing is lost all comes.
fn exchange(pair: &mut Pair, case: &Case) {
    let association = pair.association().unwrap();
    let sent: Vec<[u8; 1]> = (0..20).map(|number| [number]).collect();
    for data in &sent {
        pair.client.send(pair.now, data).unwrap();
        pair.server.send(pair.now, association, data).unwrap();
    }
    pair.run_out();
    for mut data in [pair.server_data(), pair.client_data()] {
        data.sort_unstable();
        assert!(data.is_sorted_by(|a, b| a < b), "a record came twice");
        assert!(data.iter().all(|data| sent.iter().any(|sent| sent == data)));
        if case.weather.loss == 0 {
            assert_eq!(data.len(), sent.len());
        }
    }
}

#[test]
fn thousands_of_handshakes_end_well_or_leave_nothing() {
    let setting = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds: Vec<u64> = match setting("DTLS_SEED") {
        Some(seed) => vec![seed; 200],
        None => (0..setting("DTLS_SEEDS").unwrap_or(1_000)).collect(),
    };
    let share = seeds
        .len()
        .div_ceil(available_parallelism().map_or(1, usize::from));
    let work = |seeds: &[u64]| -> usize {
        seeds
            .iter()
            .filter(|seed| {
                let done = catch_unwind(|| run(**seed));
                done.unwrap_or_else(|_| panic!("seed {seed} failed: {:?}", Case::of(**seed)))
            })
            .count()
    };
    let established: usize = scope(|scope| {
        let threads: Vec<_> = seeds
            .chunks(share.max(1))
            .map(|seeds| scope.spawn(move || work(seeds)))
            .collect();
        threads.into_iter().map(|done| done.join().unwrap()).sum()
    });
    let count = seeds.len();
    eprintln!("{established} of {count} handshakes were established");
    // Half of all datagrams lost is the worst there is; most get through.
    assert!(count < 1_000 || established > count / 2);
}

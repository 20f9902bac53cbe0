//! Handshakes and data over a network that loses, doubles and delays.

use std::time::Duration;

use dtls_client::Event as ClientEvent;
use dtls_proto::{CipherSuite, Config, ConnectionIds, Event, HandshakeFailure};
use proptest::prelude::*;

use crate::network::{Towards, Weather};
use crate::pair::{Pair, client_config};
use crate::pki;

#[test]
fn every_handshake_ends_however_bad_the_network() {
    let mut established = 0;
    for seed in 0..600 {
        let weather = Weather {
            loss: seed % 51,
            duplication: seed % 20,
            delay: 1 + seed % 7 * 200,
        };
        let mtu = [64, 100, 300, 1232][usize::try_from(seed % 4).unwrap()];
        established += usize::from(ends(weather, mtu, seed));
    }
    assert!(
        established > 400,
        "only {established} of 600 were established"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_pattern_of_faults_ends(seed: u64, loss in 0..90_u64, duplication in 0..10_u64, delay in 1..3000_u64, mtu in 64..1300_usize) {
        ends(Weather { loss, duplication, delay }, mtu, seed);
    }
}

/// Whether the client was established; in any case, both sides must come to an end.
fn ends(weather: Weather, mtu: usize, seed: u64) -> bool {
    let mut client = client_config();
    client.mtu = mtu;
    client
        .suites
        .rotate_left(usize::try_from(seed % 3).unwrap());
    let mut server = Config::default();
    server.mtu = mtu;
    if seed % 3 == 2 {
        client.certificate = Some(pki::device());
        client.suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8];
        server.identity = Some(pki::server());
    }
    if seed % 2 == 1 {
        client.connection_id = Some(vec![7; usize::try_from(seed % 21).unwrap()]);
        server.connection_ids = ConnectionIds::new(8, 1, 2).ok();
    }
    let mut pair = Pair::with(client, server, weather, seed);
    pair.run_out();
    let established = pair.client.is_established();
    assert!(established || pair.client.is_closed(), "seed {seed}");
    assert_eq!(pair.server.handshaking(), 0, "seed {seed}");
    assert_eq!(pair.server.poll_timeout(), None, "seed {seed}");
    if !established {
        return false;
    }
    // Whoever has our Finished was established here, and each announced association that isn't was closed.
    assert_eq!(pair.server.established(), 1, "seed {seed}");
    assert_eq!(pair.requests(), pair.closed().len() + 1, "seed {seed}");
    let association = pair.association().unwrap();
    for number in 0..20_u8 {
        pair.client.send(pair.now, &[number]).unwrap();
        pair.server.send(pair.now, association, &[number]).unwrap();
    }
    pair.run_out();
    once_each(&pair.server_data(), seed);
    once_each(&pair.client_data(), seed);
    true
}

fn once_each(data: &[&[u8]], seed: u64) {
    let mut seen: Vec<_> = data.to_vec();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), data.len(), "seed {seed}: a record came twice");
    assert!(
        data.iter()
            .all(|record| record.len() == 1 && record[0] < 20),
        "seed {seed}"
    );
}

#[test]
fn a_lost_last_flight_is_sent_again_when_the_client_asks() {
    let mut pair = Pair::new();
    while pair.association().is_none() {
        pair.run_for(Duration::from_millis(1));
    }
    assert!(!pair.client.is_established());
    while pair
        .network
        .arrive(pair.now + Duration::from_secs(1))
        .is_some()
    {}
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
    assert_eq!(
        pair.client_events,
        [ClientEvent::Established {
            suite: CipherSuite::PskAes128Ccm8
        }]
    );
    assert_eq!(pair.server.statistics().retransmissions, 1);
    assert_eq!(pair.requests(), 1);
}

#[test]
fn a_lost_flight_is_sent_again_after_two_four_eight_and_sixteen_seconds_and_then_forgotten() {
    let mut pair = Pair::new();
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    // The client is gone for good.
    let start = pair.now;
    let mut sent = Vec::new();
    while pair.server.handshaking() > 0 {
        let due = pair.server.poll_timeout().unwrap();
        pair.server.handle_timeout(due);
        sent.extend(
            pair.server
                .poll_transmit()
                .map(|_| (due - start).as_secs_f64().round()),
        );
        assert_eq!(pair.server.poll_transmit(), None);
        pair.now = due;
    }
    assert_eq!(sent, [2.0, 6.0, 14.0, 30.0]);
    assert_eq!((pair.now - start).as_secs_f64().round(), 62.0);
    let told: Vec<_> = std::iter::from_fn(|| pair.server.poll_event()).collect();
    assert!(
        matches!(
            told[..],
            [Event::HandshakeFailed {
                failure: HandshakeFailure::ClientSilent,
                ..
            }]
        ),
        "nobody was asked for a key, so nobody is told that the association is closed: {told:?}"
    );
    assert_eq!(pair.server.statistics().handshakes_expired, 1);
}

#[test]
fn data_that_overtakes_the_finished_is_delivered_after_it() {
    let mut pair = Pair::new();
    while pair.association().is_none() {
        pair.run_for(Duration::from_millis(1));
    }
    let association = pair.association().unwrap();
    let (_, last_flight) = pair.take_next().unwrap();
    pair.server.send(pair.now, association, b"early").unwrap();
    pair.run_for(Duration::from_millis(10));
    assert!(!pair.client.is_established());
    pair.give(Towards::Client, &last_flight);
    assert!(pair.client.is_established());
    assert_eq!(pair.client_data(), [b"early"]);
}

#[test]
fn reordered_flights_need_no_retransmission() {
    for seed in 0..50 {
        let weather = Weather {
            loss: 0,
            duplication: 0,
            delay: 400,
        };
        let mut client = client_config();
        client.mtu = 64;
        let mut server = Config::default();
        server.mtu = 64;
        let mut pair = Pair::with(client, server, weather, seed);
        pair.run_out();
        assert!(pair.client.is_established(), "seed {seed}");
    }
}

#[test]
fn a_late_copy_of_the_hello_begins_nothing_beside_a_live_association() {
    let (mut pair, association) = Pair::established();
    let hello = pair.from_client[1].clone();
    pair.inject(&hello);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.statistics().duplicate_hellos, 1);
    assert_eq!(
        pair.server.send(pair.now, association, b"still here"),
        Ok(())
    );
}

#[test]
fn a_datagram_of_the_server_that_comes_twice_changes_nothing() {
    let (mut pair, _) = Pair::established();
    for datagram in pair.from_server.clone() {
        pair.network.send(pair.now, Towards::Client, &datagram);
    }
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
    assert_eq!(pair.client_events.len(), 1);
}

//! Connection ids (RFC 9146): a client that moves stays the same client.

use std::net::SocketAddr;
use std::time::Duration;

use dtls_client::{Client, MasterSecretKind};
use dtls_proto::codec::extension::{ExtensionType, put_extension};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
use dtls_proto::{CipherSuite, Config, ConnectionIds, Event, SendError, Server};

use crate::forge::forged_hello;
use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki;

const CID: u8 = ContentType::TLS12_CID.0;

fn elsewhere() -> SocketAddr {
    ([203, 0, 113, 77], 5000).into()
}

fn server_config(length: u8) -> Config {
    let mut config = Config::default();
    config.connection_ids = ConnectionIds::new(length, 1, 2).ok();
    config
}

fn with_ids(clients: usize, servers: u8) -> Pair {
    let mut config = client_config();
    config.connection_id = Some((0..clients).map(|i| u8::try_from(i).unwrap()).collect());
    let mut pair = Pair::with(config, server_config(servers), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
    pair
}

/// The client's next record, which the network never sees.
fn record(pair: &mut Pair, data: &[u8]) -> Vec<u8> {
    pair.client.send(pair.now, data).unwrap();
    pair.client.poll_transmit().unwrap()
}

#[test]
fn ids_of_all_lengths_carry_data_both_ways() {
    for servers in [0, 6, 7, 8, 13, 20] {
        for clients in 0..=20 {
            let mut pair = with_ids(clients, servers);
            assert!(pair.client.uses_connection_ids());
            let association = pair.association().unwrap();
            pair.client.send(pair.now, b"up").unwrap();
            pair.server.send(pair.now, association, b"down").unwrap();
            pair.run_for(Duration::from_secs(1));
            assert_eq!(pair.server_data(), [b"up"], "{clients} {servers}");
            assert_eq!(pair.client_data(), [b"down"], "{clients} {servers}");
            let up = pair.from_client.last().unwrap()[0];
            let down = pair.from_server.last().unwrap()[0];
            assert_eq!(up == CID, servers > 0, "{clients} {servers}");
            assert_eq!(down == CID, clients > 0, "{clients} {servers}");
        }
    }
}

#[test]
fn an_id_that_is_too_long_is_passed_over() {
    for length in 21..=255_usize {
        let mut config = client_config();
        config.connection_id = Some(vec![1; length]);
        let mut pair = Pair::with(config, server_config(8), Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.is_established(), "{length}");
        assert!(!pair.client.uses_connection_ids());
    }
}

#[test]
fn an_offer_whose_length_lies_is_refused() {
    for content in [&[][..], &[1], &[0, 1], &[4, 1, 2, 3], &[255]] {
        let mut extensions = Vec::new();
        put_extension(&mut extensions, ExtensionType::CONNECTION_ID, content);
        let mut pair = Pair::with(client_config(), server_config(8), Weather::FINE, 0);
        forged_hello(&mut pair, &[CipherSuite::PskAes128Ccm8.code()], &extensions);
        assert_eq!(pair.server.statistics().handshakes_refused, 1);
    }
}

#[test]
fn without_an_offer_or_a_setting_there_are_no_ids() {
    let mut pair = Pair::with(client_config(), server_config(8), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established() && !pair.client.uses_connection_ids());

    let mut config = client_config();
    config.connection_id = Some(Vec::new());
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established() && !pair.client.uses_connection_ids());
}

#[test]
fn every_suite_goes_with_ids() {
    for suite in CipherSuite::ALL {
        let mut config = client_config();
        config.certificate = Some(pki::device());
        config.connection_id = Some(b"c".to_vec());
        config.master_secret = MasterSecretKind::Plain;
        config.suites = vec![suite];
        let mut server = server_config(8);
        server.identity = Some(pki::server());
        let mut pair = Pair::with(config, server, Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        let Some(association) = pair.association() else {
            panic!("{suite}")
        };
        pair.client.send(pair.now, b"up").unwrap();
        pair.server.send(pair.now, association, b"down").unwrap();
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.server_data(), [b"up"]);
        assert_eq!(pair.client_data(), [b"down"]);
    }
}

#[test]
fn a_client_goes_on_from_another_address() {
    let mut pair = with_ids(4, 8);
    let association = pair.association().unwrap();
    pair.address = elsewhere();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [b"moved"]);
    assert!(
        pair.server_events.iter().any(
            |event| matches!(event, Event::ApplicationData { peer, .. } if *peer == elsewhere())
        )
    );
    assert_eq!(pair.server.statistics().address_changes, 1);
    pair.server.send(pair.now, association, b"found").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.client_data(), [b"found"]);
    assert_eq!(pair.server.established(), 1);
    pair.client.close(pair.now);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.established(), 0);
}

#[test]
fn without_an_id_another_address_is_another_client() {
    let (mut pair, _) = Pair::established();
    pair.address = elsewhere();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [] as [&[u8]; 0]);
    assert_eq!(pair.server.statistics().no_association, 1);
}

#[test]
fn an_old_or_replayed_record_from_another_address_moves_nothing() {
    let mut pair = with_ids(4, 8);
    let association = pair.association().unwrap();
    let (old, new) = (record(&mut pair, b"old"), record(&mut pair, b"new"));
    pair.inject(&new);
    pair.inject_from(elsewhere(), &new);
    pair.inject_from(elsewhere(), &old);
    assert_eq!(pair.server_data(), [b"new", b"old"]);
    let statistics = pair.server.statistics();
    assert_eq!(statistics.replayed_records, 1);
    assert_eq!(statistics.address_changes, 0);
    pair.server.send(pair.now, association, b"home").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.client_data(), [b"home"]);
}

#[test]
fn a_forged_record_from_another_address_moves_nothing() {
    let mut pair = with_ids(4, 8);
    let good = record(&mut pair, b"true");
    for at in 0..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 0x20;
        pair.inject_from(elsewhere(), &forged);
        pair.inject_from(elsewhere(), &good[..at]);
    }
    assert_eq!(pair.server.statistics().address_changes, 0);
    assert_eq!(pair.server_data(), [] as [&[u8]; 0]);
    pair.inject(&good);
    assert_eq!(pair.server_data(), [b"true"]);
}

#[test]
fn ids_of_nobody_and_of_every_length_are_dropped() {
    let mut pair = with_ids(4, 8);
    for length in 0..=255_usize {
        let mut datagram = vec![CID, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9];
        datagram.extend(vec![0x33; length]);
        datagram.extend([0, 40]);
        datagram.extend([0; 40]);
        pair.inject(&datagram);
        pair.inject_from(elsewhere(), &datagram);
    }
    // In plaintext there are no ids.
    let mut record = Vec::new();
    let header = RecordHeader::new(ContentType::TLS12_CID, 0, 9);
    put_plain_record(header, &[0; 60], &mut record);
    pair.inject(&record);
    assert!(pair.server.statistics().unknown_connection_ids > 0);
    assert_eq!(pair.server.established(), 1);
    let good = self::record(&mut pair, b"still here");
    pair.inject(&good);
    assert_eq!(pair.server_data(), [b"still here"]);
}

#[test]
fn an_id_dies_with_its_association() {
    let mut pair = with_ids(4, 8);
    let association = pair.association().unwrap();
    let late = record(&mut pair, b"late");
    pair.server.close(pair.now, association);
    pair.drain();
    pair.inject(&late);
    assert_eq!(pair.server.statistics().unknown_connection_ids, 1);
    assert_eq!(
        pair.server.send(pair.now, association, b"?"),
        Err(SendError::NotEstablished)
    );
}

/// RFC 6347 §4.2.8 and a NAT that gives an address to somebody else: the one that had it before may come back from another.
#[test]
fn a_new_handshake_from_the_address_of_a_client_with_an_id_leaves_it_alive() {
    let mut pair = with_ids(4, 8);
    let mut old_client = pair.replace_client(client_config());
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
    assert_eq!(pair.server.established(), 2);
    assert_eq!(pair.closed(), []);
    old_client.send(pair.now, b"old").unwrap();
    let record = old_client.poll_transmit().unwrap();
    pair.inject_from(elsewhere(), &record);
    pair.client.send(pair.now, b"new").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [b"old", b"new"]);
}

/// A client can forge the sender's address of its own records; that must not take the address away from whoever is there.
#[test]
fn a_client_that_moves_to_the_address_of_another_does_not_displace_it() {
    let mut config = client_config();
    config.connection_id = Some(Vec::new());
    let mut pair = Pair::with(config, server_config(8), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let mut mallory = pair.replace_client(client_config());
    pair.address = elsewhere();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.established(), 2);
    mallory.send(pair.now, b"mallory").unwrap();
    let forged = mallory.poll_transmit().unwrap();
    pair.inject(&forged);
    assert_eq!(pair.server.statistics().address_changes, 1);
    pair.client.send(pair.now, b"alice").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [&b"mallory"[..], b"alice"]);
}

#[test]
fn a_handshake_is_bound_to_its_address() {
    let mut config = client_config();
    config.connection_id = Some(b"c".to_vec());
    let mut pair = Pair::with(config, server_config(8), Weather::FINE, 0);
    while pair.from_client.len() < 3 {
        pair.run_for(Duration::from_millis(1));
    }
    let (_, flight) = pair.take_next().unwrap();
    pair.inject_from(elsewhere(), &flight);
    assert_eq!(pair.association(), None);
    assert!(pair.server.statistics().no_association > 0);
    pair.inject(&flight);
    assert!(pair.association().is_some());
}

#[test]
fn a_thousand_ids_differ() {
    let mut server = Server::new(server_config(6), [1; 32]);
    let now = crate::pair::start();
    for number in 0..1000_u16 {
        let address: SocketAddr = ([198, 51, 100, 7], number).into();
        let mut config = client_config();
        config.connection_id = Some(Vec::new());
        let mut client = Client::new(now, config).unwrap();
        for _ in 0..2 {
            let mut hello = client.poll_transmit().unwrap();
            server.handle_datagram(now, address, &mut hello);
            while let Some(mut transmit) = server.poll_transmit() {
                client.handle_datagram(now, &mut transmit.payload);
            }
        }
    }
    assert_eq!(server.handshaking(), 1000);
    assert_eq!(server.connection_ids(), 1000);
}

//! Messages that are skipped, repeated, out of place, or in plaintext where they must not be.

use std::time::Duration;

use dtls_client::MasterSecretKind;
use dtls_proto::codec::alert::Alert;
use dtls_proto::codec::handshake::{HandshakeType, message};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record, split_first};
use dtls_proto::{AlertDescription, CloseReason, Config};

use crate::network::{Towards, Weather};
use crate::pair::{Pair, client_config};

fn plain(content_type: ContentType, fragment: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    put_plain_record(
        RecordHeader::new(content_type, 0, 77),
        fragment,
        &mut record,
    );
    record
}

/// A pair whose server has sent its flight, which has not arrived.
fn flight_is_out() -> Pair {
    let mut pair = Pair::new();
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    pair
}

#[test]
fn a_finished_in_plaintext_is_not_taken() {
    let mut pair = flight_is_out();
    for message_seq in 1..5 {
        let finished = message(HandshakeType::FINISHED, message_seq, &[0; 12]);
        pair.inject(&plain(ContentType::HANDSHAKE, &finished));
    }
    assert_eq!(pair.association(), None);
    // The client's own handshake goes on.
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

#[test]
fn a_key_exchange_that_cannot_be_decoded_does_not_stand_in_the_way() {
    let mut pair = flight_is_out();
    for body in [&[][..], &[0], &[0, 5, 1], &[0, 0, 1]] {
        let message = message(HandshakeType::CLIENT_KEY_EXCHANGE, 2, body);
        pair.inject(&plain(ContentType::HANDSHAKE, &message));
    }
    assert_eq!(pair.requests(), 0);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

#[test]
fn messages_of_no_pre_shared_key_handshake_do_not_stand_in_the_way() {
    let mut pair = flight_is_out();
    for kind in 0..=255 {
        if ![1, 16].contains(&kind) {
            let message = message(HandshakeType(kind), 2, &[0; 4]);
            pair.inject(&plain(ContentType::HANDSHAKE, &message));
        }
    }
    assert_eq!(pair.server.statistics().unexpected_messages, 254);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

#[test]
fn without_change_cipher_spec_the_finished_is_not_taken() {
    let mut pair = flight_is_out();
    let (_, mut flight) = pair.take_next().unwrap();
    pair.client.handle_datagram(pair.now, &mut flight);
    let mut datagram = pair.client.poll_transmit().unwrap();
    // ClientKeyExchange and Finished alone, again and again.
    let mut rest = datagram.as_mut_slice();
    while let Ok(split) = split_first(rest, 0) {
        if split.header.content_type != ContentType::CHANGE_CIPHER_SPEC {
            let mut record = Vec::new();
            put_plain_record(split.header, split.fragment, &mut record);
            pair.inject(&record);
        }
        rest = split.rest;
    }
    assert_eq!(pair.requests(), 1);
    assert_eq!(pair.association(), None);
    pair.inject(&plain(ContentType::CHANGE_CIPHER_SPEC, &[1]));
    assert!(
        pair.association().is_some(),
        "the Finished was held until its turn came"
    );
}

#[test]
fn an_early_change_cipher_spec_does_no_harm() {
    let mut pair = flight_is_out();
    for _ in 0..3 {
        pair.inject(&plain(ContentType::CHANGE_CIPHER_SPEC, &[1]));
    }
    pair.inject(&plain(ContentType::CHANGE_CIPHER_SPEC, &[2]));
    pair.inject(&plain(ContentType::CHANGE_CIPHER_SPEC, &[]));
    assert_eq!(pair.server.statistics().malformed_messages, 2);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

#[test]
fn rubbish_in_the_clients_name_cannot_shut_its_finished_out() {
    let mut pair = Pair::new();
    pair.lookup = Some(Duration::from_secs(1));
    while pair.requests() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    for (number, content_type) in [
        (1_000, ContentType::APPLICATION_DATA),
        (1_001, ContentType::HANDSHAKE),
    ] {
        for sequence in 0..100 {
            let header = RecordHeader::new(content_type, 1, number * 100 + sequence);
            let mut record = Vec::new();
            put_plain_record(header, &[0; 60], &mut record);
            pair.inject(&record);
        }
    }
    assert!(pair.server.statistics().early_records_dropped > 100);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

#[test]
fn an_alert_in_plaintext_ends_a_handshake_only_before_it_has_keys() {
    let alert = plain(
        ContentType::ALERT,
        &Alert::fatal(AlertDescription::HANDSHAKE_FAILURE).encode(),
    );
    let mut pair = flight_is_out();
    pair.inject(&alert);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.statistics().handshakes_aborted, 1);

    let mut pair = Pair::new();
    pair.lookup = Some(Duration::from_secs(1));
    while pair.requests() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    pair.inject(&alert);
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
}

/// Without the extended master secret both have the same keys although they saw different handshakes; the Finished tells.
#[test]
fn a_handshake_whose_messages_were_changed_is_ended_by_an_alert() {
    let mut config = client_config();
    config.master_secret = MasterSecretKind::Plain;
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    let (_, mut flight) = pair.take_next().unwrap();
    // renegotiation_info becomes an extension nobody knows
    let at = flight
        .windows(2)
        .position(|bytes| bytes == [0xff, 0x01])
        .unwrap();
    flight[at + 1] = 0x02;
    pair.give(Towards::Client, &flight);
    pair.run_for(Duration::from_millis(10));
    assert_eq!(pair.closed(), [CloseReason::HandshakeFailed]);
    assert_eq!(pair.server.statistics().handshakes_failed, 1);
    assert_eq!(pair.association(), None);
    let alert = pair.from_server.last().unwrap();
    assert_eq!(alert[0], ContentType::ALERT.0);
    assert_eq!(alert[4], 0, "our ChangeCipherSpec has not gone out");
}

#[test]
fn plaintext_data_and_unknown_epochs_are_dropped() {
    let (mut pair, _) = Pair::established();
    pair.inject(&plain(ContentType::APPLICATION_DATA, b"plain"));
    for epoch in [2, 3, u16::MAX] {
        let mut record = Vec::new();
        let header = RecordHeader::new(ContentType::APPLICATION_DATA, epoch, 5);
        put_plain_record(header, &[0; 40], &mut record);
        pair.inject(&record);
    }
    for content_type in [0, 19, 24, 25, 255] {
        pair.inject(&plain(ContentType(content_type), b"what"));
    }
    assert_eq!(pair.server_data(), [] as [&[u8]; 0]);
    let statistics = pair.server.statistics();
    assert_eq!(statistics.early_application_data, 1);
    assert_eq!(statistics.wrong_epoch, 3);
    assert_eq!(statistics.unknown_records, 5);
}

#[test]
fn a_hello_of_an_old_version_is_refused_by_an_alert() {
    let mut pair = Pair::new();
    pair.drain();
    let mut hello = pair.from_client[0].clone();
    // client_version, behind the headers of record and message
    hello[26] = 0xff;
    let verify_request = {
        pair.inject(&hello);
        pair.from_server.last().unwrap().clone()
    };
    let cookie = &verify_request[28..44];
    let mut body = hello[25..].to_vec();
    body.splice(35..36, [&[16][..], cookie].concat());
    let message = message(HandshakeType::CLIENT_HELLO, 1, &body);
    pair.inject(&plain(ContentType::HANDSHAKE, &message));
    assert_eq!(pair.server.statistics().handshakes_refused, 1);
    assert_eq!(
        pair.from_server.last().unwrap()[13..],
        [2, AlertDescription::PROTOCOL_VERSION.0]
    );
}

/// Hono serves these as if they were `fefd`: records of version `fefe`, and hellos of a version that
/// counts as newer than 1.0 but is none.
#[test]
fn only_the_version_of_dtls_1_2_is_served() {
    let mut pair = Pair::new();
    pair.drain();
    let mut record = pair.from_client[0].clone();
    record[1..3].copy_from_slice(&[0xfe, 0xfe]);
    let before = pair.from_server.len();
    pair.inject(&record);
    assert_eq!(
        pair.from_server.len(),
        before,
        "a record of fefe is dropped"
    );
    for version in [[0xfe, 0xfe], [0x03, 0x03]] {
        let mut pair = Pair::new();
        pair.drain();
        let mut hello = pair.from_client[0].clone();
        hello[25..27].copy_from_slice(&version);
        pair.inject(&hello);
        let cookie = pair.from_server.last().unwrap()[28..44].to_vec();
        let mut body = hello[25..].to_vec();
        body.splice(35..36, [&[16][..], &cookie].concat());
        let message = message(HandshakeType::CLIENT_HELLO, 1, &body);
        pair.inject(&plain(ContentType::HANDSHAKE, &message));
        assert_eq!(
            pair.from_server.last().unwrap()[13..],
            [2, AlertDescription::PROTOCOL_VERSION.0],
            "{version:x?}"
        );
    }
}

/// Whatever byte of whatever datagram is changed on the way, the handshake comes to an end, and a good one follows it.
#[test]
fn a_handshake_with_one_byte_changed_ends() {
    let (template, _) = Pair::established();
    for (index, datagram) in template.from_client.iter().enumerate() {
        for at in 0..datagram.len() {
            let mut pair = Pair::with(client_config(), Config::default(), Weather::FINE, 0);
            let mut changed = false;
            while !changed && pair.network_is_busy() {
                let Some((towards, mut payload)) = pair.take_next() else {
                    break;
                };
                if towards == Towards::Server && pair.from_client.len() == index + 1 {
                    payload[at] ^= 0x55;
                    changed = true;
                }
                pair.give(towards, &payload);
            }
            assert!(changed, "datagram {index} byte {at}");
            pair.run_out();
            assert_eq!(pair.server.handshaking(), 0, "datagram {index} byte {at}");
            let outcome = pair.client.is_established() || pair.client.is_closed();
            assert!(outcome, "datagram {index} byte {at}");
            pair.replace_client(client_config());
            pair.run_for(Duration::from_secs(5));
            assert!(pair.client.is_established(), "datagram {index} byte {at}");
        }
    }
}

//! Established associations: data, replay, end, and a new handshake from the same address.

use std::time::Duration;

use dtls_client::{ContentType, Event as ClientEvent};
use dtls_proto::codec::alert::Alert;
use dtls_proto::codec::record::{MAX_SEQUENCE, RecordHeader, put_plain_record};
use dtls_proto::{AlertDescription, CloseReason, SendError};

use crate::pair::{Pair, client_config};

#[test]
fn a_replayed_record_is_delivered_once() {
    let (mut pair, _) = Pair::established();
    pair.client.send(pair.now, b"once").unwrap();
    pair.run_for(Duration::from_secs(1));
    let record = pair.from_client.last().unwrap().clone();
    pair.inject(&record);
    pair.inject(&record);
    assert_eq!(pair.server_data(), [b"once"]);
    assert_eq!(pair.server.statistics().replayed_records, 2);
}

#[test]
fn a_changed_record_is_dropped_and_the_true_one_still_taken() {
    let (mut pair, _) = Pair::established();
    pair.client.send(pair.now, b"true").unwrap();
    let record = pair.client.poll_transmit().unwrap();
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 0x10;
        pair.inject(&changed);
    }
    assert_eq!(pair.server_data(), [] as [&[u8]; 0]);
    assert_eq!(pair.closed(), []);
    pair.inject(&record);
    assert_eq!(pair.server_data(), [b"true"]);
}

#[test]
fn close_notify_is_answered_and_ends_the_association() {
    let (mut pair, association) = Pair::established();
    let sent = pair.from_server.len();
    pair.client.close(pair.now);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed(), [CloseReason::PeerClosed]);
    assert_eq!(pair.from_server.len(), sent + 1, "a close_notify in return");
    assert_eq!(
        pair.server.send(pair.now, association, b"?"),
        Err(SendError::NotEstablished)
    );
    assert_eq!(pair.server.established(), 0);
}

#[test]
fn the_server_can_end_the_association() {
    let (mut pair, association) = Pair::established();
    pair.server.close(pair.now, association);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed(), [CloseReason::Local]);
    assert_eq!(
        pair.client_events.last(),
        Some(&ClientEvent::Closed(dtls_client::CloseReason::PeerClosed))
    );
}

#[test]
fn a_handshake_can_be_ended_while_its_key_is_looked_up() {
    let mut pair = Pair::new();
    pair.lookup = None;
    pair.run_for(Duration::from_millis(100));
    let association = pair
        .server_events
        .iter()
        .find_map(|event| match event {
            dtls_proto::Event::PskRequested { association, .. } => Some(*association),
            _ => None,
        })
        .unwrap();
    pair.server.close(pair.now, association);
    pair.drain();
    assert_eq!(pair.closed(), [CloseReason::Local]);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn a_fatal_alert_ends_the_association_and_a_warning_does_not() {
    let (mut pair, _) = Pair::established();
    let warning = Alert::warning(AlertDescription(90));
    pair.client
        .send_record(ContentType::ALERT, &warning.encode())
        .unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.closed(), []);
    let fatal = Alert::fatal(AlertDescription::INTERNAL_ERROR);
    pair.client
        .send_record(ContentType::ALERT, &fatal.encode())
        .unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(
        pair.closed(),
        [CloseReason::PeerAlert(AlertDescription::INTERNAL_ERROR)]
    );
}

#[test]
fn a_plaintext_alert_does_not_touch_a_live_association() {
    let (mut pair, association) = Pair::established();
    for alert in [
        Alert::CLOSE_NOTIFY,
        Alert::fatal(AlertDescription::HANDSHAKE_FAILURE),
    ] {
        let mut record = Vec::new();
        put_plain_record(
            RecordHeader::new(ContentType::ALERT, 0, 9),
            &alert.encode(),
            &mut record,
        );
        pair.inject(&record);
    }
    assert_eq!(pair.closed(), []);
    assert_eq!(pair.server.statistics().ignored_alerts, 2);
    assert_eq!(
        pair.server.send(pair.now, association, b"still here"),
        Ok(())
    );
}

#[test]
fn a_hello_inside_the_association_is_refused_by_a_warning() {
    let (mut pair, association) = Pair::established();
    let hello = pair.from_client[1][13..].to_vec();
    pair.client
        .send_record(ContentType::HANDSHAKE, &hello)
        .unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.statistics().renegotiations_refused, 1);
    assert_eq!(pair.server.handshaking(), 0);
    assert!(pair.client.is_established());
    assert_eq!(
        pair.server.send(pair.now, association, b"still here"),
        Ok(())
    );
}

/// RFC 6347 §4.2.8: an attacker who can send from the address of a live association must not be able to end it.
#[test]
fn a_new_handshake_replaces_the_old_association_only_when_it_is_done() {
    let (mut pair, old) = Pair::established();
    pair.lookup = Some(Duration::from_secs(3));
    let mut old_client = pair.replace_client(client_config());
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.requests(), 2);
    assert_eq!(pair.server.handshaking(), 1);
    // The old one goes on, both ways.
    old_client.send(pair.now, b"old").unwrap();
    let record = old_client.poll_transmit().unwrap();
    pair.inject(&record);
    assert_eq!(pair.server_data(), [b"old"]);
    assert_eq!(pair.server.send(pair.now, old, b"old"), Ok(()));
    let mut answer = pair.server.poll_transmit().unwrap();
    old_client.handle_datagram(pair.now, &mut answer.payload);
    assert_eq!(
        old_client.poll_event(),
        Some(ClientEvent::ApplicationData(b"old".to_vec()))
    );

    pair.run_for(Duration::from_secs(5));
    assert!(pair.client.is_established());
    assert_eq!(pair.closed(), [CloseReason::Replaced]);
    assert_eq!(pair.server.established(), 1);
    assert_eq!(
        pair.server.send(pair.now, old, b"old"),
        Err(SendError::NotEstablished)
    );
    pair.client.send(pair.now, b"new").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [b"old", b"new"]);
}

#[test]
fn a_new_handshake_that_fails_leaves_the_old_association_alone() {
    let (mut pair, old) = Pair::established();
    let mut config = client_config();
    config.key = dtls_client::Psk::from(b"wrong".as_slice());
    let mut old_client = pair.replace_client(config);
    pair.run_out();
    assert!(pair.client.is_closed());
    assert_eq!(pair.closed(), [CloseReason::HandshakeTimeout]);
    assert_eq!(pair.server.send(pair.now, old, b"still here"), Ok(()));
    old_client.send(pair.now, b"old").unwrap();
    let record = old_client.poll_transmit().unwrap();
    pair.inject(&record);
    assert_eq!(pair.server_data(), [b"old"]);
}

#[test]
fn the_last_sequence_number_ends_the_association() {
    let (mut pair, association) = Pair::established();
    pair.server.skip_to_sequence(association, MAX_SEQUENCE);
    assert_eq!(pair.server.send(pair.now, association, b"last"), Ok(()));
    assert_eq!(
        pair.server.send(pair.now, association, b"more"),
        Err(SendError::SequenceExhausted)
    );
    pair.drain();
    assert_eq!(pair.closed(), [CloseReason::SequenceExhausted]);
    assert_eq!(
        pair.server.send(pair.now, association, b"more"),
        Err(SendError::NotEstablished)
    );
}

#[test]
fn the_longest_record_goes_through_and_a_longer_one_is_refused() {
    let (mut pair, association) = Pair::established();
    assert_eq!(
        pair.server.send(pair.now, association, &[7; 16_384]),
        Ok(())
    );
    assert_eq!(
        pair.server.send(pair.now, association, &[7; 16_385]),
        Err(SendError::TooLarge { limit: 16_384 })
    );
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.client_data(), [[7; 16_384]]);
}

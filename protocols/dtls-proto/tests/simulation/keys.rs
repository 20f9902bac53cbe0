//! Keys that are unknown, wrong, late, or slow to find.

use std::time::Duration;

use dtls_client::Event as ClientEvent;
use dtls_proto::{CloseReason, Config, Event, Psk};

use crate::network::Weather;
use crate::pair::{KEY, Pair, client_config};

/// The sizes of all datagrams the server sent to a client that can't prove its key.
fn failed(change: impl FnOnce(&mut dtls_client::Config), lookup: Option<Duration>) -> Vec<usize> {
    let mut config = client_config();
    change(&mut config);
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.lookup = lookup;
    pair.run_out();
    assert_eq!(
        pair.client_events,
        [ClientEvent::Closed(
            dtls_client::CloseReason::HandshakeTimeout
        )]
    );
    assert_eq!(pair.closed(), [CloseReason::HandshakeTimeout]);
    assert_eq!(pair.requests(), 1);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.established(), 0);
    pair.from_server.iter().map(Vec::len).collect()
}

#[test]
fn wrong_key_unknown_identity_and_an_endless_look_up_look_all_the_same() {
    let wrong_key = failed(
        |config| config.key = Psk::from(b"guess".as_slice()),
        Some(Duration::ZERO),
    );
    let unknown = failed(
        |config| config.identity = b"sensor9@DEFAULT_TENANT".to_vec(),
        Some(Duration::ZERO),
    );
    let endless = failed(|_| (), None);
    assert_eq!(
        wrong_key.len(),
        2,
        "a HelloVerifyRequest and one flight, nothing more"
    );
    assert_eq!(wrong_key, unknown);
    assert_eq!(wrong_key, endless);
}

#[test]
fn a_key_is_asked_for_once_however_often_the_client_sends_again() {
    let mut pair = Pair::new();
    pair.lookup = Some(Duration::from_secs(8));
    pair.run_for(Duration::from_secs(7));
    assert!(
        pair.from_client.len() >= 5,
        "the client sent its flight again"
    );
    assert_eq!(pair.requests(), 1);
    assert_eq!(
        pair.from_server.len(),
        2,
        "the server sends nothing while it waits"
    );
    pair.run_for(Duration::from_secs(2));
    assert!(pair.client.is_established());
    assert_eq!(pair.requests(), 1);
}

#[test]
fn a_key_that_comes_after_the_deadline_has_no_effect() {
    let mut pair = Pair::new();
    pair.lookup = None;
    pair.run_for(Duration::from_secs(11));
    assert_eq!(pair.server.statistics().psk_deadlines, 1);
    let Event::PskRequested { association, .. } = pair.server_events[0] else {
        panic!()
    };
    pair.server
        .provide_psk(pair.now, association, Some(Psk::from(KEY)));
    pair.run_out();
    assert_eq!(pair.association(), None);
}

#[test]
fn an_empty_key_is_no_key() {
    let mut config = client_config();
    config.key = Psk::new(Vec::new());
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.lookup = None;
    pair.run_for(Duration::from_secs(1));
    let Event::PskRequested { association, .. } = pair.server_events[0] else {
        panic!()
    };
    pair.server
        .provide_psk(pair.now, association, Some(Psk::new(Vec::new())));
    pair.run_out();
    assert_eq!(pair.association(), None);
}

#[test]
fn an_answer_to_nobody_is_passed_over() {
    let (mut pair, association) = Pair::established();
    pair.server.provide_psk(pair.now, association, None);
    assert_eq!(
        pair.server.send(pair.now, association, b"still here"),
        Ok(())
    );
}

#[test]
fn a_second_answer_is_passed_over() {
    let mut pair = Pair::new();
    pair.lookup = None;
    while pair.requests() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    let Event::PskRequested { association, .. } = pair.server_events[0] else {
        panic!()
    };
    pair.server
        .provide_psk(pair.now, association, Some(Psk::from(KEY)));
    pair.server.provide_psk(pair.now, association, None);
    pair.run_for(Duration::from_secs(5));
    assert!(pair.client.is_established());
}

#[test]
fn keys_are_never_printed() {
    let key = Psk::from(b"secret1".as_slice());
    assert_eq!(format!("{key:?}"), "Psk(..)");
    let (pair, _) = Pair::established();
    assert!(!format!("{:?}", pair.client).contains("secret1"));
}

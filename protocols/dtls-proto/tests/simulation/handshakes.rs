//! Handshakes on a network without faults.

use std::time::Duration;

use dtls_client::MasterSecretKind;
use dtls_proto::codec::ProtocolVersion;
use dtls_proto::codec::extension::MaxFragmentLength;
use dtls_proto::codec::handshake::{HandshakeType, read_fragments};
use dtls_proto::codec::record::{ContentType, RecordHeader, split_first};
use dtls_proto::{AlertDescription, CipherSuite, Config, Event, SendError};

use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki::{device, server_config};

#[test]
fn every_suite_carries_data_both_ways() {
    for suite in CipherSuite::ALL {
        for master_secret in [MasterSecretKind::Extended, MasterSecretKind::Plain] {
            let mut config = client_config();
            config.certificate = Some(device());
            config.suites = vec![suite];
            config.master_secret = master_secret;
            let mut pair = Pair::with(config, server_config(), Weather::FINE, 0);
            pair.run_for(Duration::from_secs(1));
            let association = pair.association().expect("established");
            assert_eq!(pair.suite(), Some(suite));
            pair.client.send(pair.now, b"up").unwrap();
            pair.server.send(pair.now, association, b"down").unwrap();
            pair.run_for(Duration::from_secs(1));
            assert_eq!(pair.server_data(), [b"up"]);
            assert_eq!(pair.client_data(), [b"down"]);
        }
    }
}

#[test]
fn the_order_of_the_client_decides_the_suite() {
    for suites in [
        [CipherSuite::PskAes128Ccm8, CipherSuite::PskAes128GcmSha256],
        [CipherSuite::PskAes128GcmSha256, CipherSuite::PskAes128Ccm8],
    ] {
        let mut config = client_config();
        config.suites = suites.to_vec();
        let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.suite(), Some(suites[0]));
    }
}

#[test]
fn a_suite_that_is_switched_off_is_passed_over() {
    let mut server = Config::default();
    server.suites = vec![CipherSuite::PskAes128Ccm];
    let mut pair = Pair::with(client_config(), server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.suite(), Some(CipherSuite::PskAes128Ccm));
}

#[test]
fn no_common_suite_is_told_by_an_alert_but_only_to_a_proved_address() {
    let mut config = client_config();
    config.suites = vec![CipherSuite::PskAes128Ccm8];
    let mut server = Config::default();
    server.suites = vec![CipherSuite::PskAes128Ccm];
    let mut pair = Pair::with(config, server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(
        pair.client_events,
        [dtls_client::Event::Closed(
            dtls_client::CloseReason::PeerAlert(AlertDescription::HANDSHAKE_FAILURE)
        )]
    );
    assert_eq!(
        pair.from_server.len(),
        2,
        "a HelloVerifyRequest and an alert"
    );
    assert_eq!(pair.server.statistics().handshakes_refused, 1);
    assert_eq!(pair.requests(), 0);
    assert_eq!(pair.server.handshaking(), 0);
}

#[test]
fn datagrams_stay_within_the_mtu() {
    for mtu in [64, 65, 80, 100, 127, 200, 500, 1232] {
        let mut config = client_config();
        config.mtu = mtu;
        config.identity = b"sensor1@DEFAULT_TENANT".to_vec();
        config.server_name = Some("tenant.example".to_owned());
        let mut server = Config::default();
        server.mtu = mtu;
        let mut pair = Pair::with(config, server, Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.association().is_some(), "{mtu}");
        assert!(
            pair.from_server
                .iter()
                .all(|datagram| datagram.len() <= mtu),
            "{mtu}"
        );
        // The two ClientHellos are never cut.
        let others = pair.from_client.iter().skip(2);
        assert!(others.clone().count() > 0);
        assert!(
            others.clone().all(|datagram| datagram.len() <= mtu),
            "{mtu}"
        );
    }
}

#[test]
fn small_records_are_agreed_on() {
    let mut config = client_config();
    config.max_fragment_length = MaxFragmentLength::new(1);
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let association = pair.association().unwrap();
    assert_eq!(
        pair.server.send(pair.now, association, &[0; 513]),
        Err(SendError::TooLarge { limit: 512 })
    );
    assert_eq!(pair.server.send(pair.now, association, &[0; 512]), Ok(()));
}

/// Hono drops such hellos without an answer, for an underscore is no letter of a host name; tenants
/// have them.
#[test]
fn a_server_name_may_have_an_underscore() {
    let mut config = client_config();
    config.server_name = Some("DEFAULT_TENANT.example.com".to_owned());
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let Some(Event::PskRequested { server_name, .. }) = pair.server_events.first() else {
        panic!("{:?}", pair.server_events);
    };
    assert_eq!(server_name.as_deref(), Some("DEFAULT_TENANT.example.com"));
}

#[test]
fn the_caller_hears_of_identity_and_server_name_as_sent() {
    let mut config = client_config();
    config.identity = vec![0xff, 0x00, b'@'];
    config.server_name = Some("tenant.example".to_owned());
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    match &pair.server_events[..] {
        [
            Event::PskRequested {
                identity,
                server_name,
                ..
            },
            Event::HandshakeFailed { .. },
        ] => {
            assert_eq!(identity, &[0xff, 0x00, b'@']);
            assert_eq!(server_name.as_deref(), Some("tenant.example"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_longest_identity_is_asked_for_and_a_longer_one_meets_silence() {
    for (length, requests) in [(512, 1), (513, 0)] {
        let mut config = client_config();
        config.identity = vec![b'x'; length];
        let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
        pair.run_out();
        assert_eq!(pair.requests(), requests);
        assert_eq!(pair.server.handshaking(), 0);
    }
}

/// RFC 6347 §4.2.1: as the server keeps nothing, its first records have the client's record numbers, its messages go on from the
/// client's.
#[test]
fn the_first_numbers_are_the_clients() {
    let (pair, _) = Pair::established();
    let [verify, flight, ..] = &pair.from_server[..] else {
        panic!()
    };
    let (header, message_type, message_seq) = first_message(verify);
    assert_eq!(
        (header.sequence, message_type, message_seq),
        (0, HandshakeType::HELLO_VERIFY_REQUEST, 0)
    );
    assert_eq!(header.version, ProtocolVersion::DTLS_1_2);
    let (header, message_type, message_seq) = first_message(flight);
    assert_eq!(
        (header.sequence, message_type, message_seq),
        (1, HandshakeType::SERVER_HELLO, 1)
    );
    assert_eq!(header.version, ProtocolVersion::DTLS_1_2);
}

/// Symptom: clients that take no hint of no length fail, and each handshake has 27 bytes more. Cause:
/// a ServerKeyExchange without a hint, which RFC 4279 §2 leaves out. RFC 5489 §2 needs it for the point.
#[test]
fn a_server_key_exchange_is_sent_only_where_it_says_something() {
    for (suite, expected) in [
        (CipherSuite::PskAes128Ccm8, None),
        (CipherSuite::PskAes128GcmSha256, None),
        (CipherSuite::EcdhePskAes128Ccm8Sha256, Some([0, 0])),
    ] {
        let mut config = client_config();
        config.suites = vec![suite];
        let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.is_established(), "{suite:?}");
        let exchange = pair.message_of_server(HandshakeType::SERVER_KEY_EXCHANGE);
        let hint = exchange.map(|body| [body[0], body[1]]);
        assert_eq!(hint, expected, "{suite:?}");
    }
}

#[test]
fn an_established_association_needs_no_timer() {
    let (pair, _) = Pair::established();
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.established(), 1);
}

#[test]
fn an_idle_association_is_small() {
    let size = dtls_proto::Server::association_size();
    assert!(size <= 232, "{size} bytes");
}

fn first_message(datagram: &[u8]) -> (RecordHeader, HandshakeType, u16) {
    let mut datagram = datagram.to_vec();
    let split = split_first(&mut datagram, 0).unwrap();
    assert_eq!(split.header.content_type, ContentType::HANDSHAKE);
    let fragment = read_fragments(split.fragment).next().unwrap().unwrap();
    (
        split.header,
        fragment.header.message_type,
        fragment.header.message_seq,
    )
}

//! Suites with an ephemeral agreement: curves, and points that are none.

use std::time::Duration;

use dtls_proto::codec::extension::{ExtensionType, put_extension};
use dtls_proto::codec::handshake::{HandshakeType, message};
use dtls_proto::codec::key_exchange::{PskClientKeyExchange, PskServerKeyExchange};
use dtls_proto::codec::put_vector8;
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
use dtls_proto::{AlertDescription, CipherSuite, Config, Group};

use crate::forge::forged_hello;
use crate::network::Weather;
use crate::pair::{IDENTITY, Pair, client_config};

fn over(groups: &[Group], suites: &[CipherSuite], server: Config) -> Pair {
    let mut config = client_config();
    config.suites = suites.to_vec();
    config.groups = groups.to_vec();
    Pair::with(config, server, Weather::FINE, 0)
}

const ECDHE: CipherSuite = CipherSuite::EcdhePskAes128Ccm8Sha256;

/// The server's ServerKeyExchange in the second datagram it sent.
fn group_of(pair: &Pair) -> Option<Group> {
    let body = pair.message_of_server(HandshakeType::SERVER_KEY_EXCHANGE)?;
    let exchange = PskServerKeyExchange::decode(&body).unwrap();
    Group::from_code(exchange.ecdh?.group)
}

#[test]
fn every_curve_carries_data() {
    for group in Group::ALL {
        let mut pair = over(&[group], &[ECDHE], Config::default());
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.suite(), Some(ECDHE));
        assert_eq!(group_of(&pair), Some(group));
        pair.client.send(pair.now, b"up").unwrap();
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.server_data(), [b"up"]);
    }
}

#[test]
fn the_order_of_the_client_decides_the_curve() {
    for groups in [
        [Group::Secp384r1, Group::X25519],
        [Group::X25519, Group::Secp384r1],
    ] {
        let mut pair = over(&groups, &[ECDHE], Config::default());
        pair.run_for(Duration::from_secs(1));
        assert_eq!(group_of(&pair), Some(groups[0]));
    }
}

#[test]
fn without_a_common_curve_the_next_suite_is_taken() {
    let mut server = Config::default();
    server.groups = vec![Group::Secp384r1];
    let suites = [ECDHE, CipherSuite::PskAes128Ccm8];
    let mut pair = over(&[Group::X25519], &suites, server);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.suite(), Some(CipherSuite::PskAes128Ccm8));
}

#[test]
fn a_client_that_names_no_curve_gets_p_256() {
    let mut pair = over(&[], &[ECDHE], Config::default());
    // This client takes no curve it did not name, but the server has chosen by then.
    pair.run_for(Duration::from_secs(1));
    assert_eq!(group_of(&pair), Some(Group::Secp256r1));
}

#[test]
fn a_hello_without_uncompressed_points_is_refused() {
    let mut content = Vec::new();
    put_vector8(&mut content, &[1, 2]);
    let mut extensions = Vec::new();
    put_extension(&mut extensions, ExtensionType::EC_POINT_FORMATS, &content);
    let mut pair = Pair::new();
    forged_hello(&mut pair, &[ECDHE.code()], &extensions);
    assert_eq!(
        pair.from_server.last().unwrap()[13..],
        [2, AlertDescription::ILLEGAL_PARAMETER.0]
    );
    // Where no curve is used they don't matter.
    forged_hello(&mut pair, &[CipherSuite::PskAes128Ccm8.code()], &extensions);
    assert_eq!(pair.server.handshaking(), 1);
}

#[test]
fn a_point_that_is_none_meets_silence_and_asks_for_no_key() {
    for group in Group::ALL {
        for point in [&[4][..], &[4; 65], &[0; 32], &[4; 97], &[9; 255]] {
            let mut pair = over(&[group], &[ECDHE], Config::default());
            while pair.server.handshaking() == 0 {
                pair.run_for(Duration::from_millis(1));
            }
            let body = PskClientKeyExchange {
                identity: IDENTITY.as_bytes(),
                public: Some(point),
            }
            .encode();
            let sent = pair.from_server.len();
            pair.inject(&plain(&message(
                HandshakeType::CLIENT_KEY_EXCHANGE,
                2,
                &body,
            )));
            pair.inject(&plain(&message(HandshakeType::FINISHED, 3, &[0; 12])));
            assert_eq!(pair.server.statistics().bad_points, 1, "{group:?}");
            assert_eq!(pair.requests(), 0);
            assert_eq!(pair.from_server.len(), sent);
            pair.run_out();
            assert_eq!(pair.server.handshaking(), 0);
        }
    }
}

#[test]
fn a_key_exchange_of_the_other_kind_does_not_stand_in_the_way() {
    for (suite, point) in [
        (ECDHE, None),
        (CipherSuite::PskAes128Ccm8, Some(&[7; 32][..])),
    ] {
        let mut pair = over(&Group::ALL, &[suite], Config::default());
        while pair.server.handshaking() == 0 {
            pair.run_for(Duration::from_millis(1));
        }
        let body = PskClientKeyExchange {
            identity: b"mallory",
            public: point,
        }
        .encode();
        pair.inject(&plain(&message(
            HandshakeType::CLIENT_KEY_EXCHANGE,
            2,
            &body,
        )));
        assert_eq!(pair.requests(), 0);
        pair.run_for(Duration::from_secs(10));
        assert!(pair.client.is_established());
    }
}

fn plain(fragment: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let header = RecordHeader::new(ContentType::HANDSHAKE, 0, 77);
    put_plain_record(header, fragment, &mut record);
    record
}

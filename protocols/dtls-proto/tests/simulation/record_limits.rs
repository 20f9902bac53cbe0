//! What a record may carry: `max_fragment_length` (RFC 6066 §4) and `record_size_limit` (RFC 8449).

use std::time::Duration;

use dtls_proto::codec::extension::{
    ExtensionType, HelloExtensions, MaxFragmentLength, RecordSizeLimit, put_extension,
};
use dtls_proto::codec::handshake::HandshakeType;
use dtls_proto::codec::hello::ServerHello;
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::{AlertDescription, CipherSuite, Config, ConnectionIds, SendError};

use crate::forge::forged_hello;
use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki;

fn certified(limit: Option<u16>, fragment: Option<u8>) -> Pair {
    let mut client = dtls_client::Config::with_certificate(pki::device());
    client.suites = vec![CipherSuite::EcdheEcdsaAes128Ccm8];
    client.record_size_limit = limit.map(|limit| RecordSizeLimit::new(limit).unwrap());
    client.max_fragment_length = fragment.and_then(MaxFragmentLength::new);
    let mut pair = Pair::with(client, pki::server_config(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    pair
}

/// The content lengths of plaintext records, and of sealed ones without what seals them.
fn records(datagrams: &[Vec<u8>], beside: usize) -> Vec<usize> {
    let mut found = Vec::new();
    for datagram in datagrams {
        let mut datagram = datagram.clone();
        let mut rest = datagram.as_mut_slice();
        while let Ok(split) = split_first(rest, 0) {
            let sealed = if split.header.epoch > 0 { beside } else { 0 };
            found.push(split.fragment.len() - sealed);
            rest = split.rest;
        }
    }
    found
}

fn answered(pair: &Pair) -> (Option<u16>, bool) {
    let body = pair.message_of_server(HandshakeType::SERVER_HELLO).unwrap();
    let hello = ServerHello::decode(&body).unwrap();
    let extensions = HelloExtensions::decode(hello.extensions).unwrap();
    (
        extensions.record_size_limit.map(RecordSizeLimit::bytes),
        extensions.max_fragment_length.is_some(),
    )
}

/// Symptom: a device with a small receive buffer, which works with Hono, got a certificate in a
/// record of 795 bytes. Cause: `record_size_limit` was not known.
#[test]
fn no_record_exceeds_the_limit_of_the_client() {
    for limit in [64, 65, 100, 256, 412, 512, 1000, 16_384, 16_385, 65_535] {
        let mut pair = certified(Some(limit), None);
        assert!(pair.client.is_established(), "{limit}");
        let association = pair.association().unwrap();
        let most = usize::from(limit).min(16_384);
        assert_eq!(pair.server.max_payload(association), Some(most));
        assert_eq!(
            pair.server.send(pair.now, association, &vec![0; most + 1]),
            Err(SendError::TooLarge { limit: most })
        );
        pair.server
            .send(pair.now, association, &vec![7; most])
            .unwrap();
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.client_data(), [vec![7; most]]);
        // CCM_8: 8 bytes of nonce, 8 of tag.
        let largest = records(&pair.from_server, 16).into_iter().max();
        assert_eq!(largest, Some(most));
        // A ServerHello in fragments is not read here.
        if most >= 256 {
            assert_eq!(answered(&pair), (Some(16_384), false));
        }
    }
}

/// Symptom: the handshake with a small `GnuTLS` client took six seconds. Cause: its buffer has room
/// for one record of its limit, and the records of a flight filled datagrams of 1,232 bytes.
#[test]
fn no_datagram_of_a_handshake_is_longer_than_a_record_of_the_limit() {
    for (limit, fragment, most) in [
        (Some(64), None, 64),
        (Some(256), None, 256),
        (Some(700), None, 700),
        (None, Some(1), 512),
        (None, Some(2), 1024),
    ] {
        let pair = certified(limit, fragment);
        assert!(pair.client.is_established(), "{most}");
        // A header of 13 bytes, and 24 of what protects a record.
        let longest = pair.from_server.iter().map(Vec::len).max();
        assert!(
            longest.is_some_and(|it| it <= most + 37),
            "{most}: {longest:?}"
        );
    }
}

/// RFC 8449 §5: a client that offers both means `record_size_limit`, and hears of that one only.
#[test]
fn record_size_limit_goes_before_max_fragment_length() {
    let pair = certified(Some(200), Some(2));
    let association = pair.association().unwrap();
    assert_eq!(pair.server.max_payload(association), Some(200));
    assert_eq!(answered(&pair), (Some(16_384), false));
    let pair = certified(None, Some(2));
    let association = pair.association().unwrap();
    assert_eq!(pair.server.max_payload(association), Some(1024));
    assert_eq!(answered(&pair), (None, true));
    assert_eq!(answered(&certified(None, None)), (None, false));
}

/// What is sealed with a connection id has its type behind the content, which counts.
#[test]
fn the_limit_holds_with_a_connection_id_too() {
    let mut client = client_config();
    client.connection_id = Some(b"abc".to_vec());
    client.record_size_limit = RecordSizeLimit::new(64);
    let mut server = Config::default();
    server.connection_ids = ConnectionIds::new(6, 0, 0).ok();
    let mut pair = Pair::with(client, server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let association = pair.association().unwrap();
    assert_eq!(pair.server.max_payload(association), Some(63));
}

/// Symptom: `decode_error` for a `max_fragment_length` of 0 or 5. RFC 6066 §4 and RFC 8449 §4 want
/// `illegal_parameter` for a value that is none, RFC 5246 §7.2.2 `decode_error` for a wrong length.
#[test]
fn a_limit_that_cannot_be_is_refused_by_the_right_alert() {
    let kinds = [
        ExtensionType::MAX_FRAGMENT_LENGTH,
        ExtensionType::RECORD_SIZE_LIMIT,
    ];
    for (kind, content, alert) in [
        (0, &[0][..], AlertDescription::ILLEGAL_PARAMETER),
        (0, &[5], AlertDescription::ILLEGAL_PARAMETER),
        (0, &[255], AlertDescription::ILLEGAL_PARAMETER),
        (0, &[], AlertDescription::DECODE_ERROR),
        (0, &[1, 1], AlertDescription::DECODE_ERROR),
        (1, &[0, 0], AlertDescription::ILLEGAL_PARAMETER),
        (1, &[0, 63], AlertDescription::ILLEGAL_PARAMETER),
        (1, &[64], AlertDescription::DECODE_ERROR),
        (1, &[0, 64, 0], AlertDescription::DECODE_ERROR),
    ] {
        let mut extensions = Vec::new();
        put_extension(&mut extensions, kinds[kind], content);
        assert_eq!(refusal(&extensions), Some(alert), "{kind} {content:?}");
    }
}

/// Symptom: a doubled extension of a type that is not known here, an empty list of server names and
/// two names were taken. RFC 5246 §7.4.1.4, RFC 6066 §3.
#[test]
fn an_extension_that_breaks_its_standard_is_refused() {
    let names = |names: &[&[u8]]| {
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(&[0, 0, u8::try_from(name.len()).unwrap()]);
            list.extend_from_slice(name);
        }
        let length = u16::try_from(list.len()).unwrap();
        [&length.to_be_bytes()[..], &list].concat()
    };
    let of = |extensions: &[(u16, Vec<u8>)]| {
        let mut block = Vec::new();
        for (kind, content) in extensions {
            put_extension(&mut block, ExtensionType(*kind), content);
        }
        refusal(&block)
    };
    let refused = Some(AlertDescription::DECODE_ERROR);
    for kind in [0x1a1a, 22, 15, 0xfafa] {
        assert_eq!(of(&[(kind, vec![]), (kind, vec![1])]), refused, "{kind}");
        assert_eq!(of(&[(kind, vec![])]), None);
    }
    assert_eq!(of(&[(0, vec![])]), refused);
    assert_eq!(of(&[(0, vec![0, 0])]), refused);
    assert_eq!(of(&[(0, names(&[b"a.b", b"c.d"]))]), refused);
    assert_eq!(of(&[(0, names(&[b"a.b"]))]), None);
    let many: Vec<_> = (0x2000..0x2400).map(|kind| (kind, vec![])).collect();
    assert_eq!(of(&many), None);
}

/// The alert that answers a PSK hello with these extensions.
fn refusal(extensions: &[u8]) -> Option<AlertDescription> {
    let mut pair = Pair::new();
    pair.from_server.clear();
    forged_hello(&mut pair, &[CipherSuite::PskAes128Ccm8.code()], extensions);
    let answer = pair.from_server.last().unwrap();
    (answer[0] == ContentType::ALERT.0).then(|| {
        assert_eq!(answer[13], 2, "fatal");
        AlertDescription(answer[14])
    })
}

/// A `record_size_limit` bounds what the client gets, not what it sends (RFC 8449 §4).
#[test]
fn a_client_with_a_record_size_limit_may_send_more() {
    let mut client = client_config();
    client.record_size_limit = RecordSizeLimit::new(64);
    let mut pair = Pair::with(client, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    pair.client.send(pair.now, &[1; 2000]).unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server_data(), [[1; 2000]]);
}

/// A hello is dropped as any record beyond 2^14 bytes is (RFC 5246 §6.2.1, RFC 6347 §4.1.2.7).
#[test]
fn an_oversized_hello_is_dropped() {
    let mut pair = Pair::new();
    pair.from_server.clear();
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0x40, 0x01];
    record.resize(13 + 16_385, 0);
    pair.inject(&record);
    assert_eq!(pair.from_server, Vec::<Vec<u8>>::new());
    assert_eq!(pair.server.statistics().oversized_records, 1);
}

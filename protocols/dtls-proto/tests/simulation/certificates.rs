//! Handshakes with certificates, and what a client may do wrong in them.

use std::time::Duration;

use dtls_client::{CloseReason as ClientReason, Config as ClientConfig, Event as ClientEvent};
use dtls_client::{MasterSecretKind, Mischief};
use dtls_proto::codec::certificate::{
    CertificateRequest, DigitallySigned, SignatureScheme, encode_chain,
};
use dtls_proto::codec::extension::{ExtensionType, put_extension};
use dtls_proto::codec::handshake::{HandshakeType, message};
use dtls_proto::codec::key_exchange::encode_client_point;
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
use dtls_proto::crypto::Curve;
use dtls_proto::{
    AlertDescription, CipherSuite, CloseReason, Config, ConnectionIds, Event, Group, Identity,
    IdentityError, Verdict,
};

use crate::forge::forged_hello;
use crate::network::{Towards, Weather};
use crate::pair::{Pair, client_config};
use crate::pki::{self, server_config};

const ECDSA_SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::ECDSA_SHA256,
    SignatureScheme::ECDSA_SHA384,
    SignatureScheme::ECDSA_SHA512,
];

const SUITE: CipherSuite = CipherSuite::EcdheEcdsaAes128Ccm8;

fn config() -> ClientConfig {
    let mut config = ClientConfig::with_certificate(pki::device());
    config.suites = vec![SUITE];
    config
}

fn over(config: ClientConfig, server: Config) -> Pair {
    Pair::with(config, server, Weather::FINE, 0)
}

/// A client that misbehaves; how that ends for it.
fn ends(mischief: Mischief) -> (Pair, Option<ClientReason>) {
    let mut config = config();
    config.mischief = mischief;
    let mut pair = over(config, server_config());
    pair.run_out();
    assert_eq!(pair.association(), None);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.established(), 0);
    let reason = pair.client_events.iter().find_map(|event| match event {
        ClientEvent::Closed(reason) => Some(*reason),
        _ => None,
    });
    (pair, reason)
}

#[test]
fn keys_on_both_curves_of_both_sides_go_together() {
    for server in [pki::server(), pki::large_server()] {
        for device in [pki::device(), pki::large_device()] {
            for group in Group::ALL {
                let mut client = ClientConfig::with_certificate(device.clone());
                client.server_certificate = Some(server.chain()[0].clone());
                client.groups = [&[group][..], &Group::ALL].concat();
                let mut config = Config::default();
                config.identity = Some(server.clone());
                let mut pair = over(client, config);
                pair.run_for(Duration::from_secs(1));
                assert!(pair.client.is_established(), "{group:?}");
            }
        }
    }
}

/// A server with a key on P-384 refused every client that accepts ECDSA with SHA-256 only, as Californium's does, and one on P-256
/// those that accept SHA-384 only: the scheme was derived from the curve, which TLS 1.2 does not bind to the hash.
#[test]
fn server_keys_on_each_curve_sign_with_each_hash() {
    for server in ["p256", "p384", "p521"] {
        let server = pki::stored(server);
        for scheme in ECDSA_SCHEMES {
            let mut client = config();
            client.server_certificate = Some(server.chain()[0].clone());
            client.key_curves = vec![Curve::P521];
            // What no ECDSA key can make is passed over.
            client.signature_schemes = vec![SignatureScheme(0x0401), scheme];
            let mut config = Config::default();
            config.identity = Some(server.clone());
            let mut pair = over(client, config);
            pair.run_for(Duration::from_secs(1));
            assert!(pair.client.is_established(), "{server:?} {scheme:?}");
        }
    }
}

/// Devices with keys on P-521 were refused with `decrypt_error`, and so was SHA-512.
#[test]
fn device_keys_on_each_curve_sign_with_each_hash() {
    for device in ["p256", "p384", "p521"] {
        let device = pki::stored(device);
        for scheme in ECDSA_SCHEMES {
            let mut client = ClientConfig::with_certificate(device.clone());
            client.signs_by = Some(scheme);
            let mut pair = over(client, server_config());
            pair.run_for(Duration::from_secs(1));
            assert!(pair.client.is_established(), "{device:?} {scheme:?}");
        }
    }
}

#[test]
fn the_server_signs_with_the_hash_of_its_curve_if_it_may() {
    let [sha256, sha384, sha512] = ECDSA_SCHEMES.map(|scheme| scheme.0.to_be_bytes());
    let (rsa, sha1) = ([4, 1], [2, 3]);
    for (server, offered, chosen) in [
        ("p256", &[sha512, sha384, sha256][..], Some(0x0403)),
        ("p384", &[sha256, sha384][..], Some(0x0503)),
        ("p384", &[sha256, rsa][..], Some(0x0403)),
        ("p384", &[sha512, sha256][..], Some(0x0603)),
        ("p256", &[rsa, sha384, sha512][..], Some(0x0503)),
        ("p521", &[sha256, sha512][..], Some(0x0603)),
        ("p256", &[rsa, sha1][..], None),
        ("p256", &[][..], None),
    ] {
        let key = pki::stored(server);
        let scheme = key.key().scheme_for(offered);
        assert_eq!(
            scheme.map(|scheme| scheme.0),
            chosen,
            "{server} {offered:?}"
        );
    }
}

#[test]
fn the_caller_judges_the_chain_by_name_and_may_take_its_time() {
    let mut client = config();
    client.server_name = Some("tenant.example".to_owned());
    let mut pair = over(client, server_config());
    pair.lookup = Some(Duration::from_secs(8));
    pair.run_for(Duration::from_secs(7));
    assert!(!pair.client.is_established());
    match &pair.server_events[..] {
        [
            Event::VerdictRequested {
                chain, server_name, ..
            },
        ] => {
            assert_eq!(chain, pki::device().chain());
            assert_eq!(server_name.as_deref(), Some("tenant.example"));
        }
        other => panic!("{other:?}"),
    }
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
    assert_eq!(pair.requests(), 1);
}

#[test]
fn a_refused_client_hears_bad_certificate() {
    let mut pair = over(config(), server_config());
    pair.verdict = Verdict::Refused;
    pair.run_for(Duration::from_secs(1));
    assert_eq!(
        pair.client_events,
        [ClientEvent::Closed(ClientReason::PeerAlert(
            AlertDescription::BAD_CERTIFICATE
        ))]
    );
    assert_eq!(pair.closed(), [CloseReason::CertificateRefused]);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(pair.server.statistics().certificates_refused, 1);
}

#[test]
fn a_client_nobody_judges_hears_bad_certificate_after_the_deadline() {
    let mut pair = over(config(), server_config());
    pair.lookup = None;
    pair.run_out();
    assert_eq!(
        pair.client_events,
        [ClientEvent::Closed(ClientReason::PeerAlert(
            AlertDescription::BAD_CERTIFICATE
        ))]
    );
    assert_eq!(pair.closed(), [CloseReason::CertificateRefused]);
    assert_eq!(pair.server.statistics().verdict_deadlines, 1);
}

#[test]
fn answers_to_other_questions_and_second_answers_are_passed_over() {
    let mut pair = over(config(), server_config());
    pair.lookup = None;
    pair.run_for(Duration::from_secs(1));
    let Event::VerdictRequested { association, .. } = pair.server_events[0] else {
        panic!()
    };
    pair.server.provide_psk(pair.now, association, None);
    pair.server
        .provide_verdict(pair.now, association, Verdict::Accepted);
    pair.server
        .provide_verdict(pair.now, association, Verdict::Refused);
    pair.run_for(Duration::from_secs(5));
    assert!(pair.client.is_established());
    pair.server
        .provide_verdict(pair.now, association, Verdict::Refused);
    assert_eq!(pair.server.established(), 1);

    // A verdict is no key.
    let mut pair = Pair::new();
    pair.lookup = None;
    pair.run_for(Duration::from_secs(1));
    let Event::PskRequested { association, .. } = pair.server_events[0] else {
        panic!()
    };
    pair.server
        .provide_verdict(pair.now, association, Verdict::Accepted);
    pair.run_out();
    assert_eq!(pair.association(), None);
}

/// RFC 5246 §7.4.6 names the alert.
#[test]
fn a_client_without_a_certificate_hears_handshake_failure_and_nobody_is_asked() {
    let (pair, reason) = ends(Mischief::EmptyChain);
    assert_eq!(
        reason,
        Some(ClientReason::PeerAlert(AlertDescription::HANDSHAKE_FAILURE))
    );
    assert_eq!((pair.requests(), pair.association()), (0, None));
    assert_eq!(pair.server.statistics().certificates_unproved, 1);
}

#[test]
fn a_wrong_or_empty_certificate_verify_is_refused_and_nobody_is_asked() {
    for mischief in [
        Mischief::WrongCertificateVerify,
        Mischief::EmptyCertificateVerify,
    ] {
        let (pair, reason) = ends(mischief);
        assert_eq!(
            reason,
            Some(ClientReason::PeerAlert(AlertDescription::DECRYPT_ERROR))
        );
        assert_eq!((pair.requests(), pair.association()), (0, None));
        assert_eq!(pair.server.statistics().certificates_unproved, 1);
    }
}

/// CVE-2022-2576, CVE-2022-39368 and their like: whoever shows somebody else's certificate must not get in without its key.
#[test]
fn a_certificate_without_certificate_verify_gets_nobody_in() {
    let (pair, reason) = ends(Mischief::NoCertificateVerify);
    assert_eq!(reason, Some(ClientReason::HandshakeTimeout));
    assert_eq!((pair.requests(), pair.association()), (0, None));
    assert_eq!(pair.server.statistics().handshakes_expired, 1);
}

#[test]
fn a_server_with_another_certificate_is_refused_by_the_client() {
    let mut client = config();
    client.server_certificate = Some(pki::large_server().chain()[0].clone());
    let mut pair = over(client, server_config());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(
        pair.client_events,
        [ClientEvent::Closed(ClientReason::HandshakeFailed(
            AlertDescription::BAD_CERTIFICATE
        ))]
    );
    assert_eq!(pair.server.handshaking(), 0);
}

#[test]
fn the_request_names_no_authorities() {
    let mut pair = over(config(), server_config());
    pair.run_for(Duration::from_secs(1));
    let body = pair
        .message_of_server(HandshakeType::CERTIFICATE_REQUEST)
        .unwrap();
    let request = CertificateRequest::decode(&body).unwrap();
    assert_eq!(request.types, [64]);
    assert_eq!(request.schemes[0], [4, 3]);
    assert_eq!(request.authorities, []);
}

#[test]
fn keys_and_certificates_go_on_one_port() {
    let mut pair = over(config(), server_config());
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
    pair.address = ([203, 0, 113, 1], 1).into();
    pair.replace_client(client_config());
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
    assert_eq!(pair.server.established(), 2);
}

#[test]
fn without_an_identity_the_next_suite_is_taken() {
    let mut client = config();
    client.suites.push(CipherSuite::PskAes128Ccm8);
    client.identity = crate::pair::IDENTITY.into();
    client.key = dtls_client::Psk::from(crate::pair::KEY);
    let mut pair = over(client.clone(), Config::default());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.suite(), Some(CipherSuite::PskAes128Ccm8));

    let mut pair = over(client, server_config());
    pair.server.set_identity(None);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.suite(), Some(CipherSuite::PskAes128Ccm8));
}

#[test]
fn a_hello_that_can_show_or_check_bare_keys_only_is_refused() {
    let groups = |out: &mut Vec<u8>| {
        put_extension(out, ExtensionType::SUPPORTED_GROUPS, &[0, 4, 0, 23, 0, 29]);
    };
    let schemes = |out: &mut Vec<u8>| {
        put_extension(out, ExtensionType::SIGNATURE_ALGORITHMS, &[0, 2, 4, 3]);
    };
    for (extension, kinds, begun) in [
        (ExtensionType::CLIENT_CERTIFICATE_TYPE, &[1, 2][..], false),
        (ExtensionType::SERVER_CERTIFICATE_TYPE, &[1, 2], false),
        (ExtensionType::CLIENT_CERTIFICATE_TYPE, &[2, 2, 0], true),
        (ExtensionType::SERVER_CERTIFICATE_TYPE, &[2, 0, 2], true),
    ] {
        let mut extensions = Vec::new();
        groups(&mut extensions);
        schemes(&mut extensions);
        put_extension(&mut extensions, extension, kinds);
        let mut pair = over(config(), server_config());
        forged_hello(&mut pair, &[SUITE.code()], &extensions);
        assert_eq!(pair.server.handshaking() == 1, begun, "{kinds:?}");
    }
    // No signatures named, or none that the server makes; no curve of the server's key.
    for extensions in [
        {
            let mut out = Vec::new();
            groups(&mut out);
            out
        },
        {
            let mut out = Vec::new();
            groups(&mut out);
            put_extension(&mut out, ExtensionType::SIGNATURE_ALGORITHMS, &[0, 2, 2, 3]);
            out
        },
        {
            let mut out = Vec::new();
            put_extension(&mut out, ExtensionType::SUPPORTED_GROUPS, &[0, 2, 0, 29]);
            schemes(&mut out);
            out
        },
    ] {
        let mut pair = over(config(), server_config());
        forged_hello(&mut pair, &[SUITE.code()], &extensions);
        assert_eq!(pair.server.statistics().handshakes_refused, 1);
    }
}

fn plain(message: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let header = RecordHeader::new(ContentType::HANDSHAKE, 0, 500);
    put_plain_record(header, message, &mut record);
    record
}

/// A pair whose server has sent its flight, which has not arrived.
fn flight_is_out() -> Pair {
    let mut pair = over(config(), server_config());
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    pair
}

#[test]
fn foreign_messages_at_any_place_do_not_stand_in_the_way() {
    for wanted in 2..5_u16 {
        let mut pair = flight_is_out();
        for kind in (0..=255).filter(|kind| ![1, 11, 16, 15].contains(kind)) {
            pair.inject(&plain(&message(HandshakeType(kind), wanted, &[0; 4])));
        }
        // They are known to be wrong only when it is their turn.
        pair.run_for(Duration::from_secs(20));
        if wanted == 2 {
            assert!(pair.client.is_established());
        }
        pair.run_out();
        assert_eq!(pair.server.handshaking(), 0);
    }
}

#[test]
fn skipped_repeated_and_reordered_messages_get_nobody_in() {
    let point = encode_client_point(&[9; 32]);
    let chain = encode_chain(pki::device().chain());
    let verify = DigitallySigned {
        scheme: SignatureScheme::ECDSA_SHA256,
        signature: &[1, 2, 3],
    }
    .encode();
    let (certificate, exchange, proof) = (
        (HandshakeType::CERTIFICATE, chain.as_slice()),
        (HandshakeType::CLIENT_KEY_EXCHANGE, point.as_slice()),
        (HandshakeType::CERTIFICATE_VERIFY, verify.as_slice()),
    );
    for order in [
        &[exchange][..],
        &[proof],
        &[certificate, proof],
        &[certificate, certificate, exchange],
        &[certificate, exchange, exchange],
        &[exchange, certificate, proof],
        &[certificate, exchange, proof],
    ] {
        let mut pair = flight_is_out();
        for (number, (kind, body)) in (2..).zip(order) {
            pair.inject(&plain(&message(*kind, number, body)));
        }
        let mut change = Vec::new();
        let header = RecordHeader::new(ContentType::CHANGE_CIPHER_SPEC, 0, 900);
        put_plain_record(header, &[1], &mut change);
        pair.inject(&change);
        let mut finished = Vec::new();
        let header = RecordHeader::new(ContentType::HANDSHAKE, 1, 0);
        put_plain_record(header, &[0; 40], &mut finished);
        pair.inject(&finished);
        assert_eq!(pair.requests(), 0, "nobody is asked about a stranger");
        assert_eq!(pair.server.established(), 0);
    }
}

#[test]
fn lying_lengths_at_every_byte_are_survived() {
    let good = encode_chain(pki::device().chain());
    for at in (0..12).chain(good.len() - 4..good.len()) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut body = good.clone();
            body[at] = value;
            let mut pair = flight_is_out();
            pair.inject(&plain(&message(HandshakeType::CERTIFICATE, 2, &body)));
            pair.inject(&plain(&message(
                HandshakeType::CLIENT_KEY_EXCHANGE,
                3,
                &[at.to_le_bytes()[0], value],
            )));
            pair.inject(&plain(&message(
                HandshakeType::CERTIFICATE_VERIFY,
                4,
                &[4, 3, value, value],
            )));
            pair.run_out();
            assert_eq!(pair.server.handshaking(), 0);
        }
    }
    for length in 0..good.len() {
        let mut pair = flight_is_out();
        let cut = message(HandshakeType::CERTIFICATE, 2, &good[..length]);
        pair.inject(&plain(&cut));
        assert_eq!(pair.server.established(), 0);
    }
}

#[test]
fn a_handshake_with_one_byte_changed_ends() {
    let mut template = over(config(), server_config());
    template.run_for(Duration::from_secs(1));
    for (index, datagram) in template.from_client.iter().enumerate() {
        for at in (0..datagram.len()).step_by(7) {
            let mut pair = over(config(), server_config());
            let mut changed = false;
            while !changed && pair.network_is_busy() {
                let Some((towards, mut payload)) = pair.take_next() else {
                    break;
                };
                if towards == Towards::Server && pair.from_client.len() == index + 1 {
                    let at = at.min(payload.len() - 1);
                    payload[at] ^= 0x55;
                    changed = true;
                }
                pair.give(towards, &payload);
            }
            pair.run_out();
            assert_eq!(pair.server.handshaking(), 0, "datagram {index} byte {at}");
            assert!(pair.client.is_established() || pair.client.is_closed());
        }
    }
}

#[test]
fn without_extended_master_secret_and_with_small_datagrams_and_ids_it_works_too() {
    for mtu in [64, 100, 500] {
        let mut client = config();
        client.master_secret = MasterSecretKind::Plain;
        client.connection_id = Some(b"abc".to_vec());
        client.mtu = mtu;
        let mut server = server_config();
        server.mtu = mtu;
        server.connection_ids = ConnectionIds::new(6, 0, 0).ok();
        let mut pair = over(client, server);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.is_established(), "{mtu}");
    }
}

#[test]
fn an_identity_that_cannot_be_used_says_why() {
    let pem = |name: &str| std::fs::read(format!("tests/identities/{name}")).unwrap();
    let read = |chain: &str, key: &str| Identity::from_pem(&pem(chain), &pem(key)).map(|_| ());
    assert_eq!(read("p256.crt", "p256-sec1.key"), Ok(()));
    assert_eq!(read("p256.crt", "p256-pkcs8.key"), Ok(()));
    assert_eq!(
        read("p256.crt", "other.key"),
        Err(IdentityError::KeyMismatch)
    );
    assert_eq!(read("rsa.crt", "rsa.key"), Err(IdentityError::RsaKey));
    assert_eq!(
        read("p256.crt", "rsa-pkcs1.key"),
        Err(IdentityError::RsaKey)
    );
    assert_eq!(
        read("p256.crt", "ed25519.key"),
        Err(IdentityError::UnsupportedKey)
    );
    assert_eq!(read("p256.crt", "p256.crt"), Err(IdentityError::NoKey));
    assert_eq!(
        read("p256-pkcs8.key", "p256-pkcs8.key"),
        Err(IdentityError::NoCertificate)
    );
    assert_eq!(
        Identity::from_pem(b"", b"").map(|_| ()),
        Err(IdentityError::NoKey)
    );
}

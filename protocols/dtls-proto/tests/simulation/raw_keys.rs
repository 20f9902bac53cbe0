//! Bare keys in place of certificates (RFC 7250), where they are wanted.

use std::time::Duration;

use dtls_client::{CertificateKind, CloseReason, Mischief};
use dtls_proto::codec::extension::{ExtensionType, put_extension};
use dtls_proto::codec::hello::EMPTY_RENEGOTIATION_INFO_SCSV;
use dtls_proto::{AlertDescription, CipherSuite, Config, Event, TicketKeys, Verdict};

use crate::forge::forged_hello;
use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki;

fn server_config() -> Config {
    let mut config = pki::server_config();
    config.raw_public_keys = true;
    config
}

fn client(kind: CertificateKind) -> dtls_client::Config {
    let mut config = dtls_client::Config::with_certificate(pki::device());
    config.certificate_kind = kind;
    config
}

fn run(client: dtls_client::Config, server: Config) -> Pair {
    let mut pair = Pair::with(client, server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    pair
}

/// What the caller was asked to judge: a bare key or a chain.
fn asked(pair: &Pair) -> (Option<Vec<u8>>, Option<Vec<Vec<u8>>>) {
    let keys = pair.server_events.iter().find_map(|event| match event {
        Event::RawKeyRequested { public_key, .. } => Some(public_key.clone()),
        _ => None,
    });
    let chains = pair.server_events.iter().find_map(|event| match event {
        Event::VerdictRequested { chain, .. } => Some(chain.clone()),
        _ => None,
    });
    (keys, chains)
}

fn alert(pair: &Pair) -> Option<AlertDescription> {
    pair.client_events.iter().find_map(|event| match event {
        dtls_client::Event::Closed(CloseReason::PeerAlert(alert)) => Some(*alert),
        _ => None,
    })
}

#[test]
fn both_sides_prove_themselves_with_bare_keys_in_every_suite() {
    for suite in client(CertificateKind::RawPublicKey).suites {
        let mut config = client(CertificateKind::RawPublicKey);
        config.suites = vec![suite];
        // Nothing else than the server's key is believed.
        config.server_certificate = Some(pki::server().public_key().to_vec());
        config.server_name = Some("T.example.org".to_owned());
        let mut pair = run(config, server_config());
        assert!(pair.client.is_established(), "{suite}");
        assert_eq!(
            asked(&pair),
            (Some(pki::device().public_key().to_vec()), None)
        );
        let named = pair.server_events.iter().any(|event| {
            matches!(event, Event::RawKeyRequested { server_name: Some(name), .. } if name == "T.example.org")
        });
        assert!(named);
        pair.client.send(pair.now, b"bare").unwrap();
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.server_data(), [b"bare"]);
    }
}

#[test]
fn keys_on_the_larger_curve_will_do() {
    let mut config = dtls_client::Config::with_certificate(pki::large_device());
    config.certificate_kind = CertificateKind::RawPublicKey;
    let mut server = server_config();
    server.identity = Some(pki::large_server());
    assert!(run(config, server).client.is_established());
}

#[test]
fn the_clients_order_decides_and_without_the_setting_there_are_certificates_only() {
    let own = pki::device();
    let key = (Some(own.public_key().to_vec()), None);
    let chain = (None, Some(own.chain().to_vec()));
    let rows = [
        (CertificateKind::Either, true, &key),
        (CertificateKind::Either, false, &chain),
        (CertificateKind::X509, true, &chain),
    ];
    for (kind, enabled, expected) in rows {
        let mut server = server_config();
        server.raw_public_keys = enabled;
        let pair = run(client(kind), server);
        assert!(pair.client.is_established(), "{kind:?} {enabled}");
        assert_eq!(&asked(&pair), expected, "{kind:?} {enabled}");
    }
    let pair = run(client(CertificateKind::RawPublicKey), pki::server_config());
    assert_eq!(alert(&pair), Some(AlertDescription::HANDSHAKE_FAILURE));
}

#[test]
fn a_key_that_is_refused_missing_or_not_the_clients_own_is_told_so() {
    let mut refused = Pair::with(
        client(CertificateKind::RawPublicKey),
        server_config(),
        Weather::FINE,
        0,
    );
    refused.verdict = Verdict::Refused;
    refused.run_for(Duration::from_secs(1));
    assert_eq!(alert(&refused), Some(AlertDescription::BAD_CERTIFICATE));
    let rows = [
        (Mischief::EmptyChain, AlertDescription::HANDSHAKE_FAILURE),
        (
            Mischief::WrongCertificateVerify,
            AlertDescription::DECRYPT_ERROR,
        ),
        (
            Mischief::EmptyCertificateVerify,
            AlertDescription::DECRYPT_ERROR,
        ),
    ];
    for (mischief, expected) in rows {
        let mut config = client(CertificateKind::RawPublicKey);
        config.mischief = mischief;
        let pair = run(config, server_config());
        assert_eq!(alert(&pair), Some(expected), "{mischief:?}");
        assert_eq!(
            asked(&pair),
            (None, None),
            "nobody is asked about strangers"
        );
    }
}

/// Its owner could not be asked about anew.
#[test]
fn a_session_with_a_bare_key_is_not_resumed() {
    for tickets in [false, true] {
        let mut server = server_config();
        server.resumption.cached_sessions = 10;
        server.resumption.tickets = tickets.then(|| TicketKeys::new([7; 32], None));
        let mut pair = run(client(CertificateKind::RawPublicKey), server);
        assert!(pair.client.is_established());
        assert_eq!(pair.server.resumable(), 0);
        let mut again = client(CertificateKind::RawPublicKey);
        again.resume = pair.client.resumption();
        pair.replace_client(again);
        pair.run_for(Duration::from_secs(1));
        assert!(pair.client.is_established());
        assert_eq!(pair.server.statistics().resumptions_established, 0);
    }
}

#[test]
fn a_client_without_a_kind_that_is_known_is_refused() {
    for kinds in [&[1, 1][..], &[2, 3, 224]] {
        let mut extensions = Vec::new();
        put_extension(
            &mut extensions,
            ExtensionType::SIGNATURE_ALGORITHMS,
            &[0, 2, 4, 3],
        );
        put_extension(
            &mut extensions,
            ExtensionType::CLIENT_CERTIFICATE_TYPE,
            kinds,
        );
        let mut pair = Pair::with(client_config(), server_config(), Weather::FINE, 0);
        let suites = [
            CipherSuite::EcdheEcdsaAes128Ccm8.code(),
            EMPTY_RENEGOTIATION_INFO_SCSV,
        ];
        forged_hello(&mut pair, &suites, &extensions);
        assert_eq!(pair.server.statistics().handshakes_refused, 1, "{kinds:?}");
    }
}

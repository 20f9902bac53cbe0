//! What the caller is told of handshakes that come to nothing, and when.

use std::time::Duration;

use dtls_client::{CertificateKind, Mischief};
use dtls_proto::codec::certificate::SignatureScheme;
use dtls_proto::{AlertDescription, CipherSuite, Config, Event, Group, HandshakeFailure, Verdict};

use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki::{device, server_config};

/// What was told, in order.
fn failures(pair: &Pair) -> Vec<HandshakeFailure> {
    let told = pair.server_events.iter().filter_map(|event| match event {
        Event::HandshakeFailed { failure, .. } => Some(*failure),
        _ => None,
    });
    told.collect()
}

fn with_certificate() -> dtls_client::Config {
    dtls_client::Config::with_certificate(device())
}

/// All that is told until nothing more can happen.
fn after(client: dtls_client::Config, set: impl FnOnce(&mut Pair)) -> Vec<HandshakeFailure> {
    let mut pair = Pair::with(client, server_config(), Weather::FINE, 0);
    set(&mut pair);
    pair.run_out();
    failures(&pair)
}

#[test]
fn each_reason_is_told_once() {
    let keyed = |change: fn(&mut dtls_client::Config)| {
        let mut config = client_config();
        change(&mut config);
        after(config, |_| {})
    };
    let wrong_key = keyed(|config| config.key = b"wrong".as_slice().into());
    assert_eq!(wrong_key, [HandshakeFailure::NotAuthentic]);
    let unknown = keyed(|config| config.identity = b"nobody".to_vec());
    assert_eq!(unknown, [HandshakeFailure::KeyUnknown]);
    let long = keyed(|config| config.identity = vec![b'x'; 513]);
    assert_eq!(long, [HandshakeFailure::IdentityTooLong]);
    let deadline = after(client_config(), |pair| pair.lookup = None);
    assert_eq!(deadline, [HandshakeFailure::KeyDeadline]);

    let certified = |mischief| {
        let mut config = with_certificate();
        config.mischief = mischief;
        after(config, |_| {})
    };
    assert_eq!(
        certified(Mischief::EmptyChain),
        [HandshakeFailure::NoCertificate]
    );
    assert_eq!(
        certified(Mischief::WrongCertificateVerify),
        [HandshakeFailure::CertificateUnproved]
    );
    let refused = after(with_certificate(), |pair| pair.verdict = Verdict::Refused);
    assert_eq!(refused, [HandshakeFailure::CertificateRefused]);
    let deadline = after(with_certificate(), |pair| pair.lookup = None);
    assert_eq!(deadline, [HandshakeFailure::VerdictDeadline]);
    let mut choosy = with_certificate();
    choosy.server_certificate = Some(b"another".to_vec());
    assert_eq!(
        after(choosy, |_| {}),
        [HandshakeFailure::ClientAlert(
            AlertDescription::BAD_CERTIFICATE
        )]
    );
}

#[test]
fn what_cannot_begin_is_told_without_an_association() {
    let mut config = client_config();
    config.suites = vec![CipherSuite::PskAes128Ccm8];
    let mut server = Config::default();
    server.suites = vec![CipherSuite::PskAes128Ccm];
    let mut pair = Pair::with(config, server, Weather::FINE, 0);
    pair.run_out();
    let nothing = HandshakeFailure::NothingToChoose(AlertDescription::HANDSHAKE_FAILURE);
    let [
        Event::HandshakeFailed {
            association: None,
            peer,
            failure,
        },
    ] = pair.server_events.as_slice()
    else {
        panic!("{:?}", pair.server_events)
    };
    assert_eq!((*peer, *failure), (pair.address, nothing));

    let mut full = Config::default();
    full.max_associations = 0;
    let mut pair = Pair::with(client_config(), full, Weather::FINE, 0);
    pair.run_for(Duration::from_millis(500));
    assert_eq!(failures(&pair), [HandshakeFailure::OverLimit]);
}

/// All of these were reported as a missing cipher suite, with the advice to enable one for pre-shared keys.
#[test]
fn what_certificates_lack_is_named() {
    let refused = |change: fn(&mut dtls_client::Config, &mut Config)| {
        let (mut client, mut server) = (with_certificate(), server_config());
        change(&mut client, &mut server);
        let mut pair = Pair::with(client, server, Weather::FINE, 0);
        pair.run_out();
        failures(&pair)
    };
    assert_eq!(
        refused(|client, _| client.signature_schemes = vec![SignatureScheme::ED25519]),
        [HandshakeFailure::NoSharedSignature]
    );
    assert_eq!(
        refused(|client, _| client.groups = vec![Group::Secp384r1]),
        [HandshakeFailure::NoSharedCurve]
    );
    assert_eq!(
        refused(|_, server| server.groups = vec![]),
        [HandshakeFailure::NoSharedCurve]
    );
    assert_eq!(
        refused(|_, server| server.identity = Some(crate::pki::stored("p521"))),
        [HandshakeFailure::NoSharedCurve]
    );
    assert_eq!(
        refused(|_, server| server.identity = None),
        [HandshakeFailure::NoServerCertificate]
    );
    assert_eq!(
        refused(|client, _| client.certificate_kind = CertificateKind::RawPublicKey),
        [HandshakeFailure::NoSharedCertificateType]
    );
    let nothing = HandshakeFailure::NothingToChoose(AlertDescription::HANDSHAKE_FAILURE);
    assert_eq!(
        refused(|_, server| server.suites = vec![CipherSuite::PskAes128Ccm8]),
        [nothing]
    );
}

/// A wrong key and an unknown identity are told long before they are forgotten.
#[test]
fn the_caller_does_not_have_to_wait_for_the_end() {
    let mut config = client_config();
    config.key = b"wrong".as_slice().into();
    let mut pair = Pair::with(config, Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_millis(500));
    assert_eq!(failures(&pair), [HandshakeFailure::NotAuthentic]);
    assert_eq!(pair.server.handshaking(), 1);
    assert_eq!(pair.closed(), []);
}

#[test]
fn a_client_that_goes_away_or_begins_anew_is_told_so() {
    let mut pair = Pair::new();
    while pair.server.handshaking() == 0 {
        let (towards, payload) = pair.take_next().unwrap();
        pair.give(towards, &payload);
    }
    let mut moved = pair.address;
    moved.set_port(1);
    pair.address = moved;
    pair.run_out();
    assert_eq!(failures(&pair), [HandshakeFailure::ClientSilent]);

    let mut pair = Pair::new();
    pair.lookup = None;
    pair.run_for(Duration::from_millis(500));
    pair.lookup = Some(Duration::ZERO);
    pair.replace_client(client_config());
    pair.run_for(Duration::from_millis(500));
    assert_eq!(failures(&pair), [HandshakeFailure::Superseded]);
    assert!(pair.association().is_some());
}

#[test]
fn a_handshake_that_is_done_did_not_fail() {
    let (pair, _) = Pair::established();
    assert_eq!(failures(&pair), []);
}

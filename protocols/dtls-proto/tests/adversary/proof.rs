//! Certificates without the proof that their key is there, and proofs that prove something else (RFC 5246 §7.4.8).

use dtls_proto::CipherSuite;
use dtls_proto::codec::certificate::SignatureScheme;
use dtls_proto::codec::handshake::HandshakeType;

use crate::peer::{Peer, Piece};
use crate::pki;
use crate::target::{Target, address};

const SUITE: CipherSuite = CipherSuite::EcdheEcdsaAes128Ccm8;

/// A handshake in which this stands in the place of CertificateVerify; whether it led anywhere.
fn is_let_in(verify: impl FnOnce(&mut Peer) -> Option<Vec<u8>>) -> bool {
    let mut target = Target::new();
    let mut peer = Peer::new(SUITE, address(1));
    peer.greet(&mut target);
    for piece in [Piece::Certificate, Piece::KeyExchange] {
        let datagram = peer.say(piece);
        target.give(peer.address, &datagram);
    }
    if let Some(datagram) = verify(&mut peer) {
        target.give(peer.address, &datagram);
    }
    for piece in [Piece::ChangeCipherSpec, Piece::Finished] {
        let datagram = peer.say(piece);
        target.give(peer.address, &datagram);
    }
    let let_in = target.established.len() == 1;
    // Whoever did not prove to have the key is not even asked about.
    assert_eq!(target.requests, usize::from(let_in));
    target.end_all();
    let_in
}

fn signature_of(peer: &Peer) -> Vec<u8> {
    pki::device()
        .key()
        .sign(SignatureScheme::ECDSA_SHA256, peer.transcript.messages())
        .unwrap()
}

#[test]
fn the_true_proof_lets_in_and_none_does_not() {
    assert!(is_let_in(|peer| Some(peer.say(Piece::Verify))));
    assert!(!is_let_in(|_| None));
}

#[test]
fn a_proof_by_another_key_or_of_something_else_lets_nobody_in() {
    let scheme = SignatureScheme::ECDSA_SHA256;
    // The server's own key, and with it any other.
    assert!(!is_let_in(|peer| {
        let signature = pki::server()
            .key()
            .sign(scheme, peer.transcript.messages())
            .unwrap();
        Some(peer.verify(scheme, &signature))
    }));
    // The signature of another handshake of the same device.
    let mut earlier = Vec::new();
    assert!(is_let_in(|peer| {
        earlier = signature_of(peer);
        Some(peer.verify(scheme, &earlier))
    }));
    assert!(!is_let_in(|peer| Some(peer.verify(scheme, &earlier))));
    // All but the last message, and nothing.
    assert!(!is_let_in(|peer| {
        let messages = peer.transcript.messages();
        let signature = pki::device()
            .key()
            .sign(scheme, &messages[..messages.len() - 1]);
        Some(peer.verify(scheme, &signature.unwrap()))
    }));
    assert!(!is_let_in(|peer| {
        let signature = pki::device().key().sign(scheme, &[]).unwrap();
        Some(peer.verify(scheme, &signature))
    }));
}

/// Zeros as r and s verify under any key where a library forgets to look (CVE-2022-21449); so may their neighbours.
#[test]
fn numbers_that_are_no_signature_let_nobody_in() {
    let order = hex(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut above_zero = vec![0x02, 0x21, 0];
    above_zero.extend(&order);
    for number in [
        &[0x02, 0x01, 0x00][..],
        &[0x02, 0x01, 0x01],
        &[0x02, 0x00],
        &above_zero,
    ] {
        let content = [number, number].concat();
        let mut signature = vec![0x30, u8::try_from(content.len()).unwrap()];
        signature.extend(content);
        assert!(!is_let_in(|peer| {
            Some(peer.verify(SignatureScheme::ECDSA_SHA256, &signature))
        }));
    }
}

#[test]
fn a_true_signature_that_is_cut_padded_or_under_another_name_lets_nobody_in() {
    for scheme in (0..=0x0807).map(SignatureScheme) {
        // The same hash under a scheme of another name is another signature; only the device's own is taken.
        if scheme != SignatureScheme::ECDSA_SHA256 && scheme.0 % 0x40 < 4 {
            assert!(
                !is_let_in(|peer| {
                    let signature = signature_of(peer);
                    Some(peer.verify(scheme, &signature))
                }),
                "{scheme:?}"
            );
        }
    }
    for cut in [0, 1, 2, 8, 40] {
        assert!(!is_let_in(|peer| {
            let signature = signature_of(peer);
            let cut = &signature[..signature.len().min(cut)];
            Some(peer.verify(SignatureScheme::ECDSA_SHA256, cut))
        }));
    }
    assert!(!is_let_in(|peer| {
        let signature = [signature_of(peer), vec![0]].concat();
        Some(peer.verify(SignatureScheme::ECDSA_SHA256, &signature))
    }));
}

/// The certificate of somebody else, with a proof by one's own key.
#[test]
fn a_stolen_certificate_before_ones_own_lets_nobody_in() {
    let mut target = Target::new();
    let mut peer = Peer::new(SUITE, address(1));
    peer.greet(&mut target);
    let chain = [pki::server().chain(), pki::device().chain()].concat();
    let body = dtls_proto::codec::certificate::encode_chain(&chain);
    let datagram = peer.plain_message(HandshakeType::CERTIFICATE, &body);
    target.give(peer.address, &datagram);
    for piece in [
        Piece::KeyExchange,
        Piece::Verify,
        Piece::ChangeCipherSpec,
        Piece::Finished,
    ] {
        let datagram = peer.say(piece);
        target.give(peer.address, &datagram);
    }
    assert_eq!(target.established, []);
    assert_eq!(target.requests, 0);
    target.end_all();
}

fn hex(digits: &[u8]) -> Vec<u8> {
    let digits = digits.as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
    digits.iter().map(|pair| byte(pair).unwrap()).collect()
}

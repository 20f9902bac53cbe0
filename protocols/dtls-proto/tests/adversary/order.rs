//! Messages skipped, repeated, reordered and foreign: all short sequences of them, for every key exchange.

use dtls_proto::codec::handshake::{HandshakeType, message};
use dtls_proto::codec::record::ContentType;
use dtls_proto::crypto::KeyExchange;

use crate::peer::{Peer, Piece, SUITES, sequences};
use crate::target::{Target, address};

/// Each message is numbered as it comes, and Finished covers just what was said: only who said the right things, in the right order,
/// is let in. A ChangeCipherSpec has no number, so it may come at any time; what follows a Finished is of no account.
#[test]
fn only_a_whole_handshake_in_its_order_lets_anybody_in() {
    let mut let_in = [0; SUITES.len()];
    for (suite, count) in SUITES.into_iter().zip(&mut let_in) {
        let longest = if suite.key_exchange() == KeyExchange::EcdheEcdsa {
            5
        } else {
            4
        };
        for sequence in sequences(longest) {
            // Here the client has no way to make an exchange without the server's half.
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            peer.greet(&mut target);
            let good: Vec<_> = without_change(peer.good_order());
            for piece in &sequence {
                let datagram = peer.say(*piece);
                target.give(peer.address, &datagram);
            }
            let numbered = without_change(&sequence);
            let changed = sequence.contains(&Piece::ChangeCipherSpec);
            let right = changed && numbered.starts_with(&good);
            assert_eq!(
                target.established.len(),
                usize::from(right),
                "{suite:?} {sequence:?}"
            );
            *count += usize::from(right);
            target.end_all();
        }
    }
    // The change of keys at each of 3 or 5 places; with keys also one message too many.
    assert!(let_in.iter().all(|count| *count >= 3), "{let_in:?}");
}

fn without_change(pieces: &[Piece]) -> Vec<Piece> {
    let mut pieces = pieces.to_vec();
    pieces.retain(|piece| *piece != Piece::ChangeCipherSpec);
    pieces
}

/// The true messages of one handshake, delivered in any order, with some left out or twice: the network may do so, and the
/// handshake is done as soon as all have come, and not before.
#[test]
fn a_handshake_is_done_when_its_last_message_has_come_in_whatever_order() {
    for suite in SUITES {
        let length = Peer::new(suite, address(1)).good_order().len();
        for number in 0..length.pow(u32::try_from(length).unwrap()) {
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            peer.greet(&mut target);
            let datagrams: Vec<_> = peer
                .good_order()
                .iter()
                .map(|piece| peer.say(*piece))
                .collect();
            let (mut rest, mut come) = (number, vec![false; length]);
            for _ in 0..length {
                target.give(peer.address, &datagrams[rest % length]);
                come[rest % length] = true;
                rest /= length;
                let all = come.iter().all(|come| *come);
                assert_eq!(
                    target.established.len(),
                    usize::from(all),
                    "{suite:?} {number}"
                );
            }
            target.end_all();
        }
    }
}

/// A message of any type in the place of each true one, and then the true one: what is foreign is thrown away.
#[test]
fn a_foreign_message_at_each_place_does_not_take_it() {
    for suite in SUITES {
        let good = Peer::new(suite, address(1)).good_order();
        for place in 0..good.len() {
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            peer.greet(&mut target);
            for (index, piece) in good.iter().enumerate() {
                if index == place {
                    foreign_messages(&mut peer, &mut target);
                }
                let datagram = peer.say(*piece);
                target.give(peer.address, &datagram);
            }
            // Where an empty Certificate or the like ends the handshake, it ends it for good, with an alert.
            assert!(target.established.len() <= 1);
            if suite.key_exchange() != KeyExchange::EcdheEcdsa {
                assert_eq!(target.established.len(), 1, "{suite:?} {place}");
            }
            target.end_all();
            Peer::new(suite, address(1)).shake(&mut target);
        }
    }
}

fn foreign_messages(peer: &mut Peer, target: &mut Target) {
    for kind in (0..=255).filter(|kind| ![1, 16].contains(kind)) {
        for body in [&[][..], &[0; 4], &[0xff; 40]] {
            let foreign = message(HandshakeType(kind), peer.message_seq, body);
            let datagram = peer.plain(ContentType::HANDSHAKE, &foreign);
            target.give(peer.address, &datagram);
        }
    }
}

/// The Finished in plaintext says the right thing, but was sealed by nobody.
#[test]
fn a_true_finished_in_plaintext_lets_nobody_in() {
    for suite in SUITES {
        for changed in [false, true] {
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            peer.greet(&mut target);
            for piece in peer.good_order() {
                if *piece != Piece::Finished && (changed || *piece != Piece::ChangeCipherSpec) {
                    let datagram = peer.say(*piece);
                    target.give(peer.address, &datagram);
                }
            }
            let (master_secret, _) = peer.secrets.as_ref().unwrap();
            let verify_data = master_secret
                .verify_data(dtls_proto::crypto::Side::Client, &peer.transcript.hash());
            let datagram = peer.plain_message(HandshakeType::FINISHED, &verify_data);
            target.give(peer.address, &datagram);
            assert_eq!(target.established, [], "{suite:?}");
            target.end_all();
        }
    }
}

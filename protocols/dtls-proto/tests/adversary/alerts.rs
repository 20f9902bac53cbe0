//! Alerts at the end of a handshake: the client's before its Finished, and ours for a wrong one.

use dtls_proto::codec::alert::Alert;
use dtls_proto::codec::extension::MaxFragmentLength;
use dtls_proto::codec::handshake::{HandshakeType, message};
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::{AlertDescription, CloseReason, ConnectionIds};

use crate::peer::{Peer, Piece, SUITES};
use crate::pki;
use crate::target::{Target, address};

/// All but Finished.
fn before_finished(suite: usize, connection_ids: bool) -> (Target, Peer) {
    let mut config = pki::server_config();
    let mut peer = Peer::new(SUITES[suite], address(1));
    if connection_ids {
        peer.connection_id = Some(Vec::new());
        config.connection_ids = ConnectionIds::new(6, 0, 0).ok();
    }
    let mut target = Target::with(config);
    peer.greet(&mut target);
    for piece in peer.good_order() {
        if *piece != Piece::Finished {
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
    }
    assert_eq!(target.server.handshaking(), 1);
    (target, peer)
}

/// Symptom: a sealed `close_notify` or fatal alert before Finished was held until the handshake was
/// done, and the caller heard of a session. RFC 5246 §7.2: it ends at once.
#[test]
fn an_alert_before_finished_ends_the_handshake_at_once() {
    for suite in 0..SUITES.len() {
        for connection_ids in [false, true] {
            for alert in [
                Alert::CLOSE_NOTIFY,
                Alert::fatal(AlertDescription::INTERNAL_ERROR),
            ] {
                let (mut target, mut peer) = before_finished(suite, connection_ids);
                let record = peer.sealed(ContentType::ALERT, &alert.encode());
                assert_eq!(target.give(peer.address, &record), []);
                assert_eq!(target.server.handshaking(), 0);
                assert_eq!(target.closed, [CloseReason::PeerClosed]);
                assert_eq!(target.server.statistics().handshakes_aborted, 1);
                let finished = peer.say(Piece::Finished);
                assert_eq!(target.give(peer.address, &finished), []);
                assert_eq!(target.established, []);
                target.end_all();
            }
        }
    }
}

/// A warning ends nothing, and neither does what is not authentic.
#[test]
fn a_warning_or_a_forged_alert_before_finished_ends_nothing() {
    for suite in 0..SUITES.len() {
        for connection_ids in [false, true] {
            let (mut target, mut peer) = before_finished(suite, connection_ids);
            let warning = Alert::warning(AlertDescription(90)).encode();
            let record = peer.sealed(ContentType::ALERT, &warning);
            target.give(peer.address, &record);
            let mut forged = peer.sealed(ContentType::ALERT, &Alert::CLOSE_NOTIFY.encode());
            *forged.last_mut().unwrap() ^= 1;
            target.give(peer.address, &forged);
            assert_eq!(target.server.handshaking(), 1);
            let finished = peer.say(Piece::Finished);
            target.give(peer.address, &finished);
            assert_eq!(target.established.len(), 1);
            target.end_all();
        }
    }
}

/// Records are looked at in the order of their numbers: a client that sends a message and leaves
/// has said it.
#[test]
fn an_alert_behind_finished_waits_for_its_turn() {
    for connection_ids in [false, true] {
        let mut config = pki::server_config();
        let mut peer = Peer::new(SUITES[0], address(1));
        if connection_ids {
            peer.connection_id = Some(Vec::new());
            config.connection_ids = ConnectionIds::new(6, 0, 0).ok();
        }
        let mut target = Target::with(config);
        peer.greet(&mut target);
        let exchange = peer.say(Piece::KeyExchange);
        let switch = peer.say(Piece::ChangeCipherSpec);
        let finished = peer.say(Piece::Finished);
        let data = peer.sealed(ContentType::APPLICATION_DATA, b"last words");
        let close = peer.sealed(ContentType::ALERT, &Alert::CLOSE_NOTIFY.encode());
        for datagram in [&finished, &data, &close, &switch, &exchange] {
            target.give(peer.address, datagram);
        }
        assert_eq!(target.data, [b"last words"]);
        assert_eq!(target.closed, [CloseReason::PeerClosed]);
        target.established.clear();
        target.end_all();
    }
}

/// Symptom: the alert was sealed in epoch 1 before our ChangeCipherSpec, so that clients could not
/// read it (RFC 6347 §4.1), and said `decrypt_error` whatever the message was.
#[test]
fn the_alert_for_a_wrong_finished_can_be_read() {
    for suite in 0..SUITES.len() {
        for (kind, expected) in [
            (
                HandshakeType::CLIENT_KEY_EXCHANGE,
                AlertDescription::UNEXPECTED_MESSAGE,
            ),
            (HandshakeType::FINISHED, AlertDescription::DECRYPT_ERROR),
        ] {
            let (mut target, mut peer) = before_finished(suite, false);
            let wrong = message(kind, peer.message_seq, &[0; 12]);
            let record = peer.sealed(ContentType::HANDSHAKE, &wrong);
            let mut answers = target.give(peer.address, &record);
            assert_eq!(answers.len(), 1);
            let split = split_first(&mut answers[0].payload, 0).unwrap();
            let header = split.header;
            assert_eq!((header.content_type, header.epoch), (ContentType::ALERT, 0));
            let alert = Alert::decode(split.fragment).unwrap();
            assert_eq!(alert, Alert::fatal(expected));
            assert_eq!(target.closed, [CloseReason::HandshakeFailed]);
            target.end_all();
        }
    }
}

/// Symptom: records beyond 2^14 bytes, or beyond the agreed length, were taken. RFC 5246 §6.2.1 and
/// RFC 6066 §4 forbid them; in DTLS such a record is dropped (RFC 6347 §4.1.2.7).
#[test]
fn an_oversized_record_is_dropped_and_the_session_lives() {
    for connection_ids in [false, true] {
        for (fragment, limit) in [(None, 16_384), (Some(1), 512), (Some(4), 4096)] {
            let mut config = pki::server_config();
            let mut peer = Peer::new(SUITES[0], address(1));
            peer.max_fragment_length = fragment.and_then(MaxFragmentLength::new);
            if connection_ids {
                peer.connection_id = Some(Vec::new());
                config.connection_ids = ConnectionIds::new(6, 0, 0).ok();
            }
            let mut target = Target::with(config);
            peer.shake(&mut target);
            for length in [limit + 1, limit] {
                let record = peer.sealed(ContentType::APPLICATION_DATA, &vec![1; length]);
                assert_eq!(target.give(peer.address, &record), []);
            }
            assert_eq!(target.data, [vec![1; limit]]);
            assert_eq!(target.server.statistics().oversized_records, 1);
            target.end_all();
        }
    }
}

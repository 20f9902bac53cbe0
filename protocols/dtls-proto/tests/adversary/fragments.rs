//! Fragments that are empty, overlap, contradict each other, or lie outside of their message (RFC 6347 §4.2.3).

use dtls_proto::codec::handshake::{HandshakeHeader, HandshakeType, fragments, message};
use dtls_proto::codec::record::{ContentType, HEADER_LENGTH};

use crate::peer::{Peer, Piece, SUITES};
use crate::target::{Target, address};

/// A good handshake, each of whose messages is sent as the fragments that `cut` makes of it.
fn is_let_in(index: usize, cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> bool {
    let mut target = Target::new();
    let mut peer = Peer::new(SUITES[index], address(1));
    peer.greet(&mut target);
    for piece in peer.good_order() {
        let datagrams: Vec<_> = match piece {
            Piece::ChangeCipherSpec => vec![peer.say(*piece)],
            Piece::Finished => {
                let message = peer.finished_message();
                let pieces = cut(&message);
                let seal = |fragment: &Vec<u8>| peer.sealed(ContentType::HANDSHAKE, fragment);
                pieces.iter().map(seal).collect()
            }
            Piece::Certificate | Piece::KeyExchange | Piece::Verify => {
                let whole = peer.say(*piece);
                let pieces = cut(&whole[HEADER_LENGTH..]);
                let plain = |fragment: &Vec<u8>| peer.plain(ContentType::HANDSHAKE, fragment);
                pieces.iter().map(plain).collect()
            }
        };
        for datagram in datagrams {
            target.give(peer.address, &datagram);
        }
    }
    let let_in = target.established.len() == 1;
    target.end_all();
    let_in
}

/// The bytes `from..to` of a message's body, said to be part of it.
fn part(whole: &[u8], from: usize, to: usize) -> Vec<u8> {
    let body = &whole[HandshakeHeader::LENGTH..];
    let mut out = Vec::new();
    HandshakeHeader {
        message_type: HandshakeType(whole[0]),
        length: u32::try_from(body.len()).unwrap(),
        message_seq: u16::from_be_bytes([whole[4], whole[5]]),
        fragment_offset: u32::try_from(from).unwrap(),
        fragment_length: u32::try_from(to - from).unwrap(),
    }
    .encode(&mut out);
    out.extend_from_slice(&body[from..to]);
    out
}

#[test]
fn empty_fragments_before_between_and_behind_change_nothing() {
    for index in 0..SUITES.len() {
        assert!(is_let_in(index, |whole| {
            let end = whole.len() - HandshakeHeader::LENGTH;
            let middle = end / 2;
            [
                (0, 0),
                (end, end),
                (middle, middle),
                (0, middle),
                (0, 0),
                (middle, middle),
                (middle, end),
                (end, end),
            ]
            .map(|(from, to)| part(whole, from, to))
            .to_vec()
        }));
        // By themselves they make no message.
        assert!(!is_let_in(index, |whole| vec![part(whole, 0, 0); 100]));
    }
}

#[test]
fn fragments_of_one_byte_in_any_direction_make_the_message() {
    for index in 0..2 {
        assert!(is_let_in(index, |whole| fragments(whole, 1)));
        assert!(is_let_in(index, |whole| {
            let mut pieces = fragments(whole, 1);
            pieces.reverse();
            pieces
        }));
    }
}

/// Every second byte first leaves more holes than anybody honest makes; a long message gets stuck there, and is forgotten in time.
#[test]
fn a_message_full_of_holes_is_refused_and_leaves_nothing() {
    assert!(!is_let_in(2, |whole| {
        let (even, odd): (Vec<_>, Vec<_>) = fragments(whole, 1)
            .into_iter()
            .enumerate()
            .partition(|(at, _)| at % 2 == 1);
        let all = even.into_iter().chain(odd.into_iter().take(30));
        all.map(|(_, fragment)| fragment).collect()
    }));
}

/// Symptom: one forged fragment made a handshake impossible, however often the client sent its
/// flight again. Cause: what came first was believed, and the right message refused as contradicting.
#[test]
fn a_forged_fragment_never_outlives_the_right_message() {
    for index in 0..SUITES.len() {
        let forged = |whole: &[u8], from, to| {
            let mut forged = part(whole, from, to);
            for byte in &mut forged[HandshakeHeader::LENGTH..] {
                *byte ^= 0xff;
            }
            forged
        };
        // Over a half that has come: the client sends its flight again.
        assert!(is_let_in(index, |whole| {
            let end = whole.len() - HandshakeHeader::LENGTH;
            let middle = end / 2;
            vec![
                part(whole, 0, middle),
                forged(whole, 1, middle),
                part(whole, middle.saturating_sub(2), end),
                part(whole, 0, end),
            ]
        }));
        // Before all of it.
        assert!(is_let_in(index, |whole| {
            let end = whole.len() - HandshakeHeader::LENGTH;
            vec![forged(whole, 0, end / 2), part(whole, 0, end)]
        }));
        // Before its fragments.
        assert!(is_let_in(index, |whole| {
            let end = whole.len() - HandshakeHeader::LENGTH;
            let middle = end / 2;
            vec![
                forged(whole, 0, 2),
                part(whole, 0, middle),
                part(whole, middle, end),
            ]
        }));
    }
}

#[test]
fn fragments_outside_of_their_message_or_of_another_length_are_passed_over() {
    for index in 0..SUITES.len() {
        assert!(is_let_in(index, |whole| {
            let end = whole.len() - HandshakeHeader::LENGTH;
            let mut outside = part(whole, 0, end);
            // fragment_offset
            outside[8] = 1;
            let mut longer = part(whole, 0, end / 2);
            longer[3] = longer[3].wrapping_add(1);
            let mut of_another_type = part(whole, 0, 1);
            of_another_type[0] = 99;
            vec![
                part(whole, 0, 1),
                outside,
                longer,
                of_another_type,
                part(whole, 0, end),
            ]
        }));
    }
}

/// In the transcript a message stands as if it had come in one piece; two of them in one record are two of them.
#[test]
fn several_messages_in_one_record_are_taken_one_by_one() {
    let mut target = Target::new();
    let mut peer = Peer::new(SUITES[2], address(1));
    peer.greet(&mut target);
    let mut together = Vec::new();
    for piece in [Piece::Certificate, Piece::KeyExchange, Piece::Verify] {
        together.extend_from_slice(&peer.say(piece)[HEADER_LENGTH..]);
    }
    let record = peer.plain(ContentType::HANDSHAKE, &together);
    target.give(peer.address, &record);
    for piece in [Piece::ChangeCipherSpec, Piece::Finished] {
        let datagram = peer.say(piece);
        target.give(peer.address, &datagram);
    }
    assert_eq!(target.established.len(), 1);
    target.end_all();
}

/// Nothing is kept of a hello without a good cookie, so only a fragment that shows the place of the
/// cookie is answered.
#[test]
fn a_fragment_of_a_hello_without_a_cookie_leaves_nothing() {
    let mut target = Target::new();
    let mut peer = Peer::new(SUITES[0], address(1));
    let body = peer.hello_body(&[], &[]);
    let whole = message(HandshakeType::CLIENT_HELLO, 0, &body);
    for (from, to) in [(0, 0), (0, 35), (1, body.len()), (body.len(), body.len())] {
        let record = peer.plain(ContentType::HANDSHAKE, &part(&whole, from, to));
        assert_eq!(target.give(peer.address, &record), []);
    }
    let statistics = target.server.statistics();
    assert_eq!(statistics.hello_fragments_dropped, 4);
    for to in [36, body.len() - 1] {
        let record = peer.plain(ContentType::HANDSHAKE, &part(&whole, 0, to));
        let answers = target.give(peer.address, &record);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].payload.len() <= record.len());
    }
    let statistics = target.server.statistics();
    assert_eq!(statistics.fragmented_hellos, 6);
    assert_eq!(statistics.cookies_sent, 2);
    assert_eq!(target.server.partial_hellos(), 0);
    target.end_all();
}

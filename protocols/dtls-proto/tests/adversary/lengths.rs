//! A good handshake with one byte changed, or cut off anywhere: it is survived, and never led to an end as if it had been right.

use std::cell::RefCell;

use dtls_proto::codec::handshake::{HandshakeHeader, HandshakeType};
use dtls_proto::codec::record::{ContentType, HEADER_LENGTH};
use dtls_proto::{CipherSuite, Transmit};

use crate::peer::{Peer, SUITES};
use crate::target::{Target, address};

/// What is done to a datagram.
type Change<'a> = dyn Fn(&mut Vec<u8>) + 'a;

/// A handshake whose `nth` datagram (0: ClientHello without, 1: with cookie) was changed; whether it led anywhere.
fn is_let_in(suite: CipherSuite, nth: usize, change: &Change<'_>) -> bool {
    let mut target = Target::new();
    let mut peer = Peer::new(suite, address(1));
    let let_in = run(&mut peer, &mut target, nth, change);
    target.end_all();
    // Whoever comes from the same address afterwards finds an open door.
    Peer::new(SUITES[0], address(1)).shake(&mut target);
    let_in
}

/// Nothing is sent twice: who gets no answer gives up.
fn run(peer: &mut Peer, target: &mut Target, nth: usize, change: &Change<'_>) -> bool {
    let mut number = 0;
    let mut give = |target: &mut Target, mut datagram: Vec<u8>| {
        if number == nth {
            change(&mut datagram);
        }
        number += 1;
        target.give(address(1), &datagram)
    };
    let hello = peer.hello(&[]);
    let answer = give(target, hello);
    if !is_message(&answer, HandshakeType::HELLO_VERIFY_REQUEST, 0) {
        return false;
    }
    let cookie = peer.cookie(&answer);
    let hello = peer.hello(&cookie);
    let flight = give(target, hello);
    if !is_message(&flight, HandshakeType::SERVER_HELLO, 1) {
        return false;
    }
    peer.read_flight(&flight);
    for piece in peer.good_order() {
        let datagram = peer.say(*piece);
        give(target, datagram);
    }
    target.established.len() == 1
}

/// Whether this begins with such a message of this number; a changed number belongs to nobody's handshake.
fn is_message(answer: &[Transmit], kind: HandshakeType, number: u8) -> bool {
    answer.first().is_some_and(|sent| {
        sent.payload[0] == ContentType::HANDSHAKE.0
            && sent.payload[HEADER_LENGTH] == kind.0
            && sent.payload[17..19] == [0, number]
    })
}

/// How long each datagram of a good handshake is; a signature may be a few bytes longer the next time.
fn lengths(suite: CipherSuite) -> Vec<usize> {
    let seen = RefCell::new(Vec::new());
    for nth in 0..2 + Peer::new(suite, address(1)).good_order().len() {
        assert!(is_let_in(suite, nth, &|datagram| {
            seen.borrow_mut().push(datagram.len());
        }));
    }
    seen.into_inner()
}

/// The bytes of a plaintext record's header that say nothing of its content: version (1.0 is taken, too), epoch and number.
fn is_free(at: usize) -> bool {
    (1..11).contains(&at)
}

#[test]
fn a_handshake_with_any_byte_changed_lets_nobody_in() {
    for suite in SUITES {
        for (nth, length) in lengths(suite).into_iter().enumerate() {
            for at in 0..length {
                // Of the long ones, all headers and lengths, and every seventh byte of what they carry.
                if at > 90 && at % 7 != 0 && length - at > 4 {
                    continue;
                }
                for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let let_in = is_let_in(suite, nth, &|datagram| {
                        if let Some(byte) = datagram.get_mut(at) {
                            *byte = if *byte == value { value ^ 0x55 } else { value };
                        }
                    });
                    // The first hello is not part of the transcript (RFC 6347 §4.2.6).
                    if nth > 0 && !is_free(at) && at + 4 < length {
                        assert!(!let_in, "{suite:?} datagram {nth} byte {at} value {value}");
                    }
                }
            }
        }
    }
}

/// With the record's length made to fit, so that the lie is in the message, and with that of the message, too.
#[test]
fn a_message_cut_anywhere_lets_nobody_in() {
    const BODY: usize = HEADER_LENGTH + HandshakeHeader::LENGTH;
    for suite in SUITES {
        for (nth, length) in lengths(suite).into_iter().enumerate().skip(1) {
            let step = if length > 300 { 5 } else { 1 };
            for end in (HEADER_LENGTH..length - 4).step_by(step) {
                assert!(
                    !is_let_in(suite, nth, &|datagram| cut(datagram, end)),
                    "{suite:?} datagram {nth} cut at {end}"
                );
                if end >= BODY {
                    let let_in = is_let_in(suite, nth, &|datagram| {
                        cut(datagram, end);
                        let body = u16::try_from(end - BODY).unwrap().to_be_bytes();
                        for at in [HEADER_LENGTH + 2, HEADER_LENGTH + 10] {
                            datagram[at..at + 2].copy_from_slice(&body);
                        }
                    });
                    assert!(!let_in, "{suite:?} datagram {nth} ends at {end}");
                }
            }
        }
    }
}

fn cut(datagram: &mut Vec<u8>, end: usize) {
    datagram.truncate(end);
    let length = u16::try_from(end - HEADER_LENGTH).unwrap();
    datagram[HEADER_LENGTH - 2..HEADER_LENGTH].copy_from_slice(&length.to_be_bytes());
}

/// Bytes behind the message belong to nobody; inside of it they make it another one.
#[test]
fn a_message_with_more_behind_it_is_survived() {
    for suite in SUITES {
        for nth in 0..lengths(suite).len() {
            for more in [1, 11, 12, 13, 14, 300] {
                is_let_in(suite, nth, &|datagram| datagram.extend(vec![0x16; more]));
                let let_in = is_let_in(suite, nth, &|datagram| {
                    datagram.extend(vec![0; more]);
                    let length = u16::try_from(datagram.len() - HEADER_LENGTH).unwrap();
                    datagram[HEADER_LENGTH - 2..HEADER_LENGTH]
                        .copy_from_slice(&length.to_be_bytes());
                    let body = length.saturating_sub(12).to_be_bytes();
                    for at in [HEADER_LENGTH + 2, HEADER_LENGTH + 10] {
                        if let Some(place) = datagram.get_mut(at..at + 2) {
                            place.copy_from_slice(&body);
                        }
                    }
                });
                assert!(!let_in || nth == 0, "{suite:?} datagram {nth}");
            }
        }
    }
}

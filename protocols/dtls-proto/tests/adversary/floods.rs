//! Very many handshakes that fail, and very many hellos, while others work.
//!
//! `DTLS_FLOOD=1` sends them in their full number (for a release build); without it a hundredth.

use std::time::Duration;

use dtls_proto::Psk;
use dtls_proto::codec::record::ContentType;

use crate::identifiers::with_ids;
use crate::peer::{Peer, Piece, SUITES};
use crate::target::{Target, address};

/// The part of a flood that is sent here; says so.
fn scaled(what: &str, full: u32) -> u32 {
    let number = if std::env::var_os("DTLS_FLOOD").is_some() {
        full
    } else {
        full / 100
    };
    eprintln!("{number} of {full} {what}");
    number
}

#[test]
fn a_hundred_thousand_failing_handshakes_leave_nothing_behind() {
    let mut target = Target::with(with_ids(8));
    for number in 0..scaled("failing handshakes", 100_000) {
        let port = u16::try_from(1 + number % 60_000).unwrap();
        fail(&mut target, port, number);
        // In time they are forgotten, so that there is always room.
        target.wait(Duration::from_millis(50));
        target.closed.clear();
    }
    assert_eq!(target.established, []);
    assert_eq!(target.server.statistics().handshakes_over_limit, 0);
    target.forget_all();
    assert_eq!(target.server.connection_ids(), 0);
    for suite in SUITES {
        Peer::new(suite, address(1)).shake(&mut target);
    }
    target.end_all();
}

/// One of many ways to fail.
fn fail(target: &mut Target, port: u16, number: u32) {
    // Certificates cost most, so there are fewer of them.
    let suite = match number % 20 {
        0 => SUITES[2],
        1..4 => SUITES[1],
        _ => SUITES[0],
    };
    let mut peer = Peer::new(suite, address(port));
    peer.connection_id = number.is_multiple_of(2).then(|| vec![7; 4]);
    if number.is_multiple_of(3) {
        peer.key = Psk::from(b"wrong".as_slice());
    }
    peer.greet(target);
    for piece in peer.good_order() {
        // One stops, one forgets something, one has a wrong key; of one with a right key the Finished is wrong.
        match (number % 3, piece) {
            (1, Piece::Finished) => return,
            (2, Piece::Finished) => peer.transcript.add(b"never said"),
            (_, Piece::Verify) => continue,
            _ => {}
        }
        let datagram = peer.say(*piece);
        target.give(peer.address, &datagram);
    }
}

#[test]
fn a_million_hellos_from_one_port_disturb_nobody() {
    let mut target = Target::with(with_ids(8));
    let mut peers: Vec<_> = (1..=100)
        .map(|number| {
            let mut peer = Peer::new(SUITES[0], address(number));
            peer.connection_id = (number % 2 == 0).then(Vec::new);
            peer.shake(&mut target);
            peer
        })
        .collect();
    let associations = target.established.clone();
    let port = address(50_000);
    let rounds = scaled("hellos from one port", 1_000_000) / 200;
    for round in 0..rounds {
        // Without a cookie, with that of another hello, and with a good one: a handshake that takes the place of the one before.
        let mut flood = Peer::new(SUITES[0], port);
        let hello = flood.hello(&[]);
        for _ in 0..197 {
            let answer = target.give(port, &hello);
            assert_eq!(answer.len(), 1);
            assert!(answer[0].payload.len() <= hello.len());
        }
        let answer = target.give(port, &hello);
        let cookie = flood.cookie(&answer);
        let stolen = Peer::new(SUITES[0], port).hello(&cookie);
        target.give(port, &stolen);
        let good = flood.hello(&cookie);
        target.give(port, &good);
        assert_eq!(target.server.handshaking(), 1);

        let at = usize::try_from(round).unwrap() % peers.len();
        let peer = &mut peers[at];
        let record = peer.sealed(ContentType::APPLICATION_DATA, &round.to_be_bytes());
        assert_eq!(target.give(peer.address, &record), []);
        assert_eq!(target.data.pop().unwrap(), round.to_be_bytes());
        target
            .server
            .send(target.now, associations[at], b"and back")
            .unwrap();
        let sent = target.drain();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].peer, peer.address);
    }
    assert_eq!(target.server.established(), 100);
    assert_eq!(target.closed, []);
    target.end_all();
}

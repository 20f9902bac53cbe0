//! Epochs and sequence numbers that are not their turn yet, or nobody's.

use dtls_proto::codec::record::{ContentType, MAX_SEQUENCE, RecordHeader, put_plain_record};

use crate::peer::{Peer, SUITES};
use crate::target::{Target, address};

/// Records of all types under these numbers, with content that is long enough for every cipher.
pub(crate) fn strange_records(epochs: &[u16], sequences: &[u64]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for epoch in epochs {
        for sequence in sequences {
            for content_type in 20..=25 {
                let mut record = Vec::new();
                let header = RecordHeader::new(ContentType(content_type), *epoch, *sequence);
                put_plain_record(header, &[0x5a; 48], &mut record);
                records.push(record);
            }
        }
    }
    records
}

/// What the server holds for later is bounded, and a true Finished always finds room.
#[test]
fn early_epochs_and_numbers_before_each_message_stand_in_nobodys_way() {
    let strange = strange_records(&[1, 2, 255, 0x8000, 0xffff], &[0, 1, 77, MAX_SEQUENCE]);
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        let disturb = |target: &mut Target| {
            for record in &strange {
                assert_eq!(target.give(address(1), record), []);
            }
        };
        disturb(&mut target);
        peer.greet(&mut target);
        for piece in peer.good_order() {
            disturb(&mut target);
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1, "{suite:?}");
        disturb(&mut target);
        let record = peer.sealed(ContentType::APPLICATION_DATA, b"true");
        target.give(peer.address, &record);
        assert_eq!(target.data, [b"true"]);
        assert!(target.server.statistics().wrong_epoch > 0);
        target.end_all();
    }
}

/// Numbers in plaintext prove nothing, so a high one does not shut out those below it.
#[test]
fn high_numbers_in_plaintext_shut_nobody_out() {
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        peer.greet(&mut target);
        for record in strange_records(&[0], &[1 << 20, MAX_SEQUENCE]) {
            // A Handshake record is malformed here, an alert is none.
            target.give(peer.address, &record);
        }
        for piece in peer.good_order() {
            peer.sequence = 0;
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1, "{suite:?}");
        target.end_all();
    }
}

/// A ClientHello with the last numbers there are: the flight needs more of them than there are left.
#[test]
fn a_hello_at_the_end_of_the_numbers_is_survived() {
    for suite in SUITES {
        for left in 0..4 {
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            let hello = peer.hello(&[]);
            let answer = target.give(peer.address, &hello);
            let cookie = peer.cookie(&answer);
            peer.sequence = MAX_SEQUENCE - left;
            let hello = peer.hello(&cookie);
            target.give(peer.address, &hello);
            target.forget_all();
            Peer::new(suite, address(1)).shake(&mut target);
            target.end_all();
        }
    }
}

/// Message numbers wrap nowhere.
#[test]
fn a_hello_with_the_last_message_number_is_survived() {
    for number in [0xfff0, 0xfffe, 0xffff] {
        let mut target = Target::new();
        let mut peer = Peer::new(SUITES[0], address(1));
        let hello = peer.hello(&[]);
        let answer = target.give(peer.address, &hello);
        let cookie = peer.cookie(&answer);
        peer.message_seq = number;
        let hello = peer.hello(&cookie);
        target.give(peer.address, &hello);
        for piece in 0..3_u16 {
            peer.message_seq = number.wrapping_add(piece);
            let datagram = peer.plain_message(
                dtls_proto::codec::handshake::HandshakeType::CLIENT_KEY_EXCHANGE,
                &[0, 1, b'x'],
            );
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established, []);
        target.end_all();
    }
}

//! Connection ids of every length an offer can have (RFC 9146 §3).

use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::{Config, ConnectionIds};

use crate::peer::{Peer, SUITES};
use crate::pki;
use crate::target::{Target, address};

pub(crate) fn with_ids(length: u8) -> Config {
    let mut config = pki::server_config();
    config.connection_ids = ConnectionIds::new(length, 1, 2).ok();
    assert!(config.connection_ids.is_some());
    config
}

/// Data in both directions, whatever ids there are.
pub(crate) fn both_ways(peer: &mut Peer, target: &mut Target, data: &[u8]) {
    let record = peer.sealed(ContentType::APPLICATION_DATA, data);
    target.give(peer.address, &record);
    assert_eq!(target.data.pop().as_deref(), Some(data));
    let association = *target.established.last().unwrap();
    target.server.send(target.now, association, data).unwrap();
    let mut sent = target.drain().pop().unwrap().payload;
    let offered = peer.connection_id.as_ref().map_or(0, Vec::len);
    let split = split_first(&mut sent, offered).unwrap();
    let (_, protection) = peer.secrets.as_mut().unwrap();
    let opened = protection.open(split.header, split.fragment).unwrap();
    assert_eq!(opened.plaintext, data);
}

#[test]
fn an_offer_of_any_length_ends_in_a_session_with_ids_or_without() {
    for suite in SUITES {
        for length in 0..=255_usize {
            // The slow one need not do all of them.
            if suite == SUITES[2] && (24..250).contains(&length) {
                continue;
            }
            let mut target = Target::with(with_ids(8));
            let mut peer = Peer::new(suite, address(1));
            peer.connection_id = Some((0..length).map(|at| u8::try_from(at).unwrap()).collect());
            peer.shake(&mut target);
            let used = length <= ConnectionId::MAX_LENGTH;
            assert_eq!(
                target.server.connection_ids(),
                usize::from(used),
                "{length}"
            );
            both_ways(&mut peer, &mut target, b"there and back");
            target.end_all();
        }
    }
}

/// An id that is said to be longer or shorter than what follows it.
#[test]
fn a_record_cut_inside_of_its_id_is_dropped() {
    let mut target = Target::with(with_ids(20));
    let mut peer = Peer::new(SUITES[0], address(1));
    peer.connection_id = Some(vec![1; 20]);
    peer.shake(&mut target);
    let record = peer.sealed(ContentType::APPLICATION_DATA, b"whole");
    for end in 0..record.len() {
        target.give(peer.address, &record[..end]);
        // The id is whole, and what it names is dropped all the same.
        target.give(address(2), &record[..end]);
    }
    for at in 0..record.len() {
        for value in [0, 0xff, record[at] ^ 1] {
            let mut changed = record.clone();
            changed[at] = value;
            if changed != record {
                target.give(address(3), &changed);
            }
        }
    }
    assert_eq!(target.data, [] as [&[u8]; 0]);
    assert_eq!(target.server.statistics().address_changes, 0);
    target.give(peer.address, &record);
    assert_eq!(target.data, [b"whole"]);
    target.end_all();
}

//! A client that moves proves that it can be reached where it is now (RFC 9853).

use std::net::SocketAddr;
use std::time::Duration;

use dtls_client::PathChallenges;
use dtls_proto::codec::path::{PathMessage, PathMessageType};
use dtls_proto::codec::record::ContentType;
use dtls_proto::{AssociationId, Config, ConnectionIds, Moment, Server};

use crate::network::Weather;
use crate::pair::{Pair, client_config, peer};

fn elsewhere() -> SocketAddr {
    ([203, 0, 113, 77], 5000).into()
}

fn server_config() -> Config {
    let mut config = Config::default();
    config.connection_ids = ConnectionIds::new(8, 1, 2).ok();
    config
}

fn pair(challenges: PathChallenges, server: Config) -> (Pair, AssociationId) {
    let mut config = client_config();
    config.connection_id = Some(vec![7; 4]);
    config.path_challenges = challenges;
    let mut pair = Pair::with(config, server, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let association = pair.association().unwrap();
    // The client's data tells that it has the last flight.
    pair.client.send(pair.now, b"at home").unwrap();
    pair.run_for(Duration::from_secs(1));
    (pair, association)
}

/// Sends application data and tells where the record goes to.
fn destination(pair: &mut Pair, association: AssociationId, length: usize) -> SocketAddr {
    pair.server
        .send(pair.now, association, &vec![0; length])
        .unwrap();
    let transmit = pair.server.poll_transmit().unwrap();
    assert_eq!(pair.server.poll_transmit(), None);
    transmit.peer
}

/// The client's next record as a datagram, which the network never sees.
fn record(pair: &mut Pair, data: &[u8]) -> Vec<u8> {
    pair.client.send(pair.now, data).unwrap();
    pair.client.poll_transmit().unwrap()
}

#[test]
fn a_client_that_answers_is_found_where_it_moved_to() {
    let (mut pair, association) = pair(PathChallenges::Answered, server_config());
    assert!(pair.client.proves_paths());
    pair.address = elsewhere();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.server_data(), [b"at home".as_slice(), b"moved"]);
    let statistics = pair.server.statistics();
    assert_eq!(
        (statistics.path_challenges, statistics.paths_proved),
        (1, 1)
    );
    assert_eq!(statistics.address_changes, 1);
    // Anything may be sent there now.
    for _ in 0..10 {
        assert_eq!(destination(&mut pair, association, 1000), elsewhere());
    }
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn an_address_that_does_not_answer_gets_three_bytes_for_one_and_is_given_up() {
    let (mut pair, association) = pair(PathChallenges::Ignored, server_config());
    let mut datagram = record(&mut pair, &[1; 100]);
    let received = datagram.len();
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut datagram);
    let mut sent = 0;
    while let Some(transmit) = pair.server.poll_transmit() {
        assert_eq!(transmit.peer, elsewhere());
        sent += transmit.payload.len();
    }
    assert!(sent > 0, "a challenge");
    for _ in 0..100 {
        pair.server.send(pair.now, association, &[2; 30]).unwrap();
        let transmit = pair.server.poll_transmit().unwrap();
        if transmit.peer == elsewhere() {
            sent += transmit.payload.len();
        }
    }
    assert!(sent <= 3 * received, "{sent} for {received}");
    assert!(sent > 2 * received, "as much as may be is sent");
    let before = pair.now;
    while let Some(due) = pair.server.poll_timeout() {
        pair.now = due;
        pair.server.handle_timeout(due);
        while let Some(transmit) = pair.server.poll_transmit() {
            assert_eq!(transmit.peer, elsewhere());
            sent += transmit.payload.len();
        }
    }
    assert_eq!(pair.now - before, Duration::from_secs(3));
    assert!(sent <= 3 * received, "{sent} for {received}");
    assert_eq!(pair.server.statistics().paths_unproved, 1);
    assert_eq!(pair.server.statistics().address_changes, 0);
    assert_eq!(destination(&mut pair, association, 1), peer());
}

#[test]
fn a_lost_challenge_is_sent_again() {
    let (mut pair, association) = pair(PathChallenges::Answered, server_config());
    let mut datagram = record(&mut pair, &[1; 100]);
    pair.address = elsewhere();
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut datagram);
    while pair.server.poll_transmit().is_some() {}
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.server.statistics().path_challenges, 2);
    assert_eq!(pair.server.statistics().paths_proved, 1);
    assert_eq!(destination(&mut pair, association, 1000), elsewhere());
}

#[test]
fn a_wrong_answer_proves_nothing() {
    let (mut pair, association) = pair(PathChallenges::AnsweredWrong, server_config());
    pair.address = elsewhere();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(Duration::from_secs(10));
    let statistics = pair.server.statistics();
    assert_eq!((statistics.paths_proved, statistics.paths_unproved), (0, 1));
    assert_eq!(destination(&mut pair, association, 1), peer());
}

/// An answer that nobody asked for, or that comes again, moves nothing.
#[test]
fn an_answer_out_of_place_is_discarded() {
    let (mut pair, association) = pair(PathChallenges::Answered, server_config());
    let kind = ContentType::RETURN_ROUTABILITY_CHECK;
    for message in [PathMessageType::Response, PathMessageType::Drop] {
        let cookie = [0; 8];
        let message = PathMessage {
            kind: message,
            cookie,
        };
        pair.client.send_record(kind, &message.encode()).unwrap();
    }
    for rubbish in [&[][..], &[0], &[9; 9], &[0; 100]] {
        pair.client.send_record(kind, rubbish).unwrap();
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.statistics().unexpected_messages, 2);
    assert_eq!(pair.server.statistics().malformed_messages, 4);
    assert_eq!(destination(&mut pair, association, 1), peer());
}

/// Whoever forwards a record of the client's does not become the client: its next record from home ends the doubt.
#[test]
fn a_forwarded_record_takes_nothing_away_from_a_client_that_is_still_there() {
    let (mut pair, association) = pair(PathChallenges::Answered, server_config());
    let mut forwarded = record(&mut pair, b"forwarded");
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut forwarded);
    while pair.server.poll_transmit().is_some() {}
    pair.client.send(pair.now, b"from home").unwrap();
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(destination(&mut pair, association, 1000), peer());
    assert_eq!(pair.server.statistics().address_changes, 0);
}

/// An old record that shows up elsewhere is no reason to doubt.
#[test]
fn a_late_record_from_elsewhere_asks_nothing() {
    let (mut pair, association) = pair(PathChallenges::Answered, server_config());
    let mut late = record(&mut pair, b"late");
    let newer = record(&mut pair, b"newer");
    pair.inject(&newer);
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut late);
    assert_eq!(pair.server.statistics().path_challenges, 0);
    assert_eq!(destination(&mut pair, association, 1000), peer());
}

#[test]
fn the_client_may_ask_too() {
    let (mut pair, _) = pair(PathChallenges::Answered, server_config());
    let challenge = PathMessage {
        kind: PathMessageType::Challenge,
        cookie: [9; 8],
    };
    let kind = ContentType::RETURN_ROUTABILITY_CHECK;
    pair.client.send_record(kind, &challenge.encode()).unwrap();
    let before = pair.from_server.len();
    pair.drain();
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.from_server.len(), before + 1, "one answer");
}

/// Without the offer, the setting or an id to move with, all is as it was before.
#[test]
fn who_does_not_agree_on_it_is_believed() {
    let mut off = server_config();
    off.return_routability = false;
    let rows = [
        (PathChallenges::NotOffered, server_config()),
        (PathChallenges::Answered, off),
    ];
    for (challenges, config) in rows {
        let (mut pair, association) = pair(challenges, config);
        assert!(!pair.client.proves_paths());
        let mut datagram = record(&mut pair, b"moved");
        pair.server
            .handle_datagram(pair.now, elsewhere(), &mut datagram);
        assert_eq!(destination(&mut pair, association, 20), elsewhere());
        pair.client.send(pair.now, b"still there").unwrap();
        let mut datagram = pair.client.poll_transmit().unwrap();
        pair.server
            .handle_datagram(pair.now, elsewhere(), &mut datagram);
        assert_eq!(destination(&mut pair, association, 1000), elsewhere());
    }
    let (pair, _) = pair(PathChallenges::Answered, Config::default());
    assert!(!pair.client.proves_paths());
}

/// Symptom: after one record from a forged address, everything for a client without RFC 9853 went
/// there. Cause: one newer record was taken as the proof of the address (RFC 9146 §6).
#[test]
fn an_address_that_one_record_came_from_gets_three_bytes_for_one() {
    let (mut pair, association) = pair(PathChallenges::NotOffered, server_config());
    let mut datagram = record(&mut pair, &[1; 40]);
    let received = datagram.len();
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut datagram);
    let mut sent = 0;
    for _ in 0..100 {
        pair.server.send(pair.now, association, &[2; 30]).unwrap();
        let transmit = pair.server.poll_transmit().unwrap();
        if transmit.peer == elsewhere() {
            sent += transmit.payload.len();
        } else {
            assert_eq!(transmit.peer, peer());
        }
    }
    assert!(sent <= 3 * received, "{sent} for {received}");
    assert!(sent > 2 * received, "as much as may be is sent");
    // A late record from there proves nothing, and one from home ends it.
    let mut late = record(&mut pair, b"late");
    let newer = record(&mut pair, b"newer");
    pair.inject(&newer);
    assert_eq!(pair.server.statistics().address_changes, 2);
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut late);
    let again = record(&mut pair, b"again");
    pair.inject(&again);
    assert_eq!(destination(&mut pair, association, 1000), peer());
}

#[test]
fn a_session_that_ends_in_doubt_leaves_no_timer() {
    let (mut pair, association) = pair(PathChallenges::Ignored, server_config());
    let mut datagram = record(&mut pair, b"moved");
    pair.server
        .handle_datagram(pair.now, elsewhere(), &mut datagram);
    assert!(pair.server.poll_timeout().is_some());
    pair.server.close(pair.now, association);
    assert_eq!(pair.server.poll_timeout(), None);
}

/// What was agreed on outlives a restart.
#[test]
fn a_saved_session_goes_on_proving_its_addresses() {
    let (mut pair, _) = pair(PathChallenges::Answered, server_config());
    let moment = Moment {
        now: pair.now,
        wall: std::time::SystemTime::UNIX_EPOCH,
    };
    let old = std::mem::replace(&mut pair.server, Server::new(server_config(), [1; 32]));
    let saved = old.save(moment, |_| Some(Vec::new()));
    pair.server.load(moment, &saved).unwrap();
    pair.address = elsewhere();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.statistics().paths_proved, 1);
}

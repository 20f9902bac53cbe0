//! Sessions that outlive their server: saved, sealed, opened, loaded.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use dtls_client::Client;
use dtls_proto::codec::record::{ContentType, split_first};
use dtls_proto::{
    AssociationId, CipherSuite, Config, ConnectionIds, Event, LoadError, Loaded, Moment, Psk,
    SaveKey, SavedSessions, SendError, Server, fuzzing,
};

use crate::network::Weather;
use crate::pair::{KEY, Pair, client_config, start};
use crate::pki;

const SECOND: Duration = Duration::from_secs(1);

fn server_config(ids: u8) -> Config {
    let mut config = pki::server_config();
    config.connection_ids = ConnectionIds::new(ids, 1, 2).ok();
    config
}

/// A pair with a session; with connection ids of these lengths if the client offers one.
fn established(ids: Option<(usize, u8)>, suite: CipherSuite) -> Pair {
    let mut config = client_config();
    config.certificate = Some(pki::device());
    config.suites = vec![suite];
    config.connection_id = ids.map(|(clients, _)| vec![7; clients]);
    let server = server_config(ids.map_or(0, |(_, servers)| servers));
    let mut pair = Pair::with(config, server, Weather::FINE, 0);
    pair.run_for(SECOND);
    assert!(pair.client.is_established());
    pair
}

fn with_suite(suite: CipherSuite) -> Pair {
    established(Some((4, 8)), suite)
}

fn moment(pair: &Pair, wall_seconds: u64) -> Moment {
    Moment {
        now: pair.now,
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall_seconds),
    }
}

/// Ends the server and keeps its sessions, each owner being the name of the association.
fn save(pair: &mut Pair) -> Vec<u8> {
    let ended = std::mem::replace(&mut pair.server, Server::new(Config::default(), [0; 32]));
    let saved = ended.save(moment(pair, 1_000_000), |association| {
        Some(association.to_string().into_bytes())
    });
    key().seal([9; 32], saved).unwrap()
}

fn key() -> SaveKey {
    SaveKey::new([5; 32])
}

/// Begins a server with kept sessions, some time after the save.
fn load(pair: &mut Pair, config: Config, sealed: &[u8], downtime: u64) -> Loaded {
    pair.server = Server::new(config, [43; 32]);
    let saved = key().open(sealed.to_vec()).unwrap();
    let at = moment(pair, 1_000_000 + downtime);
    pair.server.load(at, &saved).unwrap()
}

fn restart(pair: &mut Pair, config: Config) -> AssociationId {
    let sealed = save(pair);
    let loaded = load(pair, config, &sealed, 5);
    assert_eq!((loaded.sessions.len(), loaded.passed_over), (1, 0));
    loaded.sessions[0].association
}

/// Both say something, and both hear it.
fn talk(pair: &mut Pair, association: AssociationId) {
    let (up, down) = (pair.server_data().len(), pair.client_data().len());
    pair.client.send(pair.now, b"up").unwrap();
    pair.server.send(pair.now, association, b"down").unwrap();
    pair.run_for(SECOND);
    assert_eq!(pair.server_data().len(), up + 1);
    assert_eq!(pair.client_data().len(), down + 1);
}

#[test]
fn every_suite_goes_on_after_restarts_with_and_without_ids() {
    for suite in CipherSuite::ALL {
        for ids in [None, Some((0, 8)), Some((5, 0)), Some((5, 20))] {
            let mut pair = established(ids, suite);
            let association = pair.association().unwrap();
            talk(&mut pair, association);
            for _ in 0..3 {
                let config = server_config(ids.map_or(0, |(_, servers)| servers));
                let association = restart(&mut pair, config);
                talk(&mut pair, association);
            }
            assert_eq!(pair.requests(), 1, "{suite} {ids:?}: no new handshake");
        }
    }
}

#[test]
fn an_owner_comes_back_as_it_was_given_and_without_one_nothing_is_saved() {
    let mut pair = with_suite(CipherSuite::PskAes128Ccm8);
    let name = pair.association().unwrap().to_string();
    let sealed = save(&mut pair);
    let loaded = load(&mut pair, server_config(8), &sealed, 0);
    assert_eq!(loaded.sessions[0].owner, name.as_bytes());
    let ended = std::mem::replace(&mut pair.server, Server::new(Config::default(), [0; 32]));
    let saved = ended.save(moment(&pair, 0), |_| None);
    let mut server = Server::new(server_config(8), [1; 32]);
    let loaded = server.load(moment(&pair, 0), &saved).unwrap();
    assert_eq!(loaded, Loaded::default());
}

/// The explicit nonces of all records of epoch 1 that the server sent, whether its datagrams are written with an id or not.
fn nonces(pair: &Pair, id_length: usize) -> Vec<[u8; 8]> {
    let mut nonces = Vec::new();
    for datagram in &pair.from_server {
        let mut datagram = datagram.clone();
        let mut rest = datagram.as_mut_slice();
        while let Ok(split) = split_first(rest, id_length) {
            if split.header.epoch == 1 {
                nonces.push(split.fragment[..8].try_into().unwrap());
            }
            rest = split.rest;
        }
    }
    nonces
}

#[test]
fn no_nonce_is_used_twice_not_even_by_two_servers_that_load_the_same() {
    for clients in [None, Some(4)] {
        let mut pair = established(
            clients.map(|length| (length, 8)),
            CipherSuite::PskAes128GcmSha256,
        );
        let association = pair.association().unwrap();
        talk(&mut pair, association);
        for round in 0..20 {
            let sealed = save(&mut pair);
            // What must never be done: the first of these servers is forgotten as if it had crashed.
            for _ in 0..2 {
                let config = server_config(clients.map_or(0, |_| 8));
                let loaded = load(&mut pair, config, &sealed, round);
                for _ in 0..3 {
                    let association = loaded.sessions[0].association;
                    pair.server.send(pair.now, association, b"down").unwrap();
                    pair.drain();
                }
            }
        }
        let nonces = nonces(&pair, clients.unwrap_or(0));
        let different: BTreeSet<_> = nonces.iter().collect();
        assert!(nonces.len() > 120);
        assert_eq!(different.len(), nonces.len());
    }
}

#[test]
fn sequence_numbers_jump_and_when_none_is_left_the_session_ends() {
    let mut pair = with_suite(CipherSuite::PskAes128Ccm8);
    let association = pair.association().unwrap();
    pair.server.skip_to_sequence(association, (1 << 48) - 1);
    let association = restart(&mut pair, server_config(8));
    assert_eq!(
        pair.server.send(pair.now, association, b"too late"),
        Err(SendError::SequenceExhausted)
    );
    assert_eq!(pair.server.established(), 0);
}

#[test]
fn what_was_heard_before_is_not_heard_again_and_what_was_late_still_is() {
    let mut pair = established(None, CipherSuite::PskAes128Ccm8);
    pair.client.send(pair.now, b"heard").unwrap();
    let heard = pair.client.poll_transmit().unwrap();
    pair.client.send(pair.now, b"late").unwrap();
    let late = pair.client.poll_transmit().unwrap();
    pair.client.send(pair.now, b"newer").unwrap();
    let newer = pair.client.poll_transmit().unwrap();
    pair.inject(&heard);
    pair.inject(&newer);
    restart(&mut pair, server_config(0));
    for datagram in [&heard, &late, &newer, &late] {
        pair.inject(datagram);
    }
    assert_eq!(pair.server_data(), [&b"heard"[..], b"newer", b"late"]);
    assert_eq!(pair.server.statistics().replayed_records, 3);
}

#[test]
fn a_client_moves_while_the_server_is_away() {
    let mut pair = with_suite(CipherSuite::PskAes128Ccm8);
    let association = restart(&mut pair, server_config(8));
    pair.address = ([203, 0, 113, 77], 5000).into();
    pair.client.send(pair.now, b"moved").unwrap();
    pair.run_for(SECOND);
    assert_eq!(pair.server.statistics().address_changes, 1);
    talk(&mut pair, association);
    // And stays there after the next restart.
    let association = restart(&mut pair, server_config(8));
    talk(&mut pair, association);
}

#[test]
fn a_session_that_lost_its_address_does_not_take_it_back() {
    let mut pair = with_suite(CipherSuite::PskAes128Ccm8);
    // Without an id, from the same address, as if the first client had moved and said nothing yet.
    let mut first = pair.replace_client(client_config());
    pair.run_for(SECOND);
    let sealed = save(&mut pair);
    let loaded = load(&mut pair, server_config(8), &sealed, 1);
    assert_eq!((loaded.sessions.len(), loaded.passed_over), (2, 0));
    pair.client.send(pair.now, b"second").unwrap();
    pair.run_for(SECOND);
    first.send(pair.now, b"first").unwrap();
    let datagram = first.poll_transmit().unwrap();
    pair.inject_from(([203, 0, 113, 77], 5000).into(), &datagram);
    assert_eq!(pair.server_data(), [&b"second"[..], b"first"]);
}

#[test]
fn what_has_no_place_any_more_is_passed_over() {
    let mut other_suites = server_config(8);
    other_suites.suites = vec![CipherSuite::PskAes128Ccm8];
    let mut no_room = server_config(8);
    no_room.max_associations = 0;
    let mut no_ids = server_config(8);
    no_ids.connection_ids = None;
    for config in [other_suites, no_room, no_ids, server_config(7)] {
        let mut pair = with_suite(CipherSuite::PskAes128GcmSha256);
        let sealed = save(&mut pair);
        let loaded = load(&mut pair, config, &sealed, 1);
        assert_eq!((loaded.sessions.len(), loaded.passed_over), (0, 1));
        assert_eq!(pair.server.established(), 0);
        assert_eq!(pair.server.connection_ids(), 0);
    }
}

#[test]
fn a_client_that_missed_the_end_of_the_handshake_hears_it_after_the_restart() {
    let mut pair = Pair::new();
    while pair.association().is_none() {
        let (towards, payload) = pair.take_next().unwrap();
        pair.give(towards, &payload);
    }
    // The flight with our Finished gets lost.
    pair.take_next().unwrap();
    assert!(!pair.client.is_established());
    let association = restart(&mut pair, server_config(0));
    pair.run_for(Duration::from_secs(10));
    assert!(pair.client.is_established());
    talk(&mut pair, association);
    assert_eq!(pair.requests(), 1);
}

#[test]
fn idleness_goes_on_while_there_is_no_server() {
    for (downtime, makes_room) in [(0, false), (3600, true)] {
        let mut pair = established(None, CipherSuite::PskAes128Ccm8);
        let sealed = save(&mut pair);
        let mut config = server_config(0);
        config.max_associations = 1;
        load(&mut pair, config, &sealed, downtime);
        pair.address = ([203, 0, 113, 77], 5000).into();
        pair.replace_client(client_config());
        pair.run_for(SECOND);
        assert_eq!(pair.client.is_established(), makes_room);
    }
}

#[test]
fn what_may_be_resumed_by_id_may_be_so_after_a_restart_and_no_longer_than_before() {
    for (downtime, resumed) in [(3600, 1), (24 * 3600, 0)] {
        let mut config = server_config(0);
        config.resumption.cached_sessions = 10;
        let mut pair = Pair::with(client_config(), config.clone(), Weather::FINE, 0);
        pair.run_for(SECOND);
        let session = pair.client.resumption().unwrap();
        let sealed = save(&mut pair);
        load(&mut pair, config, &sealed, downtime);
        let mut again = client_config();
        again.resume = Some(session);
        pair.replace_client(again);
        pair.run_for(SECOND);
        assert!(pair.client.is_established());
        assert_eq!(pair.server.statistics().resumptions_established, resumed);
    }
}

/// Symptom: a file of any age was loaded, so that a record somebody had recorded after the save could
/// be delivered long afterwards. Cause: saved sessions had no age.
#[test]
fn sessions_saved_more_than_a_day_ago_are_refused() {
    const DAY: u64 = 24 * 3600;
    for (saved, loaded, is_taken) in [
        (DAY, 2 * DAY, true),
        (DAY, 2 * DAY + 1, false),
        // The clock was set back.
        (3 * DAY, 2 * DAY, true),
        (3 * DAY + 1, 2 * DAY, false),
    ] {
        let pair = Pair::established().0;
        let saved = pair.server.save(
            Moment {
                now: pair.now,
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(saved),
            },
            |_| Some(Vec::new()),
        );
        let at = Moment {
            now: pair.now,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(loaded),
        };
        let mut next = Server::new(server_config(0), [1; 32]);
        let found = next.load(at, &saved).map(|loaded| loaded.sessions.len());
        let expected = if is_taken {
            Ok(1)
        } else {
            Err(LoadError::TooOld)
        };
        assert_eq!(found, expected, "{saved:?}");
        assert_eq!(next.established(), usize::from(is_taken));
    }
}

#[test]
fn a_server_about_to_end_hears_no_hello_but_ends_what_was_begun() {
    let mut pair = Pair::new();
    while pair.requests() == 0 {
        let (towards, payload) = pair.take_next().unwrap();
        pair.give(towards, &payload);
    }
    pair.server.close_admission();
    pair.run_for(SECOND);
    assert!(pair.client.is_established());
    let sent = pair.from_server.len();
    pair.replace_client(client_config());
    pair.run_for(SECOND);
    assert!(!pair.client.is_established());
    assert_eq!(pair.from_server.len(), sent, "silence");
    assert_eq!(pair.server.statistics().hellos_after_closing, 1);
    // The next server hears the hello when it is sent again.
    restart(&mut pair, server_config(0));
    pair.run_for(Duration::from_secs(30));
    assert!(pair.client.is_established());
}

#[test]
fn nobody_is_told_of_the_end() {
    let mut pair = with_suite(CipherSuite::PskAes128Ccm8);
    let sent = pair.from_server.len();
    save(&mut pair);
    pair.run_for(SECOND);
    assert_eq!(pair.from_server.len(), sent);
    assert!(!pair.client.is_closed());
}

/// Sessions of several kinds, as they are written.
fn several() -> (Pair, SavedSessions) {
    let mut config = server_config(8);
    config.resumption.cached_sessions = 10;
    let mut pair = Pair::with(client_config(), config, Weather::FINE, 0);
    pair.run_for(SECOND);
    for (number, suite) in (1_u16..).zip([0xc0ae, 0xd002]) {
        let mut config = client_config();
        config.certificate = Some(pki::device());
        config.suites = vec![CipherSuite::from_code(suite).unwrap()];
        config.connection_id = Some(vec![1, 2]);
        pair.address.set_port(number);
        pair.replace_client(config);
        pair.run_for(SECOND);
    }
    assert_eq!(pair.server.established(), 3);
    let sealed = save(&mut pair);
    let saved = key().open(sealed).unwrap();
    (pair, saved)
}

#[test]
fn authentic_content_that_makes_no_sense_is_survived() {
    let (pair, saved) = several();
    fuzzing::broken_saved_sessions(moment(&pair, 1_000_000), &saved);
}

#[test]
fn a_file_cut_off_anywhere_loads_nothing() {
    let (mut pair, _) = several();
    let sealed = save(&mut pair);
    for length in 0..sealed.len() {
        let refused = key().open(sealed[..length].to_vec()).unwrap_err();
        assert_eq!(refused, LoadError::Torn, "{length}");
    }
}

#[test]
fn many_sessions_come_back_each_to_its_owner() {
    let now = start();
    let mut server = Server::new(server_config(8), [1; 32]);
    let mut clients = Vec::new();
    for number in 0..200_u16 {
        let mut config = client_config();
        config.connection_id = (number % 2 == 0).then(Vec::new);
        let address = ([10, 0, 0, 1], 1 + number).into();
        let mut client = Client::new(now, config).unwrap();
        shake(&mut server, &mut client, address);
        assert!(client.is_established());
        clients.push((address, client));
    }
    let at = Moment {
        now,
        wall: SystemTime::UNIX_EPOCH,
    };
    let saved = server.save(at, |association| Some(association.to_string().into_bytes()));
    let mut server = Server::new(server_config(8), [2; 32]);
    let loaded = server.load(at, &saved).unwrap();
    assert_eq!((loaded.sessions.len(), loaded.passed_over), (200, 0));
    for (number, (address, client)) in clients.iter_mut().enumerate() {
        client.send(now, b"here").unwrap();
        let mut record = client.poll_transmit().unwrap();
        assert_eq!(record[0] == ContentType::TLS12_CID.0, number % 2 == 0);
        server.handle_datagram(now, *address, &mut record);
        let Some(Event::ApplicationData { association, .. }) = server.poll_event() else {
            panic!("{number}")
        };
        let mut named = loaded.sessions.iter();
        let named = named.find(|session| session.association == association);
        let first = (number + 1).to_string();
        assert_eq!(named.unwrap().owner, first.as_bytes());
    }
}

/// Servers of one port, each with its own shard in the ids it makes.
fn shards(count: u8, config: &Config) -> Vec<Server> {
    let of_shard = |shard| {
        let mut config = config.clone();
        config.connection_ids = config.connection_ids.map(|ids| ids.with_shard(shard));
        config
    };
    let first = Server::new(of_shard(0), [1; 32]);
    let others: Vec<_> = (1..count)
        .map(|shard| first.beside(of_shard(shard), [1; 32]))
        .collect();
    std::iter::once(first).chain(others).collect()
}

/// How many shards there were and are does not matter: a record with an id finds its session by the shard in the id, one without
/// finds it by the address that was told at the load.
#[test]
fn sessions_of_several_shards_come_back_to_any_number_of_shards() {
    let now = start();
    let at = Moment {
        now,
        wall: SystemTime::UNIX_EPOCH,
    };
    for (before, after) in [(1, 3), (3, 1), (3, 2), (4, 4)] {
        let mut config = server_config(8);
        config.resumption.cached_sessions = 100;
        let mut servers = shards(before, &config);
        let mut clients = Vec::new();
        for number in 0..40_u16 {
            let mut config = client_config();
            config.connection_id = (number % 2 == 0).then(Vec::new);
            let address: SocketAddr = ([10, 0, 0, 1], 1 + number).into();
            let mut client = Client::new(now, config).unwrap();
            let server = usize::from(number) % servers.len();
            shake(&mut servers[server], &mut client, address);
            assert!(client.is_established());
            clients.push((address, client));
        }
        let saved = Server::save_all(servers, at, |server, association| {
            Some(format!("{server} {association}").into_bytes())
        });
        let mut servers = shards(after, &config);
        let mut places: Vec<_> = servers.iter_mut().collect();
        let loaded = Server::load_all(&mut places, at, &saved).unwrap();
        let ids = config.connection_ids.unwrap();
        let mut seen = BTreeSet::new();
        for (number, (address, client)) in clients.iter_mut().enumerate() {
            client.send(now, b"here").unwrap();
            let mut record = client.poll_transmit().unwrap();
            let route = ids.route(&record);
            assert_eq!(route.is_some(), number % 2 == 0);
            let place = match route {
                Some(route) => route.shard_of(servers.len()),
                None => loaded
                    .iter()
                    .position(|loaded| {
                        let mut sessions = loaded.sessions.iter();
                        sessions.any(|session| session.address == Some(*address))
                    })
                    .unwrap(),
            };
            let server = &mut servers[place];
            server.handle_datagram(now, *address, &mut record);
            let Some(Event::ApplicationData { association, .. }) = server.poll_event() else {
                panic!("{before} {after} {number}")
            };
            let mut named = loaded[place].sessions.iter();
            let named = named.find(|session| session.association == association);
            seen.insert(named.unwrap().owner.clone());
        }
        assert_eq!(seen.len(), 40, "each its own");
        let evenly = loaded.iter().map(|loaded| loaded.sessions.len());
        assert!(evenly.min().unwrap() > 0);
        assert_eq!(servers.last().unwrap().resumable(), 40);
    }
}

#[test]
fn shards_have_their_places_together() {
    let now = start();
    let mut config = server_config(0);
    config.max_associations = 3;
    let mut servers = shards(2, &config);
    let mut taken = Vec::new();
    for number in 0..5_u16 {
        let address: SocketAddr = ([10, 0, 0, 1], 1 + number).into();
        let mut client = Client::new(now, client_config()).unwrap();
        shake(&mut servers[usize::from(number / 3)], &mut client, address);
        taken.push(client.is_established());
    }
    assert_eq!(taken, [true, true, true, false, false]);
    assert_eq!(servers[1].statistics().sessions_over_limit, 2);
    // A server that is gone takes nobody's place.
    servers.remove(0);
    let mut client = Client::new(now, client_config()).unwrap();
    shake(&mut servers[0], &mut client, ([10, 0, 0, 1], 9).into());
    assert!(client.is_established());
}

#[test]
fn a_session_is_resumed_by_its_id_with_any_shard() {
    let now = start();
    let mut config = server_config(0);
    config.resumption.cached_sessions = 10;
    let mut servers = shards(2, &config);
    let mut client = Client::new(now, client_config()).unwrap();
    shake(&mut servers[0], &mut client, ([10, 0, 0, 1], 1).into());
    let mut config = client_config();
    config.resume = client.resumption();
    let mut client = Client::new(now, config).unwrap();
    shake(&mut servers[1], &mut client, ([10, 0, 0, 1], 2).into());
    assert!(client.is_established());
    assert_eq!(servers[1].statistics().resumptions_established, 1);
}

/// A handshake over a network that takes no time.
fn shake(server: &mut Server, client: &mut Client, address: SocketAddr) {
    let now = start();
    while let Some(mut datagram) = client.poll_transmit() {
        server.handle_datagram(now, address, &mut datagram);
        while let Some(event) = server.poll_event() {
            if let Event::PskRequested { association, .. } = event {
                let key = Psk::from(KEY);
                server.provide_psk(now, association, Some(key));
            }
        }
        while let Some(mut sent) = server.poll_transmit() {
            client.handle_datagram(now, &mut sent.payload);
        }
    }
}

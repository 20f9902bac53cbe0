//! What happens when all places are taken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_client::Client;
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record, split_first};
use dtls_proto::{
    AssociationId, CloseReason, Config, ConnectionIds, Event, HandshakeRate, Psk, Server,
};

use crate::network::Weather;
use crate::pair::{KEY, Pair, client_config, start};

/// A server and clients at different addresses, with a network that takes no time.
struct Crowd {
    now: Instant,
    server: Server,
    clients: HashMap<SocketAddr, Client>,
    associations: HashMap<SocketAddr, AssociationId>,
    closed: Vec<CloseReason>,
}

impl Crowd {
    fn new(config: Config) -> Self {
        Self {
            now: start(),
            server: Server::new(config, [3; 32]),
            clients: HashMap::new(),
            associations: HashMap::new(),
            closed: Vec::new(),
        }
    }

    fn join(&mut self, number: u16) -> bool {
        self.join_with(number, client_config())
    }

    fn join_with(&mut self, number: u16, config: dtls_client::Config) -> bool {
        self.join_from(address(number), config)
    }

    fn join_from(&mut self, address: SocketAddr, config: dtls_client::Config) -> bool {
        let client = Client::new(self.now, config).unwrap();
        self.clients.insert(address, client);
        self.exchange();
        self.clients[&address].is_established()
    }

    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            for (address, client) in &mut self.clients {
                while let Some(mut payload) = client.poll_transmit() {
                    self.server
                        .handle_datagram(self.now, *address, &mut payload);
                    quiet = false;
                }
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    Event::PskRequested { association, .. } => {
                        self.server
                            .provide_psk(self.now, association, Some(Psk::from(KEY)));
                    }
                    Event::Established {
                        association, peer, ..
                    } => {
                        self.associations.insert(peer, association);
                    }
                    Event::Closed { reason, .. } => self.closed.push(reason),
                    _ => {}
                }
            }
            while let Some(mut transmit) = self.server.poll_transmit() {
                if let Some(client) = self.clients.get_mut(&transmit.peer) {
                    client.handle_datagram(self.now, &mut transmit.payload);
                }
                quiet = false;
            }
            if quiet {
                return;
            }
        }
    }
}

fn address(number: u16) -> SocketAddr {
    ([203, 0, 113, 5], number).into()
}

fn small() -> Config {
    let mut config = Config::default();
    config.max_associations = 3;
    config
}

#[test]
fn a_full_server_refuses_a_newcomer_at_the_end_of_its_handshake() {
    let mut crowd = Crowd::new(small());
    for number in 1..=3 {
        assert!(crowd.join(number));
    }
    assert!(!crowd.join(4));
    assert!(crowd.clients[&address(4)].is_closed());
    assert_eq!(crowd.server.statistics().sessions_over_limit, 1);
    assert_eq!(crowd.closed, [CloseReason::Evicted]);
    assert_eq!(crowd.server.established(), 3);
    let freed = crowd.associations[&address(2)];
    crowd.server.close(crowd.now, freed);
    crowd.exchange();
    assert!(crowd.join(4));
}

#[test]
fn a_full_server_gives_up_the_association_that_was_idle_longest() {
    let mut crowd = Crowd::new(small());
    for number in 1..=3 {
        assert!(crowd.join(number));
        crowd.now += Duration::from_secs(60);
    }
    // The first is used, so the second is idle longest.
    crowd.now += Duration::from_secs(25 * 60);
    crowd
        .clients
        .get_mut(&address(1))
        .unwrap()
        .send(crowd.now, b"here")
        .unwrap();
    crowd.exchange();
    assert!(!crowd.join(4), "nobody has been idle for half an hour");
    crowd.now += Duration::from_secs(5 * 60);
    assert!(crowd.join(4));
    assert_eq!(crowd.closed, [CloseReason::Evicted; 2]);
    assert_eq!(crowd.server.statistics().sessions_over_limit, 1);
    assert_eq!(crowd.server.statistics().evictions, 1);
    let sends = [1, 2, 3, 4].map(|number| {
        crowd
            .server
            .send(crowd.now, crowd.associations[&address(number)], b"?")
            .is_ok()
    });
    assert_eq!(sends, [true, false, true, true]);
}

#[test]
fn a_client_that_forgot_its_association_gets_a_new_one_though_the_server_is_full() {
    let mut crowd = Crowd::new(small());
    for number in 1..=3 {
        assert!(crowd.join(number));
    }
    assert!(crowd.join(2));
    assert_eq!(crowd.closed, [CloseReason::Replaced]);
    assert_eq!(crowd.server.established(), 3);
}

#[test]
fn no_more_handshakes_are_under_way_than_allowed() {
    let mut config = Config::default();
    config.max_handshakes = 2;
    let mut crowd = Crowd::new(config);
    for number in 1..=3 {
        let mut config = client_config();
        config.key = Psk::from(b"wrong".as_slice());
        crowd.join_with(number, config);
    }
    assert_eq!(crowd.server.handshaking(), 2);
    assert_eq!(crowd.server.statistics().handshakes_over_limit, 1);
    assert!(!crowd.join(4));
    // They are forgotten, and there is room again.
    while let Some(due) = crowd.server.poll_timeout() {
        crowd.now = due;
        crowd.server.handle_timeout(due);
    }
    crowd.exchange();
    assert!(crowd.join(5));
}

#[test]
fn two_thousand_failed_handshakes_leave_nothing_behind() {
    let mut crowd = Crowd::new(Config::default());
    for number in 0..2_000 {
        let mut config = client_config();
        config.key = Psk::from(b"wrong".as_slice());
        crowd.join_with(number, config);
        crowd.clients.clear();
        crowd.now += Duration::from_millis(50);
        crowd.server.handle_timeout(crowd.now);
    }
    crowd.now += Duration::from_secs(100);
    crowd.server.handle_timeout(crowd.now);
    crowd.exchange();
    assert_eq!(crowd.server.handshaking(), 0);
    assert_eq!(crowd.server.poll_timeout(), None);
    assert_eq!(crowd.closed.len(), 2_000);
    assert!(crowd.join(2_000));
}

#[test]
fn one_silent_look_up_delays_nobody_else() {
    let mut crowd = Crowd::new(Config::default());
    let mut slow = Client::new(crowd.now, client_config()).unwrap();
    // Drives the slow one by hand up to its identity, and never answers.
    for _ in 0..3 {
        while let Some(mut payload) = slow.poll_transmit() {
            crowd
                .server
                .handle_datagram(crowd.now, address(9), &mut payload);
        }
        while let Some(mut transmit) = crowd.server.poll_transmit() {
            slow.handle_datagram(crowd.now, &mut transmit.payload);
        }
    }
    assert!(matches!(
        crowd.server.poll_event(),
        Some(Event::PskRequested { .. })
    ));
    assert!(crowd.join(1));
}

#[test]
fn a_neighbourhood_begins_no_more_handshakes_than_its_share_and_is_in_nobodys_way() {
    let mut config = Config::default();
    let mut rate = HandshakeRate::new(1);
    rate.burst = 3;
    config.handshake_rate = Some(rate);
    let mut crowd = Crowd::new(config);
    let joined = [1, 2, 3, 4, 5].map(|number| crowd.join(number));
    assert_eq!(joined, [true, true, true, false, false]);
    assert_eq!(crowd.server.statistics().handshakes_over_rate, 2);
    assert!(crowd.join_from(([198, 51, 100, 1], 1).into(), client_config()));
    // What is sent again is no new handshake: it may still succeed when it is its turn.
    crowd.now += Duration::from_secs(2);
    for client in crowd.clients.values_mut() {
        client.handle_timeout(crowd.now);
    }
    crowd.exchange();
    assert!(crowd.clients.values().all(Client::is_established));
}

/// An address that nobody has proved counts for nothing, so that nobody can use up the share of others.
#[test]
fn hellos_without_a_cookie_use_nothing_up() {
    let mut config = Config::default();
    config.handshake_rate = Some(HandshakeRate::new(1));
    let mut crowd = Crowd::new(config);
    for number in 0..1_000 {
        let mut client = Client::new(crowd.now, client_config()).unwrap();
        let mut hello = client.poll_transmit().unwrap();
        let from = address(number);
        crowd.server.handle_datagram(crowd.now, from, &mut hello);
    }
    assert!(crowd.join(1));
    assert_eq!(crowd.server.statistics().handshakes_over_rate, 0);
}

/// Symptom: 20,000 forged records a second with a session's connection id, or with its source
/// address, silenced the session's owner. Cause: the filter counted forged records for the session,
/// whatever their source, and then dropped the owner's records too (RFC 6347 §4.1.2.7 demands that
/// the association is preserved).
#[test]
fn forged_records_never_filter_the_owner() {
    let (mut pair, forge) = pair_with_id(10);
    let stranger = ([198, 51, 100, 66], 6666).into();
    for number in 0..1_000 {
        pair.inject_from(stranger, &forge(1_000 + number));
        // With the owner's source address as well.
        pair.inject(&forge(10_000 + number));
        if number % 100 == 0 {
            pair.client.send(pair.now, b"through").unwrap();
            pair.run_for(Duration::from_millis(2));
        }
    }
    assert_eq!(pair.server_data(), [b"through"; 10]);
    let statistics = pair.server.statistics();
    assert_eq!(statistics.bad_records, 1_010);
    assert_eq!(statistics.filtered_records, 990);
    assert_eq!(pair.closed(), []);
    // Another foreign address is counted apart, so that a client that moves is heard.
    let new_home = ([203, 0, 113, 9], 9).into();
    pair.client.send(pair.now, b"moved").unwrap();
    let record = pair.client.poll_transmit().unwrap();
    pair.inject_from(new_home, &record);
    assert_eq!(pair.server_data().last(), Some(&b"moved".as_slice()));
}

/// A flood of forged records from a foreign address makes work up to a limit, until the next second.
#[test]
fn forged_records_from_a_foreign_address_cost_bounded_work() {
    let (mut pair, forge) = pair_with_id(10);
    let stranger = ([198, 51, 100, 66], 6666).into();
    for number in 0..100_000 {
        pair.inject_from(stranger, &forge(1_000 + number));
    }
    let statistics = pair.server.statistics();
    assert_eq!(statistics.bad_records, 10);
    assert_eq!(statistics.filtered_records, 99_990);
    pair.run_for(Duration::from_secs(1));
    pair.inject_from(stranger, &forge(1_000));
    assert_eq!(pair.server.statistics().bad_records, 11);
}

/// A session with a connection id, and what forges its records.
fn pair_with_id(max_forgeries: u32) -> (Pair, impl Fn(u64) -> Vec<u8>) {
    let mut config = Config::default();
    config.max_forgeries = max_forgeries;
    config.connection_ids = ConnectionIds::new(8, 1, 2).ok();
    let mut client = client_config();
    client.connection_id = Some(Vec::new());
    let mut pair = Pair::with(client, config, Weather::FINE, 0);
    pair.run_for(Duration::from_millis(1500));
    pair.client.send(pair.now, b"id").unwrap();
    let mut record = pair.client.poll_transmit().unwrap();
    let id = split_first(&mut record, 8).unwrap().header.connection_id;
    (pair, move |sequence| {
        let header = RecordHeader::with_connection_id(id, 1, sequence);
        let mut record = Vec::new();
        put_plain_record(header, &[0xa5; 40], &mut record);
        record
    })
}

/// Without the limit each is opened, and still nothing ends.
#[test]
fn a_limit_of_zero_forgeries_is_none() {
    let mut config = Config::default();
    config.max_forgeries = 0;
    let mut pair = Pair::with(client_config(), config, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    for number in 0..5_000 {
        pair.inject(&forgery(1_000 + number));
    }
    pair.client.send(pair.now, b"after").unwrap();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.server.statistics().bad_records, 5_000);
    assert_eq!(pair.server_data(), [b"after"]);
}

/// A record of epoch 1 that nobody has sealed.
fn forgery(sequence: u64) -> Vec<u8> {
    let header = RecordHeader::new(ContentType::APPLICATION_DATA, 1, sequence);
    let mut record = Vec::new();
    put_plain_record(header, &[0xa5; 40], &mut record);
    record
}

/// What a client makes the server hold before its turn is as much as is configured.
#[test]
fn what_is_held_for_a_client_is_configured() {
    let mut config = Config::default();
    config.inbox.early_records = 0;
    config.inbox.messages.bytes = 10;
    let mut pair = Pair::with(client_config(), config, Weather::FINE, 0);
    pair.run_for(Duration::from_secs(30));
    assert!(!pair.client.is_established());
    let statistics = pair.server.statistics();
    assert!(
        statistics.refused_fragments > 0,
        "the identity is longer than that"
    );
}

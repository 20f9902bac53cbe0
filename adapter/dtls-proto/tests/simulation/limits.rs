//! What happens when all places are taken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls_client::Client;
use dtls_proto::{AssociationId, CloseReason, Config, Event, Psk, Server};

use crate::pair::{KEY, client_config, start};

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
        let client = Client::new(self.now, config).unwrap();
        self.clients.insert(address(number), client);
        self.exchange();
        self.clients[&address(number)].is_established()
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
fn a_full_server_takes_nobody_in_and_says_nothing() {
    let mut crowd = Crowd::new(small());
    for number in 1..=3 {
        assert!(crowd.join(number));
    }
    assert!(!crowd.join(4));
    assert_eq!(crowd.server.statistics().handshakes_over_limit, 1);
    assert_eq!(crowd.closed, []);
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
    assert_eq!(crowd.closed, [CloseReason::Evicted]);
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

//! Nothing grows without end: tables, timers, message ids.

use std::collections::HashSet;

use super::*;
use crate::reliability::{MessageIds, Random};

#[test]
fn at_most_64_requests_of_a_peer_are_remembered() {
    let mut server = Server::new();
    for id in 0..100 {
        let exchange = server.accept(&con(id));
        server.respond(exchange, changed());
    }
    assert_eq!(server.endpoint.exchanges(), 64);
    assert_eq!(
        server.receive(&con(36).encode().unwrap()).len(),
        1,
        "the 64th last is a duplicate"
    );
    assert!(server.request().is_none());
    server.accept(&con(35));
    assert_eq!(server.endpoint.statistics().forgotten_early, 37);
}

#[test]
fn an_undecided_request_is_not_forgotten_for_a_new_one() {
    let mut server = Server::new();
    let undecided = server.accept(&con(0));
    for id in 1..200 {
        let exchange = server.accept(&con(id));
        server.respond(exchange, changed());
    }
    assert_eq!(
        server.receive(&con(0).encode().unwrap()),
        [],
        "still undecided, thus ignored"
    );
    assert_eq!(
        server.respond(undecided, changed()),
        [message(Type::Acknowledgement, Code::CHANGED, 0)]
    );
}

#[test]
fn a_peer_with_64_undecided_requests_has_to_wait() {
    let mut server = Server::new();
    let first = server.accept(&con(0));
    for id in 1..64 {
        server.accept(&con(id));
    }
    assert_eq!(server.receive(&con(64).encode().unwrap()), []);
    assert_eq!(server.request(), None);
    assert_eq!(server.endpoint.statistics().overloaded, 1);
    server.respond(first, changed());
    server.accept(&con(64));
}

#[test]
fn all_peers_together_are_bounded_too() {
    let mut server = Server::with(Config {
        max_exchanges: 10,
        ..Config::default()
    });
    for peer in 0..10 {
        server.receive_from(peer, &con(1).encode().unwrap());
    }
    let first = server.request().unwrap().0;
    while server.request().is_some() {}
    server.receive_from(10, &con(1).encode().unwrap());
    assert_eq!(server.request(), None);
    assert_eq!(server.endpoint.statistics().overloaded, 1);
    server.respond(first, changed());
    server.receive_from(10, &con(1).encode().unwrap());
    assert!(server.request().is_some());
    assert_eq!(
        (server.endpoint.exchanges(), server.endpoint.peers()),
        (10, 10)
    );
}

/// Requests that waited for commands were the oldest, and none else was looked at: nobody was served until they were answered.
#[test]
fn many_that_wait_do_not_keep_others_out() {
    let mut server = Server::with(Config {
        max_exchanges: 200,
        ..Config::default()
    });
    for peer in 0..100 {
        server.receive_from(peer, &con(1).encode().unwrap());
        let waiting = server.request().unwrap().0;
        server.acknowledge(waiting);
    }
    server.pass(SECOND);
    for peer in 100..200 {
        server.receive_from(peer, &con(1).encode().unwrap());
        let exchange = server.request().unwrap().0;
        server.respond(exchange, changed());
    }
    server.pass(SECOND);
    let mut served = 0;
    for id in 1..=50 {
        server.receive_from(200, &con(id).encode().unwrap());
        if let Some((exchange, _)) = server.request() {
            server.respond(exchange, changed());
            served += 1;
        }
    }
    assert_eq!(served, 49, "64 are looked at for each message");
    assert_eq!(server.endpoint.statistics().overloaded, 1);
    server.pass(SECOND * 300);
    assert_eq!(server.endpoint.exchanges(), 100, "they still wait");
}

#[test]
fn a_hundred_thousand_exchanges_end_on_time_and_leave_nothing() {
    let mut endpoint: Endpoint<u32> = Endpoint::new(Config::default(), 1);
    let began = start();
    let datagram = con(1).encode().unwrap();
    for peer in 0..100_000 {
        let now = began + Duration::from_millis(u64::from(peer));
        endpoint.handle_datagram(now, &peer, &datagram);
        let Some(Event::Request { exchange, .. }) = endpoint.poll_event() else {
            panic!("a request")
        };
        if peer % 10 == 0 {
            endpoint.acknowledge(now, exchange);
        }
        endpoint.respond(now, exchange, changed());
        while let Some(transmit) = endpoint.poll_transmit() {
            let sent = Message::decode(&transmit.payload).unwrap();
            if sent.kind == Type::Confirmable {
                endpoint.handle_datagram(now, &peer, &ack(sent.id));
            }
        }
    }
    assert_eq!(endpoint.exchanges(), 100_000);
    endpoint.handle_timeout(began + SECOND * 247);
    assert_eq!(endpoint.exchanges(), 99_999);
    endpoint.handle_timeout(began + SECOND * 347);
    assert_eq!(
        (
            endpoint.exchanges(),
            endpoint.peers(),
            endpoint.poll_timeout()
        ),
        (0, 0, None)
    );
    assert_eq!(endpoint.statistics().retransmissions, 0);
}

#[test]
fn a_message_id_is_not_used_twice_within_a_lifetime() {
    let mut ids = MessageIds::new(&mut Random::new(3));
    let (began, lifetime) = (start(), SECOND * 247);
    let mut used = HashSet::new();
    while let Some(id) = ids.next(began, lifetime) {
        assert!(used.insert(id));
    }
    assert_eq!(used.len(), 1 << 16);
    assert_eq!(
        ids.next(began + lifetime - Duration::from_millis(1), lifetime),
        None
    );
    assert!(ids.next(began + lifetime, lifetime).is_some());
}

#[test]
fn message_ids_of_a_steady_peer_never_run_out() {
    let mut ids = MessageIds::new(&mut Random::new(4));
    let mut now = start();
    for _ in 0..200_000 {
        assert!(ids.next(now, SECOND * 247).is_some());
        now += Duration::from_millis(5);
    }
}

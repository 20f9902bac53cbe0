//! Nothing grows without end: tables, timers, message ids.

use std::collections::HashSet;

use fair_share::{Holder, HolderHasher};

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
        max_open_exchanges: 10,
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
        (11, 11),
        "an answered one takes no place of others"
    );
}

/// Requests that waited for commands were the oldest, and none else was looked at: nobody was served
/// until they were answered.
#[test]
fn many_that_wait_do_not_keep_others_out() {
    let mut server = Server::with(Config {
        max_exchanges: 100,
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
    for id in 1..=50 {
        server.receive_from(200, &con(id).encode().unwrap());
        let exchange = server.request().expect("there is room").0;
        server.respond(exchange, changed());
    }
    assert_eq!(server.endpoint.statistics().overloaded, 0);
    assert_eq!(server.endpoint.exchanges(), 200);
    server.pass(SECOND * 300);
    assert_eq!(server.endpoint.exchanges(), 100, "they still wait");
}

/// Acknowledges a request and answers it, so that the response awaits an acknowledgement.
fn answer_separately(server: &mut Server) -> MessageId {
    let exchange = server.request().expect("a request").0;
    server.acknowledge(exchange);
    server.respond(exchange, changed())[0].id
}

/// A device that never acknowledged its responses filled the table for a minute: nothing could be
/// forgotten, and every other device was ignored.
#[test]
fn responses_that_nobody_acknowledges_make_room() {
    let mut server = Server::with(Config {
        max_exchanges: 20,
        ..Config::default()
    });
    for peer in 0..20 {
        server.receive_from(peer, &con(1).encode().unwrap());
        answer_separately(&mut server);
    }
    server.receive_from(20, &con(1).encode().unwrap());
    let done = server.request().expect("there is room").0;
    server.respond(done, changed());
    assert_eq!(server.endpoint.statistics().forgotten_early, 1);
    server.receive_from(21, &con(1).encode().unwrap());
    answer_separately(&mut server);
    assert_eq!(
        server.receive_from(20, &con(1).encode().unwrap()),
        [],
        "one that needs nothing any more goes first: this is no duplicate but a new request"
    );
    assert!(server.request().is_some());
}

#[test]
fn a_peer_with_64_unacknowledged_responses_is_served() {
    let mut server = Server::new();
    for id in 0..200 {
        server.receive(&con(id).encode().unwrap());
        answer_separately(&mut server);
    }
    assert_eq!(server.endpoint.exchanges(), 64);
    assert_eq!(server.endpoint.statistics().overloaded, 0);
}

/// Peers are numbers; ten of them belong to one holder.
fn holder(hasher: &HolderHasher, tenant: u8, peer: u8) -> Option<Holder> {
    Some(hasher.holder(&tenant, &(tenant, peer / 10)))
}

/// One device with many sessions shortened the memory of all others: duplicates of their requests
/// were taken for new ones.
#[test]
fn a_holder_with_many_peers_displaces_its_own_exchanges_only() {
    let hasher = HolderHasher::default();
    let mut server = Server::with(Config {
        max_exchanges: 200,
        ..Config::default()
    });
    let send = |server: &mut Server, peer: u8, id: u16| {
        let datagram = con(id).encode().unwrap();
        let now = server.now;
        let holder = holder(&hasher, 1, peer);
        server
            .endpoint
            .handle_datagram_of(now, &peer, holder, usize::MAX, &datagram);
        let new = server.request().map(|(exchange, _)| exchange);
        if let Some(exchange) = new {
            server.respond(exchange, changed());
        }
        server.sent();
        new.is_some()
    };
    let others = (0..10).map(|number| number * 10);
    for peer in others.clone() {
        assert!(send(&mut server, peer, 1));
    }
    for id in 0..60 {
        for peer in 200..210 {
            assert!(send(&mut server, peer, id), "{peer} {id}");
        }
    }
    assert_eq!(server.endpoint.exchanges(), 200);
    for peer in others {
        assert!(!send(&mut server, peer, 1), "{peer} is still known");
    }
    assert_eq!(server.endpoint.statistics().overloaded, 0);
}

#[test]
fn a_holder_has_a_bounded_number_of_retransmissions_over_all_its_peers() {
    let hasher = HolderHasher::default();
    let mut server = Server::with(Config {
        max_unacknowledged_per_holder: 5,
        ..Config::default()
    });
    for peer in 0..10 {
        let datagram = con(1).encode().unwrap();
        let holder = holder(&hasher, 1, peer);
        let now = server.now;
        server
            .endpoint
            .handle_datagram_of(now, &peer, holder, usize::MAX, &datagram);
        answer_separately(&mut server);
    }
    assert_eq!(server.pass(SECOND * 3).len(), 5);
    let again = server.receive_from(0, &con(1).encode().unwrap());
    assert_eq!(again.len(), 1, "the response is still known");
    server.pass(SECOND * 300);
    assert!(server.is_empty());
}

/// Any traffic of holders with several peers each: the table stays within its bound, nobody who has
/// an unanswered request is forgotten, and nothing is left in the end.
#[test]
fn holders_are_counted_right_whatever_comes() {
    arbtest::arbtest(|bytes| {
        let hasher = HolderHasher::default();
        let mut server = Server::with(Config {
            max_exchanges: 30,
            max_messages_per_peer: 8,
            max_unacknowledged_per_holder: 4,
            ..Config::default()
        });
        let mut open = Vec::new();
        for _ in 0..bytes.arbitrary_len::<[u8; 3]>()? {
            let [peer, id, step]: [u8; 3] = bytes.arbitrary()?;
            let datagram = match step % 8 {
                0 => ack(MessageId(id.into())),
                1 => non(id.into()).encode().unwrap(),
                _ => con(id.into()).encode().unwrap(),
            };
            let holder = holder(&hasher, peer / 100, peer);
            let now = server.now;
            server
                .endpoint
                .handle_datagram_of(now, &peer, holder, usize::MAX, &datagram);
            if let Some((exchange, _)) = server.request() {
                open.push(exchange);
            }
            if step % 3 == 0 && !open.is_empty() {
                let exchange = open.remove(usize::from(id) % open.len());
                assert!(server.endpoint.is_open(exchange));
                if step % 2 == 0 {
                    server.acknowledge(exchange);
                }
                server.respond(exchange, changed());
            }
            if step % 32 == 0 {
                let forgotten = server.endpoint.forget_peer(&peer);
                open.retain(|exchange| !forgotten.contains(exchange));
            }
            server.sent();
            server.endpoint.assert_counts();
            assert!(server.endpoint.exchanges() <= 30 + open.len());
        }
        for exchange in open {
            server.respond(exchange, changed());
        }
        server.pass(SECOND * 600);
        server.endpoint.assert_counts();
        assert!(server.is_empty());
        Ok(())
    });
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

//! What holds whatever the network does.

use proptest::collection::vec;
use proptest::prelude::*;

use super::client::ClientState;
use super::*;

#[test]
fn on_a_good_network_every_request_is_answered_without_repetition() {
    let mut pair = Pair::seeded(
        7,
        40,
        Network {
            lost: 0,
            doubled: 0,
            delay_ms: 100,
        },
    );
    pair.run();
    assert!(
        pair.clients
            .iter()
            .all(|client| client.state == ClientState::Answered)
    );
    assert_eq!(pair.server.endpoint.statistics().retransmissions, 0);
    assert!(pair.server.is_empty());
}

#[test]
fn most_bodies_arrive_in_both_directions_though_every_tenth_datagram_is_lost() {
    let body: Vec<u8> = (0..2000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let bodies = vec![(body.clone(), BlockSize::B64); 40];
    let network = Network {
        lost: 10,
        doubled: 10,
        delay_ms: 500,
    };
    let mut pair = Pair::transferring(7, &bodies, network);
    pair.run();
    let whole = pair.clients.iter().filter(|client| client.received == body);
    assert!(whole.count() >= 30);
    assert!(pair.server.endpoint.statistics().repeated > 0);
}

#[test]
fn a_lost_con_is_sent_again_and_seen_once() {
    let mut pair = Pair::seeded(
        7,
        1,
        Network {
            lost: 100,
            doubled: 0,
            delay_ms: 50,
        },
    );
    let ((at, _), first) = pair.agenda.pop_first().unwrap();
    pair.server.now = at;
    pair.happen(first);
    pair.network.lost = 0;
    pair.run();
    assert_eq!(pair.clients[0].state, ClientState::Answered);
    assert_eq!(pair.seen[&con(0).token], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_the_network_does_every_exchange_ends_and_no_request_is_seen_twice(
        seed: u64, clients in 1..20_u8, lost in 0..100_u64, doubled in 0..100_u64, delay_ms in 0..5000_u64,
    ) {
        let mut pair = Pair::seeded(seed, clients, Network { lost, doubled, delay_ms });
        pair.run();
        prop_assert!(pair.seen.values().all(|times| *times == 1));
        prop_assert!(pair.clients.iter().all(|client| client.state != ClientState::Sending));
        prop_assert!(pair.server.is_empty());
        let statistics = pair.server.endpoint.statistics();
        prop_assert_eq!(statistics.separate, statistics.confirmed + statistics.gave_up);
        prop_assert_eq!(statistics.abandoned + statistics.late_responses + statistics.malformed, 0);
        if lost == 0 {
            prop_assert!(pair.clients.iter().all(|client| client.state == ClientState::Answered));
        }
    }

    #[test]
    fn whatever_the_network_does_a_body_arrives_as_it_was_or_not_at_all(
        seed: u64,
        bodies in vec((vec(any::<u8>(), 1..2048), size()), 1..8),
        lost in prop_oneof![Just(0), 1..30_u64], doubled in 0..100_u64, delay_ms in 0..2000_u64,
    ) {
        let mut pair = Pair::transferring(seed, &bodies, Network { lost, doubled, delay_ms });
        pair.run();
        for (client, (body, _)) in pair.clients.iter().zip(&bodies) {
            prop_assert!(client.state != ClientState::Sending);
            prop_assert!(body.starts_with(&client.received));
            if lost == 0 {
                prop_assert_eq!(&client.received, body);
            }
        }
        prop_assert!(pair.server.is_empty());
        let statistics = pair.server.endpoint.statistics();
        prop_assert!(statistics.requests <= u64::try_from(bodies.len()).unwrap());
        prop_assert_eq!(statistics.requests, statistics.reassembled);
        prop_assert_eq!(statistics.too_large + statistics.incomplete + statistics.evicted_transfers, 0);
    }
}

fn size() -> impl Strategy<Value = BlockSize> {
    (64..2048_usize).prop_map(|bytes| BlockSize::at_most(bytes).unwrap())
}

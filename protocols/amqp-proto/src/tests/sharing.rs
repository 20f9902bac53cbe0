//! What links share: no link takes so much of it that nothing is left for another one.

use fe2o3_amqp_types::performatives::{Flow, Performative};

use super::{Pair, plain};
use crate::{CannotSend, Config, LinkId, Message};

const CREDIT: u32 = 1_000_000;

/// Sends until the link may take no more; how many messages that were.
fn fill(pair: &mut Pair, link: LinkId) -> usize {
    let message = Message::data(vec![7; 100]);
    for sent in 0..100_000 {
        match pair.client.send(pair.now, link, &message) {
            Ok(_) => {}
            Err(CannotSend::Full) => return sent,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("there is no bound")
}

fn close_window(pair: &mut Pair) {
    let flow = Flow {
        incoming_window: 0,
        ..pair.peer.flow()
    };
    pair.peer.perform(flow);
    pair.deliver_to_client();
}

/// Bounds on bytes and deliveries held for the connection only: a tenant whose consumer never settles, or many messages of one
/// tenant before a slow peer, took all of it, and messages of other tenants were not sent.
#[test]
fn a_link_that_takes_all_it_may_leaves_room_for_others() {
    let bytes = Config {
        max_outgoing: 60_000,
        ..plain()
    };
    let places = Config {
        max_unsettled: 300,
        ..plain()
    };
    for (name, config, window) in [
        ("bytes in the outbox", bytes.clone(), 1_000_000),
        ("bytes before the window", bytes, 0),
        ("unsettled deliveries", places, 1_000_000),
    ] {
        let mut pair = Pair::opened(config, u32::MAX, window);
        let greedy = pair.another_sender(0, CREDIT);
        let others: Vec<_> = (1..8)
            .map(|handle| pair.another_sender(handle, CREDIT))
            .collect();
        if window == 0 {
            close_window(&mut pair);
        }
        let taken = fill(&mut pair, greedy);
        assert!(
            taken > 100,
            "{name}: it gets most of what nobody else needs: {taken}"
        );
        for other in others {
            let got = fill(&mut pair, other);
            assert!(got > 0, "{name}: there is room for each");
        }
    }
}

/// Messages that wait for the session's window were written in the order of sending over all links: one link's thousand came
/// before another one's single message.
#[test]
fn links_take_turns_when_the_window_opens() {
    let mut pair = Pair::opened(plain(), 512, 0);
    let busy = pair.another_sender(0, CREDIT);
    let quiet = pair.another_sender(1, CREDIT);
    close_window(&mut pair);
    let body = |byte: u8| Message::data(vec![byte; 1_000]);
    for number in 0..10 {
        pair.client.send(pair.now, busy, &body(number)).unwrap();
    }
    pair.client.send(pair.now, quiet, &body(99)).unwrap();
    assert!(pair.heard().is_empty(), "the window is closed");
    let flow = pair.peer.flow();
    pair.peer.perform(flow);
    pair.deliver_to_client();
    let frames: Vec<_> = pair
        .heard()
        .into_iter()
        .filter_map(|performative| match performative {
            Performative::Transfer(transfer) => Some((transfer.handle.0, transfer.more)),
            _ => None,
        })
        .collect();
    let ends: Vec<_> = frames
        .iter()
        .filter(|(_, more)| !more)
        .map(|(handle, _)| *handle)
        .collect();
    assert_eq!(ends, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let changes = frames
        .windows(2)
        .filter(|pair| pair[0].0 != pair[1].0)
        .count();
    assert_eq!(
        changes, 2,
        "no message comes between the frames of another one"
    );
}

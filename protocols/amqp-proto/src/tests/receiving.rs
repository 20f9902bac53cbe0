//! Receivers: credit, messages, settling.

use fe2o3_amqp_types::{
    definitions::Role,
    messaging::{DeliveryState, Rejected},
    performatives::{Disposition, Flow, Performative, Transfer},
};

use super::{Pair, peer::Peer, plain};
use crate::{Config, Event, IncomingId, LinkId, Outcome};

/// The messages among the events.
fn messages(pair: &mut Pair) -> Vec<(IncomingId, bool, Vec<u8>)> {
    let message = |event| match event {
        Event::Message {
            delivery,
            settled,
            message,
            ..
        } => Some((delivery, settled, message.to_vec())),
        _ => None,
    };
    pair.events().into_iter().filter_map(message).collect()
}

/// The credit granted to the peer last.
fn told_credit(pair: &mut Pair) -> Option<(u32, u32)> {
    pair.heard()
        .into_iter()
        .rev()
        .find_map(|performative| match performative {
            Performative::Flow(Flow {
                delivery_count: Some(count),
                link_credit: Some(credit),
                ..
            }) => Some((count, credit)),
            _ => None,
        })
}

#[test]
fn credit_is_granted_once_attached_and_for_each_message_taken() {
    let mut pair = Pair::open();
    let link = pair.client.attach_receiver("command/T").unwrap();
    pair.client.grant(link, 10);
    assert!(
        matches!(pair.heard().as_slice(), [Performative::Attach(attach)] if attach.role == Role::Receiver)
    );
    let mut answer = pair.peer.answer(0);
    answer.initial_delivery_count = Some(u32::MAX);
    pair.peer.perform(answer);
    pair.deliver_to_client();
    assert_eq!(told_credit(&mut pair), Some((u32::MAX, 10)));
    for number in 0..3 {
        pair.peer.send(&Peer::transfer(number), b"message");
    }
    pair.deliver_to_client();
    assert_eq!(messages(&mut pair).len(), 3);
    assert_eq!(told_credit(&mut pair), None);
    pair.client.grant(link, 1);
    pair.client.grant(link, 1);
    assert_eq!(told_credit(&mut pair), Some((2, 9)));
}

#[test]
fn a_message_is_put_together_from_its_frames() {
    let mut pair = Pair::open();
    pair.receiver(10);
    let first = Transfer {
        more: true,
        ..Peer::transfer(5)
    };
    let next = Transfer {
        delivery_id: None,
        delivery_tag: None,
        ..first.clone()
    };
    let last = Transfer {
        more: false,
        ..next.clone()
    };
    pair.peer.send(&first, b"one ");
    pair.peer.send(&next, b"two ");
    pair.deliver_to_client();
    assert!(messages(&mut pair).is_empty());
    pair.peer.send(&last, b"three");
    pair.peer.send(
        &Transfer {
            more: true,
            ..Peer::transfer(6)
        },
        b"never mind",
    );
    pair.peer.send(
        &Transfer {
            aborted: true,
            ..Peer::transfer(6)
        },
        b"",
    );
    pair.peer.send(
        &Transfer {
            settled: Some(true),
            ..Peer::transfer(7)
        },
        b"settled",
    );
    pair.deliver_to_client();
    assert_eq!(
        messages(&mut pair),
        [
            (IncomingId(5), false, b"one two three".to_vec()),
            (IncomingId(7), true, b"settled".to_vec()),
        ]
    );
}

#[test]
fn each_message_is_settled_once() {
    let mut pair = Pair::open();
    let link = pair.receiver(10);
    for number in 0..3 {
        pair.peer.send(&Peer::transfer(number), b"message");
    }
    pair.deliver_to_client();
    pair.peer.perform(Disposition {
        role: Role::Sender,
        first: 2,
        last: None,
        settled: true,
        state: None,
        batchable: false,
    });
    pair.deliver_to_client();
    let settle =
        |pair: &mut Pair, number, outcome| pair.client.settle(link, IncomingId(number), outcome);
    assert!(settle(&mut pair, 0, Outcome::Accepted));
    assert!(!settle(&mut pair, 0, Outcome::Accepted));
    assert!(settle(
        &mut pair,
        1,
        Outcome::rejected("hono:bad-request", "no")
    ));
    assert!(
        !settle(&mut pair, 2, Outcome::Accepted),
        "the peer settled it itself"
    );
    assert!(!settle(&mut pair, 9, Outcome::Accepted));
    let reported: Vec<_> = pair
        .heard()
        .into_iter()
        .map(|performative| match performative {
            Performative::Disposition(reported) => {
                assert_eq!(
                    (reported.role, reported.settled, reported.last),
                    (Role::Receiver, true, None)
                );
                (reported.first, reported.state.unwrap())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reported.len(), 2);
    assert_eq!(reported[0], (0, Outcome::Accepted.into_state()));
    let DeliveryState::Rejected(Rejected { error: Some(error) }) = &reported[1].1 else {
        panic!("{reported:?}");
    };
    assert_eq!(error.description.as_deref(), Some("no"));
}

#[test]
fn the_window_of_the_session_is_kept_open() {
    let config = Config {
        incoming_window: 10,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    pair.receiver(100);
    for number in 0..6 {
        pair.peer.send(&Peer::transfer(number), b"message");
    }
    pair.deliver_to_client();
    let heard = pair.heard();
    assert!(
        matches!(
            heard.as_slice(),
            [Performative::Flow(Flow {
                next_incoming_id: Some(6),
                incoming_window: 10,
                handle: None,
                ..
            })]
        ),
        "{heard:?}"
    );
}

/// The link is detached with an error for the peer.
fn assert_detached(pair: &mut Pair, link: LinkId, condition: &str) {
    pair.deliver_to_client();
    let events = pair.events();
    assert!(
        matches!(events.last(), Some(Event::Detached { link: gone, error: Some(error) }) if *gone == link && error.condition == condition),
        "{events:?}"
    );
    let heard = pair.heard();
    assert!(
        matches!(heard.last(), Some(Performative::Detach(detach)) if detach.error.is_some()),
        "{heard:?}"
    );
    assert!(pair.client.is_open());
}

#[test]
fn too_large_a_message_ends_its_link() {
    let config = Config {
        max_message_size: 100,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    let link = pair.receiver(10);
    for _ in 0..2 {
        pair.peer.send(
            &Transfer {
                more: true,
                ..Peer::transfer(0)
            },
            &[0; 60],
        );
    }
    assert_detached(&mut pair, link, "amqp:link:message-size-exceeded");
    // The rest of it was under way already.
    pair.peer.send(&Peer::transfer(0), b"rest");
    pair.peer.detach(0, None);
    pair.deliver_to_client();
    assert!(pair.events().is_empty());
    assert_eq!(pair.client.links(), 0);
}

#[test]
fn a_message_without_credit_ends_its_link() {
    let mut pair = Pair::open();
    let link = pair.receiver(1);
    pair.peer.send(&Peer::transfer(0), b"message");
    pair.peer.send(&Peer::transfer(1), b"message");
    assert_detached(&mut pair, link, "amqp:link:transfer-limit-exceeded");
}

#[test]
fn more_unsettled_than_may_be_are_released() {
    let config = Config {
        max_unsettled: 2,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    pair.receiver(10);
    for number in 0..3 {
        pair.peer.send(&Peer::transfer(number), b"message");
    }
    pair.deliver_to_client();
    assert_eq!(messages(&mut pair).len(), 2);
    assert!(matches!(
        pair.heard().as_slice(),
        [Performative::Disposition(reported), Performative::Flow(_)] | [Performative::Flow(_), Performative::Disposition(reported)]
            if reported.first == 2 && reported.state == Some(Outcome::Released.into_state())
    ));
}

//! Senders: attaching, credit, transfers, settlement.

use std::time::Duration;

use fe2o3_amqp_types::{
    definitions::{Handle, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Accepted, DeliveryState, Modified, Received, Rejected, Released, TargetArchetype},
    performatives::{Flow, Performative, Transfer},
};
use proptest::prelude::*;

use super::{Pair, peer::error, plain};
use crate::{CannotAttach, CannotSend, Config, Event, Message, Outcome, PeerError, Settlement};

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});

/// The transfers that the peer heard, and the parts of messages in them.
fn transfers(pair: &mut Pair) -> Vec<(Transfer, Vec<u8>)> {
    pair.deliver_to_peer();
    let heard = std::mem::take(&mut pair.peer.heard);
    let transfer = |frame: crate::frame::Frame| match frame.performative {
        Some(Performative::Transfer(transfer)) => Some((transfer, frame.payload)),
        _ => None,
    };
    heard.into_iter().filter_map(transfer).collect()
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

#[test]
fn a_sender_attaches_as_the_spec_says() {
    let mut pair = Pair::open();
    let link = pair.client.attach_sender("telemetry/T").unwrap();
    let heard = pair.heard();
    let [Performative::Attach(attach)] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert_eq!(attach.role, Role::Sender);
    assert_eq!(attach.snd_settle_mode, SenderSettleMode::Unsettled);
    assert_eq!(attach.rcv_settle_mode, ReceiverSettleMode::First);
    assert_eq!(attach.initial_delivery_count, Some(0));
    let Some(TargetArchetype::Target(target)) = attach.target.as_deref() else {
        panic!("{attach:?}");
    };
    assert_eq!(target.address.as_deref(), Some("telemetry/T"));
    let mut answer = pair.peer.answer(7);
    answer.max_message_size = Some(1000);
    pair.peer.perform(answer);
    pair.deliver_to_client();
    let max_message_size = Some(1000);
    assert_eq!(
        pair.events(),
        [Event::Attached {
            link,
            max_message_size
        }]
    );
}

#[test]
fn a_refused_attach_is_told_with_its_reason() {
    let mut pair = Pair::open();
    let link = pair.client.attach_sender("telemetry/T").unwrap();
    pair.deliver_to_peer();
    let mut answer = pair.peer.answer(0);
    answer.target = None;
    pair.peer.perform(answer);
    pair.deliver_to_client();
    assert!(pair.events().is_empty(), "the reason comes with the detach");
    pair.peer.detach(0, Some("amqp:not-found"));
    pair.deliver_to_client();
    let error = Some(PeerError {
        condition: "amqp:not-found".to_owned(),
        description: Some("because".to_owned()),
    });
    assert_eq!(pair.events(), [Event::Detached { link, error }]);
    assert!(matches!(pair.heard().as_slice(), [.., Performative::Detach(detach)] if detach.closed));
    assert_eq!(pair.client.links(), 0);
}

#[test]
fn without_credit_nothing_is_sent() {
    let mut pair = Pair::open();
    let link = pair.sender(0);
    let message = Message::data(*b"1");
    assert_eq!(
        pair.client.send(pair.now, link, &message),
        Err(CannotSend::NoCredit)
    );
    pair.peer.give_credit(0, 2);
    pair.deliver_to_client();
    assert_eq!(pair.events(), [Event::Credit { link }]);
    assert_eq!(pair.client.credit(link), 2);
    for left in [1, 0] {
        pair.client.send(pair.now, link, &message).unwrap();
        assert_eq!(pair.client.credit(link), left);
    }
    assert_eq!(
        pair.client.send(pair.now, link, &message),
        Err(CannotSend::NoCredit)
    );
    // Counted from the first message on, this is one more.
    pair.peer.give_credit(0, 3);
    pair.deliver_to_client();
    assert_eq!(pair.client.credit(link), 1);
    // And this would be fewer than were sent.
    pair.peer.give_credit(0, 1);
    pair.deliver_to_client();
    assert_eq!(pair.client.credit(link), 0);
}

#[test]
fn a_message_goes_in_one_frame_if_it_fits() {
    let mut pair = Pair::open();
    let link = pair.sender(5);
    for number in 0..3_u8 {
        pair.client
            .send(pair.now, link, &Message::data([number]))
            .unwrap();
    }
    let heard = transfers(&mut pair);
    assert_eq!(heard.len(), 3);
    for (number, (transfer, payload)) in (0..).zip(heard) {
        assert_eq!(transfer.delivery_id, Some(number));
        assert_eq!(
            transfer.delivery_tag.unwrap().as_slice(),
            number.to_be_bytes()
        );
        assert_eq!((transfer.settled, transfer.more), (Some(false), false));
        assert_eq!(transfer.message_format, Some(0));
        let number = u8::try_from(number).unwrap();
        assert_eq!(payload, encoded(&Message::data([number])));
    }
}

#[test]
fn a_drained_link_has_no_credit() {
    let mut pair = Pair::open();
    let link = pair.sender(5);
    pair.client
        .send(pair.now, link, &Message::data(*b"1"))
        .unwrap();
    pair.deliver_to_peer();
    let drain = Flow {
        handle: Some(Handle(0)),
        delivery_count: Some(0),
        link_credit: Some(5),
        drain: true,
        ..pair.peer.flow()
    };
    pair.peer.perform(drain);
    pair.deliver_to_client();
    assert_eq!(pair.client.credit(link), 0);
    assert!(matches!(
        pair.heard().as_slice(),
        [
            ..,
            Performative::Flow(Flow {
                delivery_count: Some(5),
                link_credit: Some(0),
                drain: true,
                ..
            })
        ]
    ));
}

#[test]
fn an_echo_is_answered() {
    let mut pair = Pair::open();
    pair.sender(5);
    let mut echo = pair.peer.flow();
    echo.echo = true;
    pair.peer.perform(&echo);
    echo.handle = Some(Handle(0));
    echo.delivery_count = Some(0);
    echo.link_credit = Some(7);
    pair.peer.perform(echo);
    pair.deliver_to_client();
    assert!(matches!(
        pair.heard().as_slice(),
        [
            Performative::Flow(Flow { handle: None, .. }),
            Performative::Flow(Flow {
                handle: Some(_),
                link_credit: Some(7),
                ..
            })
        ]
    ));
}

#[test]
fn dispositions_settle_ranges() {
    let mut pair = Pair::open();
    let link = pair.sender(100);
    let ids: Vec<_> = (0..10)
        .map(|_| {
            pair.client
                .send(pair.now, link, &Message::data(*b"1"))
                .unwrap()
        })
        .collect();
    pair.deliver_to_peer();
    pair.peer.dispose(2, 5, true, Some(ACCEPTED));
    pair.peer
        .dispose(0, 0, true, Some(DeliveryState::Released(Released {})));
    // Many more than there are.
    pair.peer
        .dispose(u32::MAX, i32::MAX as u32, true, Some(ACCEPTED));
    pair.deliver_to_client();
    let accepted = Settlement::Outcome(Outcome::Accepted);
    let released = Settlement::Outcome(Outcome::Released);
    let expected = [2, 3, 4, 5, 0, 1, 6, 7, 8, 9].map(|number| Event::Settled {
        delivery: ids[number],
        settlement: if number == 0 {
            released.clone()
        } else {
            accepted.clone()
        },
    });
    assert_eq!(pair.events(), expected);
    assert_eq!(pair.client.unsettled(), 0);
    assert!(
        pair.heard().len() == 10,
        "a settled delivery needs no word of ours"
    );
}

#[test]
fn every_outcome_is_told_as_it_is() {
    let rejected = |error| DeliveryState::Rejected(Rejected { error });
    let modified = |failed, here| {
        DeliveryState::Modified(Modified {
            delivery_failed: failed,
            undeliverable_here: here,
            message_annotations: None,
        })
    };
    let received = DeliveryState::Received(Received {
        section_number: 0,
        section_offset: 0,
    });
    let outcome = |outcome| vec![Settlement::Outcome(outcome)];
    for (settled, state, expected) in [
        (true, Some(ACCEPTED), outcome(Outcome::Accepted)),
        (
            true,
            Some(rejected(Some(error("hono:bad-request")))),
            outcome(Outcome::rejected("hono:bad-request", "because")),
        ),
        (
            true,
            Some(rejected(None)),
            outcome(Outcome::Rejected {
                condition: None,
                description: None,
            }),
        ),
        (
            true,
            Some(modified(Some(true), None)),
            outcome(Outcome::Modified {
                delivery_failed: true,
                undeliverable_here: false,
            }),
        ),
        (
            true,
            Some(modified(None, Some(true))),
            outcome(Outcome::Modified {
                delivery_failed: false,
                undeliverable_here: true,
            }),
        ),
        (false, Some(ACCEPTED), vec![Settlement::Unsettled]),
        (true, None, vec![Settlement::Unsettled]),
        (false, Some(received.clone()), vec![]),
        (true, Some(received), vec![Settlement::Unsettled]),
    ] {
        let mut pair = Pair::open();
        let link = pair.sender(1);
        pair.client
            .send(pair.now, link, &Message::data(*b"1"))
            .unwrap();
        pair.deliver_to_peer();
        pair.peer.heard.clear();
        pair.peer.dispose(0, 0, settled, state.clone());
        pair.deliver_to_client();
        assert_eq!(pair.settlements(), expected, "{settled} {state:?}");
        let ours = pair.heard();
        assert_eq!(
            ours.len(),
            usize::from(!settled && !expected.is_empty()),
            "{ours:?}"
        );
    }
}

#[test]
fn what_is_not_settled_in_time_is_settled_as_released() {
    let mut pair = Pair::open();
    let link = pair.sender(100);
    for number in 0..6_u8 {
        pair.client
            .send(pair.now, link, &Message::data([number]))
            .unwrap();
        pair.now += Duration::from_millis(10);
    }
    pair.deliver_to_peer();
    pair.peer.dispose(2, 2, true, Some(ACCEPTED));
    pair.deliver_to_client();
    pair.events();
    pair.peer.heard.clear();
    pair.now = pair.client.poll_timeout().unwrap() + Duration::from_millis(40);
    pair.client.handle_timeout(pair.now);
    assert_eq!(pair.settlements(), vec![Settlement::TimedOut; 4]);
    let ranges: Vec<_> = pair
        .heard()
        .into_iter()
        .map(|performative| match performative {
            Performative::Disposition(reported) => {
                assert_eq!((reported.role, reported.settled), (Role::Sender, true));
                assert_eq!(reported.state, Some(DeliveryState::Released(Released {})));
                (reported.first, reported.last)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ranges, [(0, Some(1)), (3, Some(4))]);
    // Too late: nobody waits.
    pair.peer.dispose(0, 1, true, Some(ACCEPTED));
    pair.deliver_to_client();
    assert!(pair.events().is_empty());
    assert_eq!(pair.client.unsettled(), 1);
}

#[test]
fn what_is_given_up_is_settled_as_released_and_forgotten() {
    let mut pair = Pair::open();
    let link = pair.sender(2);
    let delivery = pair
        .client
        .send(pair.now, link, &Message::data(*b"1"))
        .unwrap();
    pair.client.abandon(delivery);
    pair.client.abandon(delivery);
    assert!(matches!(
        pair.heard().as_slice(),
        [Performative::Transfer(_), Performative::Disposition(_)]
    ));
    assert!(pair.events().is_empty());
    assert_eq!(pair.client.unsettled(), 0);
}

#[test]
fn a_large_message_is_cut_into_frames_that_the_peer_takes() {
    let mut pair = Pair::opened(plain(), 512, 1000);
    let link = pair.sender(5);
    for length in [400, 500, 512, 1000, 5000] {
        let message = Message::data(vec![7; length]);
        pair.client.send(pair.now, link, &message).unwrap();
        let parts = transfers(&mut pair);
        let whole: Vec<u8> = parts.iter().flat_map(|(_, part)| part.clone()).collect();
        assert_eq!(whole, encoded(&message), "{length}");
        let more: Vec<bool> = parts.iter().map(|(transfer, _)| transfer.more).collect();
        assert!(more[..more.len() - 1].iter().all(|more| *more) && !more[more.len() - 1]);
        assert_eq!(parts.len() > 1, length > 450, "{length}");
    }
}

#[test]
fn the_peers_window_is_kept_to() {
    let mut pair = Pair::opened(plain(), 512, 3);
    let link = pair.sender(0);
    pair.peer.perform(Flow {
        handle: Some(Handle(0)),
        delivery_count: Some(0),
        link_credit: Some(10),
        incoming_window: 3,
        ..pair.peer.flow()
    });
    pair.deliver_to_client();
    let large = Message::data(vec![7; 1200]);
    let small = Message::data(*b"1");
    for message in [&small, &large, &small] {
        pair.client.send(pair.now, link, message).unwrap();
    }
    assert_eq!(pair.client.credit(link), 7);
    assert_eq!(transfers(&mut pair).len(), 3);
    let mut rest = Vec::new();
    for _ in 0..2 {
        let flow = Flow {
            incoming_window: 1,
            ..pair.peer.flow()
        };
        pair.peer.perform(flow);
        pair.deliver_to_client();
        rest.extend(transfers(&mut pair));
    }
    let reported: Vec<_> = rest
        .iter()
        .map(|(transfer, _)| (transfer.delivery_id, transfer.more))
        .collect();
    assert_eq!(reported, [(None, false), (Some(2), false)]);
}

#[test]
fn what_waits_for_the_window_can_be_given_up_unsent() {
    let mut pair = Pair::opened(plain(), 512, 0);
    let link = pair.sender(0);
    pair.peer.perform(Flow {
        handle: Some(Handle(0)),
        delivery_count: Some(0),
        link_credit: Some(2),
        incoming_window: 0,
        ..pair.peer.flow()
    });
    pair.deliver_to_client();
    let first = pair
        .client
        .send(pair.now, link, &Message::data(*b"1"))
        .unwrap();
    pair.client
        .send(pair.now, link, &Message::data(*b"2"))
        .unwrap();
    assert_eq!(pair.client.credit(link), 0);
    pair.client.abandon(first);
    assert_eq!(pair.client.credit(link), 1);
    let flow = pair.peer.flow();
    pair.peer.perform(flow);
    pair.deliver_to_client();
    let sent = transfers(&mut pair);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0.delivery_id, Some(0), "numbers have no gaps");
    assert_eq!(sent[0].1, encoded(&Message::data(*b"2")));
}

#[test]
fn too_much_to_write_is_refused_until_it_is_written() {
    let config = Config {
        max_outgoing: 2000,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    let link = pair.sender(100);
    let message = Message::data(vec![0; 600]);
    pair.client.send(pair.now, link, &message).unwrap();
    pair.client.send(pair.now, link, &message).unwrap();
    assert_eq!(
        pair.client.send(pair.now, link, &message),
        Err(CannotSend::Full)
    );
    assert!(pair.events().is_empty());
    pair.deliver_to_peer();
    assert_eq!(pair.events(), [Event::Room]);
    pair.client.send(pair.now, link, &message).unwrap();
}

#[test]
fn too_many_under_way_are_refused_until_some_are_settled() {
    let config = Config {
        max_unsettled: 2,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    let link = pair.sender(100);
    let message = Message::data(*b"1");
    pair.client.send(pair.now, link, &message).unwrap();
    pair.client.send(pair.now, link, &message).unwrap();
    assert_eq!(
        pair.client.send(pair.now, link, &message),
        Err(CannotSend::Full)
    );
    pair.deliver_to_peer();
    pair.peer.dispose(1, 1, true, Some(ACCEPTED));
    pair.deliver_to_client();
    assert!(pair.events().contains(&Event::Room));
    pair.client.send(pair.now, link, &message).unwrap();
}

#[test]
fn a_message_larger_than_the_peer_takes_is_not_sent() {
    let mut pair = Pair::open();
    let link = pair.client.attach_sender("telemetry/T").unwrap();
    pair.deliver_to_peer();
    let mut answer = pair.peer.answer(0);
    answer.max_message_size = Some(100);
    pair.peer.perform(answer);
    pair.peer.give_credit(0, 10);
    pair.deliver_to_client();
    pair.peer.heard.clear();
    let refused = pair
        .client
        .send(pair.now, link, &Message::data(vec![0; 100]));
    assert_eq!(refused, Err(CannotSend::TooLarge { limit: 100 }));
    pair.client
        .send(pair.now, link, &Message::data(vec![0; 90]))
        .unwrap();
    assert_eq!(transfers(&mut pair).len(), 1);
    assert_eq!(pair.client.credit(link), 9);
}

#[test]
fn a_link_that_goes_takes_its_deliveries_with_it() {
    let mut pair = Pair::open();
    let link = pair.sender(5);
    let delivery = pair
        .client
        .send(pair.now, link, &Message::data(*b"1"))
        .unwrap();
    pair.peer.detach(0, Some("amqp:resource-deleted"));
    pair.deliver_to_client();
    let events = pair.events();
    let lost = Event::Settled {
        delivery,
        settlement: Settlement::Lost,
    };
    assert!(matches!(events.as_slice(), [first, Event::Detached { .. }] if *first == lost));
    let again = pair.client.send(pair.now, link, &Message::data(*b"1"));
    assert_eq!(again, Err(CannotSend::NotAttached));
    // The place is free, but the old name means nothing.
    let other = pair.sender(5);
    assert_ne!(other, link);
    assert!(!pair.client.is_attached(link));
    pair.client.detach(link);
    assert!(pair.client.is_attached(other));
}

#[test]
fn a_detach_of_ours_ends_the_link_even_before_the_peer_answered() {
    let mut pair = Pair::open();
    let link = pair.client.attach_sender("telemetry/T").unwrap();
    pair.client.detach(link);
    pair.client.detach(link);
    assert!(matches!(
        pair.heard().as_slice(),
        [Performative::Attach(_), Performative::Detach(_)]
    ));
    assert_eq!(pair.client.links(), 1);
    pair.peer.answer_attach(3);
    pair.peer.give_credit(3, 10);
    pair.peer.detach(3, None);
    pair.deliver_to_client();
    assert!(pair.events().is_empty());
    assert_eq!(pair.client.links(), 0);
}

#[test]
fn there_are_no_more_links_than_may_be() {
    let config = Config {
        max_links: 2,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    for _ in 0..2 {
        pair.client.attach_sender("telemetry/T").unwrap();
    }
    assert_eq!(pair.client.attach_sender("x"), Err(CannotAttach::TooMany));
}

proptest! {
    /// Whatever the order of sending, settling, giving up and timing out: each delivery ends exactly once, and none is left.
    #[test]
    fn every_delivery_ends_once(steps in proptest::collection::vec((0..5_u8, any::<u8>()), 1..120)) {
        let mut pair = Pair::opened(plain(), 512, 5);
        let link = pair.sender(50);
        let (mut open, mut ended) = (Vec::new(), 0);
        let mut sent = 0;
        for (step, value) in steps {
            match step {
                0 => {
                    let message = Message::data(vec![0; usize::from(value) * 4]);
                    if let Ok(delivery) = pair.client.send(pair.now, link, &message) {
                        sent += 1;
                        open.push(delivery);
                    }
                }
                1 if !open.is_empty() => {
                    let given_up = open.swap_remove(usize::from(value) % open.len());
                    pair.client.abandon(given_up);
                    ended += 1;
                }
                2 => {
                    pair.deliver_to_peer();
                    pair.peer.dispose(value.into(), u32::from(value) + 3, true, Some(ACCEPTED));
                    pair.deliver_to_client();
                }
                3 => pair.wait(Duration::from_millis(u64::from(value) * 4)),
                _ => {
                    pair.deliver_to_peer();
                    let mut flow = pair.peer.flow();
                    flow.incoming_window = u32::from(value % 8);
                    pair.peer.perform(flow);
                    pair.deliver_to_client();
                }
            }
            for event in pair.events() {
                if let Event::Settled { delivery, .. } = event {
                    let place = open.iter().position(|known| *known == delivery);
                    prop_assert!(place.is_some(), "ended twice");
                    open.swap_remove(place.unwrap());
                    ended += 1;
                }
            }
        }
        pair.wait(Duration::from_secs(2));
        ended += pair.settlements().len();
        prop_assert_eq!(ended, sent);
        prop_assert_eq!(pair.client.unsettled(), 0);
        let numbers: Vec<u32> = transfers(&mut pair)
            .into_iter()
            .filter_map(|(transfer, _)| transfer.delivery_id)
            .collect();
        prop_assert!(numbers.is_sorted());
    }
}

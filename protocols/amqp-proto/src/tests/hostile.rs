//! Peers that do not keep to the protocol, and bytes that are none.

use fe2o3_amqp_types::{
    definitions::Handle,
    performatives::{Flow, Performative},
};

use super::{Pair, peer::Peer, plain, start};
use crate::{CloseReason, Config, Event, frame, fuzzing};

/// What a peer does wrong, and how it does it.
type Breach = (&'static str, fn(&mut Pair));

/// The connection ends because of what the peer sent, with an error for the peer.
fn assert_broken(name: &str, mut pair: Pair) {
    pair.deliver_to_client();
    let events = pair.events();
    assert!(
        matches!(
            events.last(),
            Some(Event::Closed {
                reason: CloseReason::Protocol(_)
            })
        ),
        "{name}: {events:?}"
    );
    let heard = pair.heard();
    assert!(
        matches!(heard.last(), Some(Performative::Close(close)) if close.error.is_some()),
        "{name}: {heard:?}"
    );
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let reported: [Breach; 15] = [
        ("a frame too small", |pair| {
            pair.peer.say(b"\0\0\0\x07\x02\0\0\0");
        }),
        ("a frame too large", |pair| {
            pair.peer.say(b"\x01\0\0\0\x02\0\0\0");
        }),
        ("a body before the frame", |pair| {
            pair.peer.say(b"\0\0\0\x08\x01\0\0\0");
        }),
        ("a body behind the frame", |pair| {
            pair.peer.say(b"\0\0\0\x08\x03\0\0\0");
        }),
        ("a SASL frame", |pair| {
            pair.peer.say(b"\0\0\0\x08\x02\x01\0\0");
        }),
        ("no performative", |pair| {
            pair.peer.say(b"\0\0\0\x09\x02\0\0\0\x40");
        }),
        ("an unknown performative", |pair| {
            pair.peer.say(b"\0\0\0\x0c\x02\0\0\0\0\x53\x77\x45");
        }),
        ("a performative without its fields", |pair| {
            pair.peer.say(b"\0\0\0\x0c\x02\0\0\0\0\x53\x12\x45");
        }),
        ("another open", |pair| pair.peer.open(512, None)),
        ("another session", |pair| pair.peer.begin(1)),
        ("another channel", |pair| {
            let flow = pair.peer.flow();
            frame::write(&mut pair.peer.said, 3, &flow);
        }),
        ("a flow for no link", |pair| {
            let flow = Flow {
                handle: Some(Handle(9)),
                ..pair.peer.flow()
            };
            pair.peer.perform(flow);
        }),
        ("a transfer on no link", |pair| {
            pair.peer.send(&Peer::transfer(0), b"");
        }),
        ("a detach of no link", |pair| pair.peer.detach(9, None)),
        ("a link twice", |pair| {
            pair.client.attach_sender("x").unwrap();
            pair.deliver_to_peer();
            pair.peer.answer_attach(0);
            pair.peer.answer_attach(1);
        }),
    ];
    for (name, tell) in reported {
        let mut pair = Pair::open();
        tell(&mut pair);
        assert_broken(name, pair);
    }
}

#[test]
fn a_transfer_to_a_sender_ends_the_connection() {
    let mut pair = Pair::open();
    pair.sender(1);
    pair.peer.send(&Peer::transfer(0), b"");
    assert_broken("a transfer to a sender", pair);
}

#[test]
fn a_message_within_another_ends_the_connection() {
    let mut pair = Pair::open();
    pair.receiver(10);
    let mut transfer = Peer::transfer(0);
    transfer.more = true;
    pair.peer.send(&transfer, b"");
    pair.peer.send(&Peer::transfer(1), b"");
    assert_broken("a message within another", pair);
}

#[test]
fn more_frames_than_the_window_lets_through_end_the_connection() {
    let config = Config {
        incoming_window: 1,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    pair.receiver(10);
    pair.peer.send(&Peer::transfer(0), b"");
    pair.peer.send(&Peer::transfer(1), b"");
    assert_broken("too many frames", pair);
}

#[test]
fn a_link_that_the_peer_wants_is_refused() {
    let mut pair = Pair::open();
    pair.peer.attach("theirs", 4);
    pair.deliver_to_client();
    let heard = pair.heard();
    assert!(
        matches!(
            heard.as_slice(),
            [Performative::Attach(attach), Performative::Detach(detach)]
                if attach.name == "theirs" && attach.source.is_none() && attach.target.is_none() && detach.closed
        ),
        "{heard:?}"
    );
    pair.peer.detach(4, None);
    pair.deliver_to_client();
    assert!(pair.events().is_empty());
    assert_eq!(pair.client.links(), 0);
    assert!(pair.client.is_open());
}

/// A peer that asked for the state of its links all the time and did not read the answers made the adapter keep them all: a
/// gigabyte in ten seconds.
#[test]
fn a_peer_that_asks_without_reading_gets_one_answer_for_each_link() {
    let mut pair = Pair::open();
    pair.another_sender(0, 9);
    for (name, flow) in [
        (
            "session",
            Flow {
                handle: None,
                echo: true,
                ..pair.peer.flow()
            },
        ),
        (
            "echo",
            Flow {
                handle: Some(Handle(0)),
                echo: true,
                ..pair.peer.flow()
            },
        ),
        (
            "drain",
            Flow {
                handle: Some(Handle(0)),
                drain: true,
                ..pair.peer.flow()
            },
        ),
    ] {
        for _ in 0..10_000 {
            pair.peer.perform(flow.clone());
        }
        pair.deliver_to_client();
        assert!(pair.client.wants_input());
        assert_eq!(pair.heard().len(), 1, "{name}");
    }
}

/// Whatever else is to be answered one by one, nothing is read while too much waits to be written.
#[test]
fn a_connection_wants_no_input_while_answers_pile_up() {
    let config = Config {
        max_outgoing: 10_000,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    for round in 0.. {
        assert!(round < 1_000, "it reads on");
        pair.peer.attach("theirs", 4);
        pair.peer.detach(4, None);
        pair.deliver_to_client();
        if !pair.client.wants_input() {
            break;
        }
    }
    pair.deliver_to_peer();
    assert!(pair.client.wants_input());
    assert!(pair.client.is_open());
}

#[test]
fn a_peer_that_wants_ever_more_links_ends_the_connection() {
    let mut pair = Pair::open();
    for handle in 0..100 {
        pair.peer.attach(&"n".repeat(60_000), handle);
    }
    assert_broken("too many links", pair);
}

/// A message in part was bounded for each link alone, so that a peer could fill the memory over many of them.
#[test]
fn messages_in_part_are_bounded_over_all_links() {
    let config = Config {
        max_incoming: 100_000,
        ..plain()
    };
    let mut pair = Pair::opened(config, u32::MAX, 1000);
    let mut lost = 0;
    for handle in 0..10 {
        let link = pair.client.attach_receiver("command/T").unwrap();
        pair.client.grant(link, 10);
        pair.deliver_to_peer();
        pair.peer.answer_attach(handle);
        let transfer = fe2o3_amqp_types::performatives::Transfer {
            handle: Handle(handle),
            more: true,
            ..Peer::transfer(handle)
        };
        pair.peer.send(&transfer, &[7; 30_000]);
        pair.deliver_to_client();
        let is_lost = |event: &Event| matches!(event, Event::Detached { .. });
        lost += pair.events().iter().filter(|event| is_lost(event)).count();
    }
    assert_eq!(lost, 7);
    assert!(pair.client.is_open());
}

#[test]
fn any_bytes_leave_a_connection_sound() {
    let start = start();
    arbtest::arbtest(|source| {
        let bytes = source.bytes(source.len())?;
        fuzzing::connection(start, bytes);
        fuzzing::message(bytes);
        Ok(())
    })
    .budget_ms(1000);
}

/// Bytes that are nearly right go further than any.
#[test]
fn flawed_frames_leave_a_connection_sound() {
    let start = start();
    let mut peer = Peer::default();
    let mut script = Pair::open();
    script.client.attach_sender("telemetry/T").unwrap();
    script.deliver_to_peer();
    let flow = Flow {
        handle: Some(Handle(0)),
        link_credit: Some(9),
        delivery_count: Some(0),
        ..peer.flow()
    };
    peer.perform(script.peer.answer(0));
    peer.perform(flow);
    peer.dispose(0, 3, true, None);
    peer.send(&Peer::transfer(0), b"\0\x53\x75\xa0\x01a");
    peer.detach(0, Some("amqp:not-found"));
    peer.attach("link-1", 1);
    let frames = peer.said;
    arbtest::arbtest(|source| {
        let mut bytes = frames.clone();
        for _ in 0..source.int_in_range(0..=6)? {
            let place = source.choose_index(bytes.len())?;
            bytes[place] = source.arbitrary()?;
        }
        let mut pieces = vec![2];
        for piece in bytes.chunks(source.int_in_range(1..=255)?) {
            pieces.push(u8::try_from(piece.len()).unwrap());
            pieces.extend_from_slice(piece);
        }
        fuzzing::connection(start, &pieces);
        Ok(())
    })
    .budget_ms(2000);
}

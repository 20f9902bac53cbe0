//! Entry points for fuzzers and for property tests alike: any bytes in, no panic, and what is promised holds.

use std::time::{Duration, Instant};

use crate::{Config, Connection, Event, Message, Outcome, Sasl, frame::AMQP_HEADER};

/// Reads bytes as a message and checks that what was understood is written and read the same again.
///
/// # Panics
/// If it is not.
pub fn message(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let mut again = Vec::new();
    message.encode(&mut again);
    let read = Message::decode(&again);
    // Bit patterns that are no number are not even equal to themselves.
    #[expect(clippy::panic, reason = "a fuzzer looks for panics")]
    let Ok(read) = read else {
        panic!("what we write we can read")
    };
    let mut once_more = Vec::new();
    read.encode(&mut once_more);
    assert_eq!(again, once_more, "decode(encode(m)) == m");
}

/// Feeds bytes to a connection as those of its peer, with everything a caller may do in between, and checks its bounds.
///
/// The first byte tells how far the peer is: in its header, or past a flawless opening. Each piece is preceded by a byte that
/// tells its length; `start` is any point in time.
///
/// # Panics
/// If a bound does not hold.
pub fn connection(start: Instant, bytes: &[u8]) {
    let Some((progress, mut bytes)) = bytes.split_first() else {
        return;
    };
    let config = Config {
        sasl: match progress {
            0 => Sasl::Anonymous,
            _ => Sasl::None,
        },
        max_frame_size: 4096,
        max_message_size: 8192,
        max_links: 8,
        max_unsettled: 16,
        max_outgoing: 64 * 1024,
        ..Config::default()
    };
    let mut connection = Connection::new(start, config);
    let mut now = start;
    if *progress > 1 {
        connection.handle_bytes(now, &AMQP_HEADER);
        connection.handle_bytes(now, OPENING);
        assert!(connection.is_open(), "a flawless opening");
    }
    while let Some((length, rest)) = bytes.split_first() {
        let (piece, rest) = rest
            .split_at_checked(usize::from(*length))
            .unwrap_or((rest, &[]));
        bytes = rest;
        act(&mut connection, now, *length);
        connection.handle_bytes(now, piece);
        drain(&mut connection, now);
        now = now
            .checked_add(Duration::from_millis(u64::from(*length)))
            .unwrap_or(now);
        connection.handle_timeout(now);
        drain(&mut connection, now);
        assert!(connection.links() <= 8, "no more links than may be");
        assert!(
            connection.unsettled() <= 16,
            "no more deliveries than may be"
        );
    }
    while let Some(next) = connection.poll_timeout() {
        connection.handle_timeout(next);
        drain(&mut connection, next);
    }
    assert!(connection.is_closed(), "silence ends a connection");
}

fn act(connection: &mut Connection, now: Instant, choice: u8) {
    match choice % 4 {
        0 => {
            connection.attach_sender("telemetry/T").ok();
        }
        1 => {
            if let Ok(link) = connection.attach_receiver("command/T") {
                connection.grant(link, 3);
            }
        }
        2 => {
            if let Ok(link) = connection.attach_sender("event/T") {
                connection.send(now, link, &Message::data(*b"1")).ok();
                connection.detach(link);
            }
        }
        _ => {}
    }
}

fn drain(connection: &mut Connection, now: Instant) {
    while let Some(event) = connection.poll_event() {
        match event {
            Event::Attached { link, .. } | Event::Credit { link } => {
                let first = connection.send(now, link, &Message::data(vec![0; 5000]));
                connection.send(now, link, &Message::data(*b"2")).ok();
                if let Ok(delivery) = first {
                    connection.abandon(delivery);
                }
            }
            Event::Message {
                link,
                delivery,
                message: bytes,
                ..
            } => {
                assert!(bytes.len() <= 8192, "no larger message than may be");
                connection.settle(link, delivery, Outcome::Accepted);
                connection.grant(link, 1);
            }
            _ => {}
        }
    }
    connection.poll_transmit(now, &mut Vec::new());
}

/// Open and begin as short as they can be: a container id, and a session with a window.
const OPENING: &[u8] = b"\0\0\0\x11\x02\0\0\0\0\x53\x10\xc0\x04\x01\xa1\x01p\
\0\0\0\x19\x02\0\0\0\0\x53\x11\xc0\x0c\x04\x60\0\0\x43\x52\x7f\x70\x7f\xff\xff\xff";

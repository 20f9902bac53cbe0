//! Entry points for fuzzers and for property tests alike: any bytes in, no panic, and what is promised holds.

mod blocks;

use std::time::{Duration, Instant};

use crate::Config;
use crate::endpoint::{Endpoint, Event};
use crate::message::{Code, Message};
use crate::response::Response;

pub use blocks::blocks;

/// Reads bytes as a message and checks that what was understood is written and read the same again.
///
/// # Panics
/// If it is not.
pub fn decode(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let again = message.encode().map(|datagram| Message::decode(&datagram));
    assert_eq!(again, Ok(Ok(message)), "decode(encode(m)) == m");
}

/// Feeds bytes as datagrams of one peer to an endpoint, answers each request, and checks that nothing is left in the end.
///
/// Each datagram is preceded by a byte that tells its length; `start` is any point in time.
///
/// # Panics
/// If something is left.
pub fn endpoint(start: Instant, mut bytes: &[u8]) {
    let mut endpoint = Endpoint::new(Config::default(), 1);
    let mut now = start;
    while let Some((length, rest)) = bytes.split_first() {
        let (datagram, rest) = rest
            .split_at_checked(usize::from(*length))
            .unwrap_or((rest, &[]));
        bytes = rest;
        endpoint.handle_datagram(now, &(), datagram);
        drain(&mut endpoint, now);
        now = now
            .checked_add(Duration::from_millis(u64::from(*length)))
            .unwrap_or(now);
    }
    while let Some(next) = endpoint.poll_timeout() {
        endpoint.handle_timeout(next);
        drain(&mut endpoint, next);
    }
    assert_eq!(
        (endpoint.exchanges(), endpoint.peers(), endpoint.transfers()),
        (0, 0, 0),
        "state ends with its lifetimes"
    );
}

fn drain(endpoint: &mut Endpoint<()>, now: Instant) {
    while let Some(event) = endpoint.poll_event() {
        if let Event::Request {
            exchange, request, ..
        } = event
        {
            if request.payload().is_empty() {
                endpoint.acknowledge(now, exchange);
            }
            endpoint.respond(now, exchange, Response::new(Code::CHANGED));
        }
    }
    while endpoint.poll_transmit().is_some() {}
}

//! CoAP message layer for a server (RFC 7252), without I/O.
//!
//! ```text
//! datagram ─> message (decode, option rules) ─> endpoint ─> block (reassemble) ─> Event::Request ─> the caller decides
//!                                                  │ dedup, exchange, reliability, timer                 │
//! datagram <─ message (encode) <───────────────────┴─ block (cut) <─ acknowledge / respond <─────────────┘
//! ```
//!
//! [`Endpoint`] is told what arrives and what time it is, and is asked what to send, what happened and when to call again:
//! after any `handle_*`, [`respond`](Endpoint::respond) or [`acknowledge`](Endpoint::acknowledge), drain
//! [`poll_transmit`](Endpoint::poll_transmit) and [`poll_event`](Endpoint::poll_event), then sleep until
//! [`poll_timeout`](Endpoint::poll_timeout). It settles by itself what needs no knowledge of resources: duplicates,
//! acknowledgements, resets, retransmissions, pings, unknown critical options, No-Response and block-wise transfer. What a path means is the caller's.
//!
//! **Invariants.** No socket, no clock, no task. Any bytes may come from a peer: they are counted and never an `Err` or a panic.
//! All state is bounded by [`Config`], and once all lifetimes have passed nothing is left of a peer.
//!
//! ```
//! use std::time::Instant;
//! use coap_proto::{Code, Config, Endpoint, Event, Response};
//!
//! let now = Instant::now(); // the caller's clock
//! let mut endpoint = Endpoint::new(Config::default(), 7);
//! // CON POST /t with message id 0x0102 and token 0xAA
//! endpoint.handle_datagram(now, &"device", &[0x41, 0x02, 0x01, 0x02, 0xAA, 0xB1, b't']);
//! let Some(Event::Request { exchange, request, .. }) = endpoint.poll_event() else { panic!("a request came") };
//! assert_eq!(request.uri_path(), ["t"]);
//! endpoint.respond(now, exchange, Response::new(Code::CHANGED));
//! let answer = endpoint.poll_transmit().expect("an answer");
//! assert_eq!(&*answer.payload, [0x61, 0x44, 0x01, 0x02, 0xAA]);
//! ```

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod message;

pub mod content_format;

mod request;

mod response;

mod endpoint;

mod block;

mod exchange;

mod holders;

mod address;

mod dedup;

mod reliability;

mod timer;

mod config;

mod statistics;

pub mod fuzzing;

pub use block::BlockSize;
pub use config::{Config, FormatErrors, SuppressedResponse};
pub use endpoint::{Answered, Endpoint, Event, GaveUpReason, Transmit};
pub use exchange::ExchangeId;
pub use message::{Code, MessageId, Options, Token, option};
pub use request::{Reliability, Request};
pub use response::Response;
pub use statistics::Statistics;

#[cfg(test)]
mod tests;

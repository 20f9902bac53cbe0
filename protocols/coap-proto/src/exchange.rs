//! One request and its answer at the message layer (RFC 7252 §4.2, §5.2).
//!
//! ```text
//! CON: Undecided ──respond──────────────────────────────────────────> Done   piggy-backed
//!          └──acknowledge──> Acknowledged ──respond──> AwaitAck ────> Done   separate: ACK, RST or nothing came
//! NON: Undecided ──respond──────────────────────────────────────────> Done   NON
//! ```

use std::sync::Arc;
use std::time::Instant;

use crate::block::Asked;
use crate::endpoint::UNLIMITED;
use crate::message::{Code, MessageId, Token};
use crate::reliability::Retransmission;
use crate::request::{NoResponse, Reliability, Request};

/// Names an exchange for as long as the endpoint lives; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Exchange<P> {
    pub(crate) peer: P,
    pub(crate) request_id: MessageId,
    pub(crate) token: Token,
    pub(crate) reliability: Reliability,
    pub(crate) no_response: NoResponse,
    /// Whether the method changes nothing (RFC 7252 §5.1).
    pub(crate) is_safe: bool,
    /// Bytes that may be sent for it; `UNLIMITED` to an address that is proved.
    pub(crate) allowance: u16,
    /// Largest message that the peer can take, as far as 16 bits can tell.
    pub(crate) max_message: u16,
    /// Of a request the caller has yet to answer: how to answer in blocks.
    pub(crate) asked: Option<Asked>,
    pub(crate) received: Instant,
    /// The deadline of its [`Timer::Forget`](crate::timer::Timer::Forget).
    pub(crate) forget_at: Instant,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(crate) enum State {
    /// The caller has the request, the peer has nothing.
    Undecided,
    /// The empty ACK went out, the answer is still to come.
    Acknowledged,
    /// The separate response was sent and is not acknowledged. Boxed, as few are in this state and many are kept.
    AwaitAck(Box<Retransmission>),
    /// Nothing is to be sent but this, should the request come again.
    Done { repeat: Option<Arc<[u8]>> },
}

impl<P> Exchange<P> {
    pub(crate) fn new(peer: P, request: &Request, received: Instant, forget_at: Instant) -> Self {
        Self {
            peer,
            request_id: request.message_id(),
            token: request.token(),
            reliability: request.reliability(),
            no_response: request.no_response(),
            is_safe: matches!(request.code(), Code::GET | Code::FETCH),
            allowance: UNLIMITED,
            max_message: u16::MAX,
            asked: None,
            received,
            forget_at,
            state: State::Undecided,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Whether the caller has yet to answer it.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Undecided | State::Acknowledged)
    }

    /// How its answer is to travel; `None` if it has one.
    pub(crate) const fn way_of_answer(&self) -> Option<Way> {
        match (&self.state, self.reliability) {
            (State::Undecided, Reliability::Confirmable) => Some(Way::PiggyBacked),
            (State::Undecided | State::Acknowledged, Reliability::NonConfirmable) => {
                Some(Way::NonConfirmable)
            }
            (State::Acknowledged, Reliability::Confirmable) => Some(Way::Separate),
            (State::AwaitAck(_) | State::Done { .. }, _) => None,
        }
    }
}

/// How a response travels (RFC 7252 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the acknowledgement of the request (§5.2.1).
    PiggyBacked,
    /// As a confirmable message of its own (§5.2.2).
    Separate,
    /// As a confirmable message that is not retransmitted, in place of the acknowledgement: a
    /// response that the client does not want (RFC 7967), as Hono sends it.
    InPlaceOfAck,
    /// As a non-confirmable message (§5.2.3).
    NonConfirmable,
}

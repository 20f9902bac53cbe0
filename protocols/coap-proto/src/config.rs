//! What the message layer may do and how much it may remember; defaults are those of RFC 7252 §4.8 and of the reference adapter.

use std::time::Duration;

use crate::block::BlockSize;

/// Settings of one [`Endpoint`](crate::Endpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `ACK_TIMEOUT`: the shortest wait before a confirmable response is sent again (RFC 7252 §4.8).
    pub ack_timeout: Duration,
    /// `ACK_RANDOM_FACTOR` in percent: the first wait is chosen between `ack_timeout` and this share of it; below 100 counts as 100.
    pub ack_random_factor_percent: u32,
    /// `MAX_RETRANSMIT`: how often a confirmable response is sent again before giving up (RFC 7252 §4.8).
    pub max_retransmit: u32,
    /// `EXCHANGE_LIFETIME`: how long a confirmable message is remembered, and a message id not used anew (RFC 7252 §4.8.2).
    pub exchange_lifetime: Duration,
    /// `NON_LIFETIME`: the same for non-confirmable messages (RFC 7252 §4.8.2).
    pub non_lifetime: Duration,
    /// How long an acknowledged or non-confirmable request may stay unanswered before it is dropped as abandoned; checked once
    /// a lifetime. A confirmable request without acknowledgement is dropped after `exchange_lifetime`, as its client gave up.
    pub max_answer_delay: Duration,
    /// Maximum number of requests remembered per peer; beyond it, the oldest answered one is
    /// forgotten early. If none is answered yet, the new one is ignored.
    pub max_messages_per_peer: usize,
    /// Maximum number of answered requests remembered in all; each takes about 300 bytes. Beyond it,
    /// one of the holder that has much more than others is forgotten early, else the oldest one:
    /// first those whose response needs no acknowledgement, then the unacknowledged ones.
    pub max_exchanges: usize,
    /// Maximum number of requests that the caller has yet to answer; beyond it, new ones are ignored.
    /// A caller that admits fewer never meets it.
    pub max_open_exchanges: usize,
    /// Maximum number of separate responses of one holder that are retransmitted; beyond it, the
    /// oldest ones are not sent again unless their requests are.
    pub max_unacknowledged_per_holder: usize,
    /// The largest request body, in blocks or in one datagram; a larger one is answered 4.13.
    pub max_body: usize,
    /// The largest payload of a response that is not sent in blocks (RFC 7959 §2.4).
    pub max_unblocked_payload: usize,
    /// The size of blocks, unless the client asks for smaller ones (RFC 7959 §2.3, §2.4).
    pub preferred_block_size: BlockSize,
    /// How long an unfinished upload, or an answer sent in blocks, is kept after its last block.
    pub block_lifetime: Duration,
    /// Uploads and answers kept per peer; beyond, the one idle for longest is forgotten.
    pub max_block_transfers_per_peer: usize,
    /// Uploads and answers kept in all, with the same rule.
    pub max_block_transfers: usize,
    /// The bytes of uploads and answers kept in all, with the same rule; an answer in blocks that is larger is sent as 5.00.
    pub max_block_bytes: usize,
    /// How a confirmable request is acknowledged whose response the client does not want (RFC 7967).
    pub suppressed_response: SuppressedResponse,
    /// What to do with a confirmable request whose options or payload break the format.
    pub format_errors: FormatErrors,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor_percent: 150,
            max_retransmit: 4,
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
            max_answer_delay: Duration::from_secs(3600),
            max_messages_per_peer: 64,
            max_exchanges: 1 << 18,
            max_open_exchanges: 1 << 18,
            max_unacknowledged_per_holder: 128,
            max_body: 2048,
            max_unblocked_payload: 1024,
            preferred_block_size: BlockSize::B512,
            block_lifetime: Duration::from_secs(300),
            max_block_transfers_per_peer: 16,
            max_block_transfers: 1 << 14,
            max_block_bytes: 64 << 20,
            suppressed_response: SuppressedResponse::InPlaceOfAck,
            format_errors: FormatErrors::Ignore,
        }
    }
}

impl Config {
    /// `MAX_TRANSMIT_WAIT`: the time from the first transmission of a confirmable message to the
    /// moment its sender gives up (RFC 7252 §4.8.2).
    pub(crate) fn max_transmit_wait(&self) -> Duration {
        let attempts = self.max_retransmit.saturating_add(1);
        let doubled = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
        let percent = self.ack_random_factor_percent.max(100);
        self.ack_timeout
            .saturating_mul(doubled.saturating_sub(1))
            .saturating_mul(percent)
            .checked_div(100)
            .unwrap_or_default()
    }
}

/// How a confirmable request is acknowledged whose response the client does not want (RFC 7967).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuppressedResponse {
    /// By that response, as a confirmable message in place of the ACK. Hono sends it this way. It is
    /// not retransmitted: a client that misses it repeats its request and gets it again.
    InPlaceOfAck,
    /// By an empty ACK and nothing more (RFC 7967 §2).
    EmptyAck,
}

/// How a confirmable request with a message format error after its header is rejected.
///
/// Messages that are no request at all (empty with bytes after the header, responses, reserved classes) and cut-off tokens are
/// always reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatErrors {
    /// No answer, as the reference adapter was observed to do; the client times out.
    Ignore,
    /// A matching Reset, as RFC 7252 §4.2 asks for; the client learns at once.
    Reset,
}

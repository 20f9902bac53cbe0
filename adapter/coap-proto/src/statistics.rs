//! What the message layer did, as plain counters.

/// Counters since the endpoint was made; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Datagrams handed in.
    pub datagrams: u64,
    /// Requests handed to the caller.
    pub requests: u64,
    /// Datagrams that break the message format.
    pub malformed: u64,
    /// Well-formed messages nobody waits for: responses, stray acknowledgements and resets, empty non-confirmables.
    pub ignored: u64,
    /// Pings answered.
    pub pings: u64,
    /// Resets sent, those that answer pings not counted.
    pub rejected: u64,
    /// Requests refused for a critical option, answered 4.02 or dropped if non-confirmable.
    pub bad_options: u64,
    /// Requests for a proxy, answered 5.05.
    pub proxy_requests: u64,
    /// Blocks of uploads acknowledged with 2.31, the last ones not counted.
    pub continued: u64,
    /// Requests put together from blocks; one that came as a single block counts, too.
    pub reassembled: u64,
    /// Requests whose body is, becomes or is announced too large, answered 4.13.
    pub too_large: u64,
    /// Blocks out of order and blocks of answers no longer kept, answered 4.08.
    pub incomplete: u64,
    /// Later blocks of answers sent.
    pub blocks_served: u64,
    /// Transfers forgotten because nothing happened for long.
    pub expired_transfers: u64,
    /// Transfers forgotten before their time to make room.
    pub evicted_transfers: u64,
    /// Requests seen before, whether or not something could be repeated.
    pub duplicates: u64,
    /// Answers or acknowledgements repeated for duplicates.
    pub repeated: u64,
    /// New requests ignored because everything remembered is still unanswered.
    pub overloaded: u64,
    /// Answered requests forgotten before their time to make room.
    pub forgotten_early: u64,
    /// Empty acknowledgements sent ahead of an answer.
    pub acknowledgements: u64,
    /// Responses sent in an acknowledgement.
    pub piggy_backed: u64,
    /// Responses sent as their own confirmable message.
    pub separate: u64,
    /// Responses sent as non-confirmable message.
    pub non_confirmable: u64,
    /// Responses not sent because the client asked so (RFC 7967).
    pub suppressed: u64,
    /// Responses for exchanges that are over or unknown.
    pub late_responses: u64,
    /// Responses that cannot be written as a message, sent as 5.00.
    pub invalid_responses: u64,
    /// Responses dropped because all message ids for the peer are in use.
    pub out_of_message_ids: u64,
    /// Separate responses sent again.
    pub retransmissions: u64,
    /// Separate responses that arrived.
    pub confirmed: u64,
    /// Separate responses never acknowledged.
    pub gave_up: u64,
    /// Separate responses the peer reset.
    pub reset_by_peer: u64,
    /// Requests dropped because the caller never answered.
    pub abandoned: u64,
}

/// Adds one.
pub(crate) const fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

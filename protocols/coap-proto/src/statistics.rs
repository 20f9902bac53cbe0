//! What the message layer did, as plain counters.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters since the endpoint was made; they only grow.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Statistics {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Statistics {
            /// The name of each counter and what it counts, in the order of [`Statistics::iter`].
            pub const DESCRIPTIONS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($name), concat!($($doc),+)),)+];

            /// Each counter with its name, for a metrics page.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams handed in.
    datagrams,
    /// Requests handed to the caller.
    requests,
    /// Datagrams that break the message format.
    malformed,
    /// Well-formed messages nobody waits for: responses, stray acknowledgements and resets, empty non-confirmables.
    ignored,
    /// Pings answered.
    pings,
    /// Resets sent, those that answer pings not counted.
    rejected,
    /// Requests refused for a critical option, answered 4.02 or dropped if non-confirmable.
    bad_options,
    /// Requests for a proxy, answered 5.05.
    proxy_requests,
    /// Blocks of uploads acknowledged with 2.31, the last ones not counted.
    continued,
    /// Requests put together from blocks; one that came as a single block counts, too.
    reassembled,
    /// Requests whose body is, becomes or is announced too large, answered 4.13.
    too_large,
    /// Blocks out of order and blocks of answers no longer kept, answered 4.08.
    incomplete,
    /// Later blocks of answers sent.
    blocks_served,
    /// Transfers forgotten because nothing happened for long.
    expired_transfers,
    /// Transfers forgotten before their time to make room.
    evicted_transfers,
    /// Requests seen before, whether or not something could be repeated.
    duplicates,
    /// Answers or acknowledgements repeated for duplicates.
    repeated,
    /// New requests ignored because everything remembered is still unanswered.
    overloaded,
    /// Answered requests forgotten before their time to make room.
    forgotten_early,
    /// Empty acknowledgements sent ahead of an answer.
    acknowledgements,
    /// Responses sent in an acknowledgement.
    piggy_backed,
    /// Responses sent as their own confirmable message.
    separate,
    /// Responses sent as non-confirmable message.
    non_confirmable,
    /// Responses not sent because the client asked so (RFC 7967).
    suppressed,
    /// Responses shortened, as an address was not proved.
    shortened,
    /// Responses for exchanges that are over or unknown.
    late_responses,
    /// Responses that cannot be written as a message, sent as 5.00.
    invalid_responses,
    /// Responses dropped because all message ids for the peer are in use.
    out_of_message_ids,
    /// Separate responses sent again.
    retransmissions,
    /// Separate responses that arrived.
    confirmed,
    /// Separate responses never acknowledged.
    gave_up,
    /// Separate responses the peer reset.
    reset_by_peer,
    /// Requests dropped because the caller never answered.
    abandoned,
}

/// Adds one.
pub(crate) const fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

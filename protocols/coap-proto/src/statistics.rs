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
    /// Datagrams received.
    datagrams,
    /// Requests passed on for processing.
    requests,
    /// Datagrams that violate the message format.
    malformed,
    /// Well-formed messages without effect: responses, stray acknowledgements and resets, empty
    /// non-confirmable messages.
    ignored,
    /// Pings answered.
    pings,
    /// Resets sent, excluding those that answer pings.
    rejected,
    /// Requests with an unsupported critical option, answered 4.02 or, if non-confirmable, dropped.
    bad_options,
    /// Requests for a proxy, answered 5.05.
    proxy_requests,
    /// Blocks of uploads acknowledged with 2.31; excludes last blocks.
    continued,
    /// Requests reassembled from blocks, including those of a single block.
    reassembled,
    /// Requests whose body exceeds the limit, answered 4.13.
    too_large,
    /// Blocks out of order, and blocks of responses that are no longer kept, answered 4.08.
    incomplete,
    /// Second and later blocks of responses sent.
    blocks_served,
    /// Block-wise transfers that expired.
    expired_transfers,
    /// Block-wise transfers evicted to make room.
    evicted_transfers,
    /// Duplicate requests, whether or not the response could be repeated.
    duplicates,
    /// Responses and acknowledgements repeated for duplicates.
    repeated,
    /// New requests ignored because all remembered requests are still unanswered.
    overloaded,
    /// Answered requests evicted from deduplication before the exchange lifetime ended.
    forgotten_early,
    /// Empty acknowledgements sent ahead of a separate response.
    acknowledgements,
    /// Piggybacked responses sent.
    piggy_backed,
    /// Separate responses sent as confirmable messages.
    separate,
    /// Responses sent as non-confirmable messages.
    non_confirmable,
    /// Responses suppressed by the No-Response option (RFC 7967).
    suppressed,
    /// Responses shortened because the address was not validated.
    shortened,
    /// Responses to exchanges that have ended or are unknown.
    late_responses,
    /// Responses that cannot be encoded, sent as 5.00.
    invalid_responses,
    /// Responses dropped because all message ids of the peer are in use.
    out_of_message_ids,
    /// Retransmissions of separate responses.
    retransmissions,
    /// Separate responses acknowledged by the client.
    confirmed,
    /// Separate responses that were never acknowledged.
    gave_up,
    /// Separate responses rejected by the client with a reset.
    reset_by_peer,
    /// Requests dropped because no response was produced.
    abandoned,
}

/// Adds one.
pub(crate) const fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

//! What a server counts.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How often each thing happened since the server was made.
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
    /// Records cut off, or datagrams too short for a header.
    truncated_records,
    /// Records of a content type or version that isn't spoken here.
    unknown_records,
    /// Records of an epoch for which there are no keys.
    wrong_epoch,
    /// Records with a connection id that isn't ours, or isn't any more.
    unknown_connection_ids,
    /// Associations with a connection id that went on from another address.
    address_changes,
    /// Questions to new addresses whether the client is there.
    path_challenges,
    /// Addresses that clients proved.
    paths_proved,
    /// Addresses that clients did not prove in time.
    paths_unproved,
    /// Records from an address with which nothing was begun.
    no_association,
    /// Protected records that were not authentic.
    bad_records,
    /// Records with more plaintext than a record, or a record of this client, may have.
    oversized_records,
    /// Protected records dropped unopened, as too many forged ones came from the same foreign address.
    filtered_records,
    /// Protected records seen before or older than the window.
    replayed_records,
    /// Application data in plaintext, or before the handshake was done.
    early_application_data,
    /// Alerts in plaintext that had no effect.
    ignored_alerts,
    /// Handshake messages that could not be decoded.
    malformed_messages,
    /// Handshake fragments sent again, contradicting, or over the limits.
    refused_fragments,
    /// Handshake messages that have no place where they came.
    unexpected_messages,
    /// Fragments of ClientHellos that did not come in one piece.
    fragmented_hellos,
    /// ClientHellos put together from fragments.
    reassembled_hellos,
    /// Fragments of ClientHellos dropped: without a good cookie before them, cut off before the cookie, contradicting, or too long.
    hello_fragments_dropped,
    /// Incomplete ClientHellos given up for others, as there were too many.
    partial_hellos_displaced,
    /// Incomplete ClientHellos given up because their other fragments did not come in time.
    partial_hellos_expired,
    /// ClientHellos dropped, as another one of the same datagram was answered.
    surplus_hellos,
    /// ClientHellos that came when the server was about to end.
    hellos_after_closing,
    /// HelloVerifyRequests sent.
    cookies_sent,
    /// ClientHellos with a cookie that isn't ours, or isn't any more.
    bad_cookies,
    /// ClientHellos of the current association, come again late.
    duplicate_hellos,
    /// Handshakes refused by an alert: no common suite, version, or an extension that can't be.
    handshakes_refused,
    /// Handshakes dropped at their beginning because all places were taken and none could be made free.
    handshakes_over_limit,
    /// Handshakes dropped in favour of newcomers, as places were short.
    handshakes_displaced,
    /// Handshakes given up early, as places were short and their clients did not answer.
    handshakes_cut_short,
    /// Handshakes dropped because too many came from their neighbourhood.
    handshakes_over_rate,
    /// Handshakes dropped because too many with a key agreement came from their address.
    key_agreements_over_rate,
    /// Handshakes whose neighbourhood could not be counted.
    handshakes_uncounted,
    /// Handshakes begun, with a good cookie.
    handshakes_started,
    /// Handshakes that began as the resumption of a session.
    resumptions_started,
    /// Sessions resumed.
    resumptions_established,
    /// Resumptions that became full handshakes, as the credentials are gone or the key is another.
    resumptions_refused,
    /// Handshakes that ended with an established association.
    handshakes_established,
    /// Handshakes forgotten because they were not finished in time.
    handshakes_expired,
    /// Handshakes the peer ended by an alert.
    handshakes_aborted,
    /// Handshakes whose Finished was wrong.
    handshakes_failed,
    /// Records held back for their turn and thrown away because there were too many.
    early_records_dropped,
    /// Identities longer than the cap; treated as unknown.
    identities_too_long,
    /// Points of clients that lie on no curve.
    bad_points,
    /// Look-ups of a key that took longer than the deadline.
    psk_deadlines,
    /// Look-ups of a key that found none.
    psk_unknown,
    /// Clients without a certificate, with one that can't be read, or that did not prove to have its key.
    certificates_unproved,
    /// Certificates the caller refused.
    certificates_refused,
    /// Verdicts that took longer than the deadline.
    verdict_deadlines,
    /// Flights sent again.
    retransmissions,
    /// Last flights that were asked for again too soon, or from an address the client has just moved to.
    retransmissions_suppressed,
    /// New handshakes refused inside an association.
    renegotiations_refused,
    /// Idle associations given up for new ones.
    evictions,
    /// Sessions closed for new ones, as their principals had most, or as many as they may have.
    sessions_displaced,
    /// Sessions refused at the end of their handshakes, as all places were taken by others.
    sessions_over_limit,
    /// Associations closed because their clients had others.
    sessions_superseded,
    /// Associations the peer closed.
    closed_by_peer,
}

/// One more.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

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
    /// Datagrams received.
    datagrams,
    /// Truncated records, and datagrams too short for a record header.
    truncated_records,
    /// Records with an unsupported content type or version.
    unknown_records,
    /// Records of an epoch without keys.
    wrong_epoch,
    /// Records with an unknown connection id.
    unknown_connection_ids,
    /// Address changes of associations with a connection id.
    address_changes,
    /// Path challenges sent to new addresses (RFC 9853).
    path_challenges,
    /// New addresses validated by path responses.
    paths_proved,
    /// New addresses not validated in time.
    paths_unproved,
    /// Records from an address without a handshake or session.
    no_association,
    /// Protected records that failed authentication.
    bad_records,
    /// Records whose plaintext exceeds the record size limit.
    oversized_records,
    /// Protected records dropped without decryption because too many forged ones came from the same
    /// foreign address.
    filtered_records,
    /// Protected records that were replayed or are older than the replay window.
    replayed_records,
    /// Application data in plaintext or before the end of the handshake.
    early_application_data,
    /// Plaintext alerts that were ignored.
    ignored_alerts,
    /// Handshake messages that could not be parsed.
    malformed_messages,
    /// Handshake fragments dropped: duplicate, contradictory, or over the limits.
    refused_fragments,
    /// Handshake messages received out of sequence.
    unexpected_messages,
    /// Fragments of ClientHellos received.
    fragmented_hellos,
    /// ClientHellos reassembled from fragments.
    reassembled_hellos,
    /// Fragments of ClientHellos dropped: without a valid cookie before them, cut off before the
    /// cookie, contradictory, or too long.
    hello_fragments_dropped,
    /// Incomplete ClientHellos displaced by others.
    partial_hellos_displaced,
    /// Incomplete ClientHellos that timed out.
    partial_hellos_expired,
    /// ClientHellos dropped because another one in the same datagram was answered.
    surplus_hellos,
    /// ClientHellos ignored during shutdown.
    hellos_after_closing,
    /// HelloVerifyRequests sent.
    cookies_sent,
    /// ClientHellos with an invalid or expired cookie.
    bad_cookies,
    /// Late duplicates of the ClientHello of the current association.
    duplicate_hellos,
    /// Handshakes refused with an alert: no common cipher suite or version, or an invalid
    /// extension.
    handshakes_refused,
    /// New handshakes dropped because all places were taken and none could be freed.
    handshakes_over_limit,
    /// Handshakes displaced by newer ones while places were short.
    handshakes_displaced,
    /// Handshakes ended early because their clients were silent while places were short.
    handshakes_cut_short,
    /// New handshakes dropped by the rate limit of their source prefix.
    handshakes_over_rate,
    /// New handshakes dropped by the rate limit for key agreements of their address.
    key_agreements_over_rate,
    /// Handshakes exempt from the rate limit because the table of prefixes was full.
    handshakes_uncounted,
    /// Handshakes started with a valid cookie.
    handshakes_started,
    /// Handshakes started as a resumption.
    resumptions_started,
    /// Sessions resumed.
    resumptions_established,
    /// Resumptions turned into full handshakes because the credentials or the key changed.
    resumptions_refused,
    /// Completed handshakes, including resumptions.
    handshakes_established,
    /// Handshakes that timed out.
    handshakes_expired,
    /// Handshakes aborted by the client with an alert.
    handshakes_aborted,
    /// Handshakes with an invalid Finished message.
    handshakes_failed,
    /// Early records dropped because the buffer for them was full.
    early_records_dropped,
    /// PSK identities over the maximum length, treated as unknown.
    identities_too_long,
    /// Public keys of clients that are not on the curve.
    bad_points,
    /// PSK lookups that exceeded the deadline.
    psk_deadlines,
    /// PSK lookups without a result.
    psk_unknown,
    /// Clients without a certificate, with an unreadable one, or without proof of its private key.
    certificates_unproved,
    /// Device certificates that were refused.
    certificates_refused,
    /// Certificate lookups that exceeded the deadline.
    verdict_deadlines,
    /// Retransmissions of handshake flights.
    retransmissions,
    /// Retransmissions of the last flight suppressed because they were requested too soon, or from
    /// a new address.
    retransmissions_suppressed,
    /// Renegotiations refused.
    renegotiations_refused,
    /// Idle associations evicted for new ones.
    evictions,
    /// Sessions closed for new ones because their principals held most, or their maximum.
    sessions_displaced,
    /// Sessions refused at the end of their handshakes because the table was full of sessions of
    /// others.
    sessions_over_limit,
    /// Associations closed because their clients established others.
    sessions_superseded,
    /// Associations closed by the client.
    closed_by_peer,
}

/// One more.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

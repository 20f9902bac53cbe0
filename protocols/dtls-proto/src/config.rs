//! What can be set of a [`crate::Server`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::connection_ids::ConnectionIds;
use crate::crypto::{CipherSuite, Group};
use crate::flight::Backoff;
use crate::identity::Identity;
use crate::inbox::InboxLimits;
use crate::resumption::Resumption;
use crate::server::Bounds;

/// Limits, times and suites of a server; [`Config::default`] behaves as Hono's adapter does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The suites that may be used; their order does not matter, the client's does.
    pub suites: Vec<CipherSuite>,
    /// The curves that may be used; their order does not matter, the client's does.
    pub groups: Vec<Group>,
    /// What the server proves itself with; `None`: suites with certificates are not used.
    pub identity: Option<Arc<Identity>>,
    /// Whether bare keys are shown and taken in place of certificates, if the client wants it so (RFC 7250). Sessions of such clients
    /// are not resumed.
    pub raw_public_keys: bool,
    /// The ids by which our associations are known to clients that offer connection ids (RFC 9146); `None`: they are not used.
    pub connection_ids: Option<ConnectionIds>,
    /// Whether a client that has a connection id and offers to prove its addresses (RFC 9853) must do so when it moves. One that does
    /// not offer it is believed.
    pub return_routability: bool,
    /// How long a client has to prove a new address. RFC 9853 proposes one second where nothing is known of the round trip; over
    /// cellular networks for things, it takes longer.
    pub path_timeout: Duration,
    /// Whether and how sessions may be resumed.
    pub resumption: Resumption,
    /// How many associations may be established.
    pub max_associations: usize,
    /// How many of these one principal may have ([`crate::Server::set_owner`]); with one more, its
    /// oldest is closed. 0: any number.
    pub max_sessions_of_one: usize,
    /// How many handshakes may be under way.
    pub max_handshakes: usize,
    /// How many handshakes may begin in a second from one neighbourhood of the network; `None`: as many as come.
    pub handshake_rate: Option<HandshakeRate>,
    /// How many handshakes with a key agreement, which costs the server a key pair and mostly a
    /// signature, may begin in a second from one address; `None`: as many as come.
    pub key_agreement_rate: Option<HandshakeRate>,
    /// Number of forged records of one association that are opened in a second from an address other
    /// than its own, before further records from that address are dropped unopened; 0 opens all.
    /// Records from the association's own address are always opened.
    pub max_forgeries: u32,
    /// What is held for a peer in handshake until its turn comes.
    pub inbox: InboxLimits,
    /// How many ClientHellos in several fragments may wait for the rest of them, each of at most
    /// `inbox.messages.bytes`. When there are as many, a newcomer displaces the oldest one of the
    /// address and source prefix that has most.
    pub max_partial_hellos: usize,
    /// How long the fragments of a ClientHello may take.
    pub partial_hello_lifetime: Duration,
    /// How long an association must have been silent before it may be given up for a new one when all places are taken.
    pub idle_threshold: Duration,
    /// The most bytes a datagram we send during a handshake may have (UDP payload), at least 64.
    pub mtu: usize,
    /// Largest datagram of a flight to an IPv4 address from its third transmission on (UDP payload):
    /// two that got lost may have been too large for the path (RFC 6347 §4.1.1.1).
    pub reduced_mtu_ipv4: usize,
    /// The same towards an IPv6 address.
    pub reduced_mtu_ipv6: usize,
    /// The wait before a flight is sent again for the first time (RFC 6347 §4.2.4.1).
    pub retransmission_timeout: Duration,
    /// The longest such wait.
    pub max_retransmission_timeout: Duration,
    /// How often a flight is sent again before the handshake is forgotten.
    pub max_retransmissions: u32,
    /// How long [`crate::Event::PskRequested`] may stay unanswered before the identity counts as unknown.
    pub psk_deadline: Duration,
    /// How long [`crate::Event::VerdictRequested`] may stay unanswered before the certificate counts as refused.
    pub verdict_deadline: Duration,
    /// How long the secret behind the cookies is used; a cookie is good for one to two of these times.
    pub cookie_lifetime: Duration,
}

/// A limit for handshakes from one neighbourhood: all addresses that begin alike. Addresses are proved by the cookie before they count.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeRate {
    /// How many may begin in a second in the long run.
    pub per_second: u32,
    /// How many may begin at once after a pause.
    pub burst: u32,
    /// How many bits of an IPv4 address make the neighbourhood. 24: the smallest piece that the Internet routes by itself; who has one
    /// of its addresses can mostly get others.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address make the neighbourhood. 56: what one household or site is given (RFC 6177 §2), so that its
    /// many addresses are one peer.
    pub ipv6_prefix: u8,
    /// How many neighbourhoods are counted at a time; others pass uncounted.
    pub neighbourhoods: usize,
}

impl HandshakeRate {
    /// So many in a second, ten times as many at once.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second.saturating_mul(10),
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            neighbourhoods: 16_384,
        }
    }

    /// So many in a second from one address (an IPv6 /64), four times as many at once.
    #[must_use]
    pub fn of_one_address(per_second: u32) -> Self {
        Self {
            burst: per_second.saturating_mul(4),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            ..Self::new(per_second)
        }
    }

    /// What stands for all addresses near this one; those of IPv4 are mapped into IPv6.
    pub(crate) fn neighbourhood(&self, peer: IpAddr) -> u128 {
        let (address, bits) = match peer.to_canonical() {
            IpAddr::V4(address) => {
                let bits = 96_u32.saturating_add(u32::from(self.ipv4_prefix));
                (address.to_ipv6_mapped(), bits)
            }
            IpAddr::V6(address) => (address, u32::from(self.ipv6_prefix)),
        };
        let hosts = 128_u32.saturating_sub(bits);
        let mask = u128::MAX.checked_shl(hosts).unwrap_or(0);
        address.to_bits() & mask
    }
}

impl Config {
    pub(crate) fn partial_hello_bounds(&self) -> Bounds {
        Bounds {
            entries: self.max_partial_hellos,
            bytes: self.inbox.messages.bytes,
            lifetime: self.partial_hello_lifetime,
        }
    }

    /// Largest datagram of a flight to `peer` that was sent `transmissions` times before.
    pub(crate) fn flight_mtu(&self, peer: IpAddr, transmissions: u32, path_mtu: u16) -> usize {
        let reduced = match peer.to_canonical() {
            _ if transmissions < FULL_SIZE_TRANSMISSIONS => usize::MAX,
            IpAddr::V4(_) => self.reduced_mtu_ipv4,
            IpAddr::V6(_) => self.reduced_mtu_ipv6,
        };
        self.mtu.min(reduced).min(path_mtu.into())
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            initial: self.retransmission_timeout,
            maximum: self.max_retransmission_timeout,
            retransmissions: self.max_retransmissions,
        }
    }
}

/// Transmissions of a flight, the first and one more, before its datagrams become smaller.
const FULL_SIZE_TRANSMISSIONS: u32 = 2;

impl Default for Config {
    fn default() -> Self {
        Self {
            suites: CipherSuite::ALL.to_vec(),
            groups: Group::ALL.to_vec(),
            identity: None,
            // The reference refuses them.
            raw_public_keys: false,
            // The reference has them off.
            connection_ids: None,
            return_routability: true,
            path_timeout: Duration::from_secs(3),
            resumption: Resumption::default(),
            max_associations: 100_000,
            max_sessions_of_one: 1000,
            max_handshakes: 10_000,
            // Thousands of devices may stand behind one address, so there is no number that fits everywhere.
            handshake_rate: None,
            key_agreement_rate: Some(HandshakeRate::of_one_address(500)),
            max_forgeries: 1000,
            inbox: InboxLimits::default(),
            max_partial_hellos: 256,
            // Three transmissions of a client that begins with one second (RFC 6347 §4.2.4.1).
            partial_hello_lifetime: Duration::from_secs(8),
            // Hono lets a connection be evicted when it was idle for 30 minutes.
            idle_threshold: Duration::from_secs(30 * 60),
            // What passes through any IPv6 network: 1280 less 40 of IPv6 and 8 of UDP (RFC 8200 §5).
            mtu: 1232,
            // 576 bytes, which every IPv4 host takes, less 20 of IPv4 and 8 of UDP (RFC 791 §3.1).
            reduced_mtu_ipv4: 548,
            // No IPv6 path is narrower than 1280.
            reduced_mtu_ipv6: 1232,
            // Hono: 2 s, doubling to 60 s, four times.
            retransmission_timeout: Duration::from_secs(2),
            max_retransmission_timeout: Duration::from_secs(60),
            max_retransmissions: 4,
            psk_deadline: Duration::from_secs(10),
            verdict_deadline: Duration::from_secs(10),
            cookie_lifetime: Duration::from_secs(60),
        }
    }
}

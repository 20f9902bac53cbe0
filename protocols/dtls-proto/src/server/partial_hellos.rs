//! ClientHellos in several fragments (RFC 6347 §4.2.3): what has come of each until it is whole.
//!
//! Only a first fragment with a good cookie makes an entry, so each entry has an address that is
//! proved, one entry at most. When the table is full, a newcomer displaces the oldest entry of the
//! address that holds most in the source prefix that holds most.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fair_share::{FairShares, Holder, HolderHasher};

use crate::codec::handshake::Fragment;
use crate::reassembly::{Limits, Message, Reassembler, Refused};

/// The table.
#[derive(Debug, Default)]
pub(crate) struct PartialHellos {
    entries: HashMap<SocketAddr, PartialHello>,
    shares: FairShares,
    hasher: HolderHasher,
}

#[derive(Debug)]
struct PartialHello {
    fragments: Reassembler,
    holder: Holder,
    expires: Instant,
}

/// How much the table holds, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Entries.
    pub(crate) entries: usize,
    /// Bytes of one hello.
    pub(crate) bytes: usize,
    /// Lifetime of an entry from its first fragment on.
    pub(crate) lifetime: Duration,
}

/// What became of a first fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing had to go.
    Free,
    /// An older entry had to go.
    Displaced,
    /// The table holds nothing, or no hello of this length.
    Refused,
}

impl PartialHellos {
    /// Takes the first fragment of a hello, whose cookie is good. What has come of another hello of
    /// this peer is forgotten.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        fragment: &Fragment<'_>,
        bounds: Bounds,
    ) -> Begun {
        if self.is_known(now, peer, fragment) && self.insert(now, peer, fragment).is_ok() {
            return Begun::Free;
        }
        let limits = Limits {
            messages: 1,
            bytes: bounds.bytes,
        };
        let mut fragments = Reassembler::new(fragment.header.message_seq, limits);
        let expires = now.checked_add(bounds.lifetime);
        let (Some(expires), Ok(())) = (expires, fragments.insert(fragment)) else {
            return Begun::Refused;
        };
        self.remove(peer);
        self.expire(now);
        let mut admission = Begun::Free;
        while self.entries.len() >= bounds.entries {
            if !self.displace() {
                return Begun::Refused;
            }
            admission = Begun::Displaced;
        }
        let holder = self.hasher.source(peer.ip());
        self.shares.add(holder);
        let entry = PartialHello {
            fragments,
            holder,
            expires,
        };
        self.entries.insert(peer, entry);
        admission
    }

    /// Takes a later fragment of a hello that was begun.
    ///
    /// # Errors
    /// [`Refused`] if there is no such hello, or the fragment contradicts it.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        fragment: &Fragment<'_>,
    ) -> Result<(), Refused> {
        // One that does not go with the fragment whose cookie was good must not replace it.
        if !self.is_known(now, peer, fragment) {
            return Err(Refused::Contradiction);
        }
        let entry = self.entries.get_mut(&peer).ok_or(Refused::Old)?;
        entry.fragments.insert(fragment)
    }

    /// The hello of this peer if it is whole; it is then forgotten.
    pub(crate) fn take_whole(&mut self, peer: SocketAddr) -> Option<Message> {
        let message = self.entries.get(&peer)?.fragments.peek()?;
        self.remove(peer);
        Some(message)
    }

    /// Forgets what is too old; tells how many entries that were.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let before = self.entries.len();
        let shares = &mut self.shares;
        self.entries.retain(|_, entry| {
            let stays = entry.expires > now;
            if !stays {
                shares.remove(entry.holder);
            }
            stays
        });
        before.saturating_sub(self.entries.len())
    }

    /// How many hellos are not whole yet.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a fragment goes with what has come of a hello of this peer.
    fn is_known(&self, now: Instant, peer: SocketAddr, fragment: &Fragment<'_>) -> bool {
        let entry = self.entries.get(&peer).filter(|entry| entry.expires > now);
        entry.is_some_and(|entry| entry.fragments.agrees(fragment))
    }

    fn remove(&mut self, peer: SocketAddr) {
        if let Some(entry) = self.entries.remove(&peer) {
            self.shares.remove(entry.holder);
        }
    }

    /// Makes room at the expense of the holder that holds most; `false` if there is nothing to displace.
    fn displace(&mut self) -> bool {
        let most = self.shares.most();
        let of_most = |entry: &PartialHello| Some(entry.holder) == most;
        let oldest = (self.entries.iter())
            .filter(|(_, entry)| of_most(entry))
            .min_by_key(|(_, entry)| entry.expires)
            .map(|(peer, _)| *peer);
        let Some(oldest) = oldest else {
            return false;
        };
        self.remove(oldest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Reader;
    use crate::codec::handshake::{HandshakeType, fragments, message};

    const BOUNDS: Bounds = Bounds {
        entries: 4,
        bytes: 1000,
        lifetime: Duration::from_secs(10),
    };

    fn pieces(body: &[u8], max_body: usize) -> Vec<Vec<u8>> {
        fragments(&message(HandshakeType::CLIENT_HELLO, 1, body), max_body)
    }

    fn fragment(piece: &[u8]) -> Fragment<'_> {
        Fragment::decode(&mut Reader::new(piece)).unwrap()
    }

    fn begin(hellos: &mut PartialHellos, now: Instant, peer: &str) -> Begun {
        let pieces = pieces(&[7; 100], 60);
        hellos.begin(now, peer.parse().unwrap(), &fragment(&pieces[0]), BOUNDS)
    }

    fn holds(hellos: &PartialHellos, peer: &str) -> bool {
        hellos.entries.contains_key(&peer.parse().unwrap())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to make an Instant"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// An address with many ports, and then a prefix with many addresses, make room for others.
    #[test]
    fn a_newcomer_displaces_the_oldest_of_the_address_that_holds_most() {
        let (mut hellos, now) = (PartialHellos::default(), start());
        for (port, peer) in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.9:1"]
            .into_iter()
            .enumerate()
        {
            let now = now + Duration::from_millis(u64::try_from(port).unwrap());
            assert_eq!(begin(&mut hellos, now, peer), Begun::Free);
        }
        let now = now + Duration::from_millis(10);
        let displaced = begin(&mut hellos, now, "198.51.100.1:1");
        assert_eq!(displaced, Begun::Displaced);
        assert!(!holds(&hellos, "192.0.2.1:1"));
        assert!(holds(&hellos, "192.0.2.9:1"));
        for peer in ["203.0.113.1:1", "[2001:db8::1]:1"] {
            assert_eq!(begin(&mut hellos, now, peer), Begun::Displaced);
        }
        assert_eq!(hellos.len(), 4);
        for peer in ["198.51.100.1:1", "203.0.113.1:1", "[2001:db8::1]:1"] {
            assert!(holds(&hellos, peer), "{peer}");
        }
    }

    #[test]
    fn an_entry_lives_for_its_lifetime_and_leaves_nothing() {
        let (mut hellos, now) = (PartialHellos::default(), start());
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        begin(&mut hellos, now, "192.0.2.1:1");
        let pieces = pieces(&[7; 100], 60);
        let later = now + Duration::from_secs(10);
        let refused = hellos.insert(later, peer, &fragment(&pieces[1]));
        assert_eq!(refused, Err(Refused::Contradiction));
        assert_eq!(hellos.expire(later), 1);
        assert_eq!((hellos.len(), hellos.shares.groups()), (0, 0));
        begin(&mut hellos, later, "192.0.2.1:1");
        assert_eq!(hellos.insert(later, peer, &fragment(&pieces[1])), Ok(()));
        assert_eq!(hellos.take_whole(peer).unwrap().body, [7; 100]);
        assert_eq!((hellos.len(), hellos.shares.groups()), (0, 0));
    }

    /// Nobody without a good cookie undoes what has come.
    #[test]
    fn a_later_fragment_of_another_hello_changes_nothing() {
        let (mut hellos, now) = (PartialHellos::default(), start());
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        begin(&mut hellos, now, "192.0.2.1:1");
        let forged = pieces(&[8; 101], 60);
        let refused = hellos.insert(now, peer, &fragment(&forged[1]));
        assert_eq!(refused, Err(Refused::Contradiction));
        let right = pieces(&[7; 100], 60);
        assert_eq!(hellos.insert(now, peer, &fragment(&right[1])), Ok(()));
        assert!(hellos.take_whole(peer).is_some());
    }

    #[test]
    fn what_is_too_long_or_has_no_place_is_refused() {
        let (mut hellos, now) = (PartialHellos::default(), start());
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let long = pieces(&[7; 1001], 60);
        let refused = hellos.begin(now, peer, &fragment(&long[0]), BOUNDS);
        assert_eq!(refused, Begun::Refused);
        let none = Bounds {
            entries: 0,
            ..BOUNDS
        };
        let short = pieces(&[7; 100], 60);
        let refused = hellos.begin(now, peer, &fragment(&short[0]), none);
        assert_eq!(refused, Begun::Refused);
        assert_eq!(hellos.len(), 0);
    }
}

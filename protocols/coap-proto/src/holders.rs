//! Who holds how many of the remembered exchanges, so that a full table makes room at the expense of
//! the holder that holds most.

use std::collections::HashMap;
use std::hash::Hash;

use fair_share::{FairShares, Holder, Victim};

/// The exchanges of each holder, and the peers that they belong to.
#[derive(Debug)]
pub(crate) struct Holders<P> {
    exchanges: FairShares,
    members: HashMap<Holder, Member<P>>,
}

#[derive(Debug)]
struct Member<P> {
    /// Peers with exchanges; each knows its index.
    peers: Vec<P>,
    /// Where the next search for an exchange to forget begins.
    cursor: usize,
    /// Separate responses that are retransmitted.
    unacknowledged: usize,
}

impl<P: Clone + Eq + Hash> Holders<P> {
    pub(crate) fn new() -> Self {
        Self {
            exchanges: FairShares::default(),
            members: HashMap::new(),
        }
    }

    /// Adds a peer; returns its index.
    pub(crate) fn add_peer(&mut self, holder: Holder, peer: P) -> usize {
        let member = self.members.entry(holder).or_insert_with(|| Member {
            peers: Vec::with_capacity(1),
            cursor: 0,
            unacknowledged: 0,
        });
        member.peers.push(peer);
        member.peers.len().saturating_sub(1)
    }

    /// Removes the peer at an index; returns the peer that has this index now, if any.
    pub(crate) fn remove_peer(&mut self, holder: Holder, index: usize) -> Option<&P> {
        let member = self.members.get_mut(&holder)?;
        if index < member.peers.len() {
            member.peers.swap_remove(index);
        }
        if member.peers.is_empty() {
            self.members.remove(&holder);
            return None;
        }
        self.members.get(&holder)?.peers.get(index)
    }

    pub(crate) fn add_exchange(&mut self, holder: Holder) {
        self.exchanges.add(holder);
    }

    pub(crate) fn remove_exchange(&mut self, holder: Holder) {
        self.exchanges.remove(holder);
    }

    /// Whose exchange makes room for one of `newcomer`.
    pub(crate) fn victim(&self, newcomer: Option<Holder>, total: usize) -> Victim {
        Victim::choose(&self.exchanges, newcomer, total, SPARED)
    }

    /// The member with most exchanges in the group of `holder`.
    pub(crate) fn most_of_group(&self, holder: Holder) -> Option<Holder> {
        self.exchanges.most_of_group(holder)
    }

    /// Some peers of a holder, other ones at each call.
    pub(crate) fn next_peers(&mut self, holder: Holder) -> Vec<P> {
        let Some(member) = self.members.get_mut(&holder) else {
            return Vec::new();
        };
        let count = member.peers.len().min(PEERS_SEARCHED);
        let begin = member.cursor.checked_rem(member.peers.len()).unwrap_or(0);
        member.cursor = begin.saturating_add(count);
        let peers = member.peers.iter().cycle().skip(begin).take(count);
        peers.cloned().collect()
    }

    /// Counts one more separate response; returns how many there are.
    pub(crate) fn add_unacknowledged(&mut self, holder: Holder) -> usize {
        self.members.get_mut(&holder).map_or(0, |member| {
            member.unacknowledged = member.unacknowledged.saturating_add(1);
            member.unacknowledged
        })
    }

    pub(crate) fn remove_unacknowledged(&mut self, holder: Holder) {
        if let Some(member) = self.members.get_mut(&holder) {
            member.unacknowledged = member.unacknowledged.saturating_sub(1);
        }
    }

    /// Compares exchanges and unacknowledged responses of all holders with the true ones.
    #[cfg(test)]
    pub(crate) fn assert_counts(&self, held: &HashMap<Holder, (usize, usize)>) {
        assert_eq!(self.members.len(), held.len());
        for (holder, (exchanges, unacknowledged)) in held {
            assert_eq!(self.exchanges.held_by(*holder), *exchanges);
            assert_eq!(self.members[holder].unacknowledged, *unacknowledged);
        }
    }
}

/// So many exchanges of a holder are kept where others have few.
const SPARED: usize = 16;

/// Peers of a holder that are searched for an exchange to forget.
const PEERS_SEARCHED: usize = 8;

#[cfg(test)]
mod tests {
    use fair_share::HolderHasher;

    use super::*;

    #[test]
    fn peers_of_a_holder_are_found_by_their_index() {
        let mut holders = Holders::new();
        let holder = HolderHasher::default().holder(&1, &1);
        let indices: Vec<_> = (0..3).map(|peer| holders.add_peer(holder, peer)).collect();
        assert_eq!(indices, [0, 1, 2]);
        assert_eq!(holders.remove_peer(holder, 0), Some(&2), "it has moved");
        assert_eq!(holders.next_peers(holder), [2, 1]);
        assert_eq!(holders.remove_peer(holder, 1), None);
        assert_eq!(holders.remove_peer(holder, 0), None);
        holders.assert_counts(&HashMap::new());
    }
}

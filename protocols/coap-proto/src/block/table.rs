//! All transfers in progress: bounded in number, per peer and in bytes, and forgotten after a time
//! without progress.
//!
//! A transfer is taken out to be worked on and put back if it goes on, which makes it the youngest.
//! When there is no room, the oldest transfer of the peer makes room if the peer has too many, else
//! the oldest one of the holder that has much more than the others, else the oldest one of all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use fair_share::{FairShares, Holder, Victim};

use super::{Target, Upload};
use crate::config::Config;
use crate::reliability::after;
use crate::response::Response;

#[derive(Debug)]
pub(crate) struct Transfers<P> {
    /// By the time of their last progress.
    transfers: BTreeMap<Turn, Entry<P>>,
    /// Those of a peer, oldest first; no peer without.
    of_peer: HashMap<P, Vec<Turn>>,
    /// Those of a holder, oldest first.
    of_holder: BTreeSet<(Holder, Turn)>,
    /// Those of a group of holders, oldest first.
    of_group: BTreeSet<(u64, Turn)>,
    /// Number of transfers of each holder, and their bytes.
    number_held: FairShares,
    bytes_held: FairShares,
    next_turn: u64,
    /// Bytes of all transfers.
    bytes: usize,
    max_transfers: usize,
    max_per_peer: usize,
    max_bytes: usize,
    lifetime: Duration,
}

#[derive(Debug)]
pub(crate) enum Transfer {
    /// Of a request body, by Block1.
    Upload(Upload),
    /// Of a response body, by Block2.
    Answer(Response),
}

/// Which of the two a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Upload,
    Answer,
}

#[derive(Debug)]
struct Entry<P> {
    peer: P,
    holder: Option<Holder>,
    target: Target,
    bytes: usize,
    expires: Instant,
    transfer: Transfer,
}

/// Grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(u64);

impl<P: Clone + Eq + Hash> Transfers<P> {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            transfers: BTreeMap::new(),
            of_peer: HashMap::new(),
            of_holder: BTreeSet::new(),
            of_group: BTreeSet::new(),
            number_held: FairShares::default(),
            bytes_held: FairShares::default(),
            next_turn: 0,
            bytes: 0,
            max_transfers: config.max_block_transfers,
            max_per_peer: config.max_block_transfers_per_peer,
            max_bytes: config.max_block_bytes,
            lifetime: config.block_lifetime,
        }
    }

    /// Takes a transfer out.
    pub(crate) fn take(
        &mut self,
        peer: &P,
        target: &Target,
        direction: Direction,
    ) -> Option<Transfer> {
        let turn = *self.of_peer.get(peer)?.iter().find(|turn| {
            self.transfers.get(turn).is_some_and(|entry| {
                entry.target == *target && entry.transfer.direction() == direction
            })
        })?;
        self.remove(turn)
    }

    /// Puts in a transfer that is not there; returns how many were evicted for it.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        peer: &P,
        holder: Option<Holder>,
        target: Target,
        transfer: Transfer,
    ) -> u64 {
        if !self.is_room_for(&target, &transfer) {
            return 1;
        }
        let bytes = size(&target, &transfer);
        let evicted = self.make_room(peer, holder, bytes);
        let turn = Turn(self.next_turn);
        self.next_turn = self.next_turn.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.of_peer.entry(peer.clone()).or_default().push(turn);
        if let Some(holder) = holder {
            self.of_holder.insert((holder, turn));
            self.of_group.insert((holder.group(), turn));
            self.number_held.add(holder);
            self.bytes_held.add_many(holder, bytes);
        }
        self.transfers.insert(
            turn,
            Entry {
                peer: peer.clone(),
                holder,
                target,
                bytes,
                expires: after(now, self.lifetime),
                transfer,
            },
        );
        evicted
    }

    /// Whether it may be put in at all.
    pub(crate) fn is_room_for(&self, target: &Target, transfer: &Transfer) -> bool {
        self.max_transfers > 0 && self.max_per_peer > 0 && size(target, transfer) <= self.max_bytes
    }

    /// Whether an answer may be kept, however many others have to go.
    pub(crate) fn may_keep(&self, target: &Target, answer: &Response) -> bool {
        let bytes = answer_size(answer).saturating_add(target.len());
        self.max_transfers > 0 && self.max_per_peer > 0 && bytes <= self.max_bytes
    }

    /// Drops those without progress for a lifetime; returns their number.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired: u64 = 0;
        while let Some((turn, entry)) = self.transfers.first_key_value()
            && entry.expires <= now
        {
            self.remove(*turn);
            expired = expired.saturating_add(1);
        }
        expired
    }

    pub(crate) fn forget_peer(&mut self, peer: &P) {
        for turn in self.of_peer.get(peer).cloned().unwrap_or_default() {
            self.remove(turn);
        }
    }

    /// When the next one expires.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.transfers
            .first_key_value()
            .map(|(_, entry)| entry.expires)
    }

    pub(crate) fn len(&self) -> usize {
        self.transfers.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self, peer: &P, holder: Option<Holder>, bytes: usize) -> u64 {
        let mut evicted: u64 = 0;
        while let Some(own) = self
            .of_peer
            .get(peer)
            .filter(|turns| turns.len() >= self.max_per_peer)
            .and_then(|turns| turns.first().copied())
        {
            self.remove(own);
            evicted = evicted.saturating_add(1);
        }
        while let Some(victim) = self.victim(holder, bytes) {
            self.remove(victim);
            evicted = evicted.saturating_add(1);
        }
        evicted
    }

    /// The transfer that makes room for one more of so many bytes; none if there is room.
    fn victim(&self, newcomer: Option<Holder>, bytes: usize) -> Option<Turn> {
        let victim = if self.len() >= self.max_transfers {
            Victim::choose(&self.number_held, newcomer, self.len(), SPARED)
        } else if self.bytes.saturating_add(bytes) > self.max_bytes {
            let spared = SPARED.saturating_mul(bytes);
            Victim::choose(&self.bytes_held, newcomer, self.bytes, spared)
        } else {
            return None;
        };
        let oldest = match victim {
            Victim::Member(holder) => oldest(&self.of_holder, holder),
            Victim::Group(holder) => oldest(&self.of_group, holder.group()),
            Victim::Oldest => None,
        };
        oldest.or_else(|| self.transfers.first_key_value().map(|(turn, _)| *turn))
    }

    fn remove(&mut self, turn: Turn) -> Option<Transfer> {
        let entry = self.transfers.remove(&turn)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        if let Some(holder) = entry.holder {
            self.of_holder.remove(&(holder, turn));
            self.of_group.remove(&(holder.group(), turn));
            self.number_held.remove(holder);
            self.bytes_held.remove_many(holder, entry.bytes);
        }
        if let Some(turns) = self.of_peer.get_mut(&entry.peer) {
            turns.retain(|of_peer| *of_peer != turn);
            if turns.is_empty() {
                self.of_peer.remove(&entry.peer);
            }
        }
        Some(entry.transfer)
    }
}

impl Transfer {
    const fn direction(&self) -> Direction {
        match self {
            Self::Upload(_) => Direction::Upload,
            Self::Answer(_) => Direction::Answer,
        }
    }
}

fn oldest<K: Copy + Ord>(turns: &BTreeSet<(K, Turn)>, of: K) -> Option<Turn> {
    let mut range = turns.range((of, Turn(0))..=(of, Turn(u64::MAX)));
    range.next().map(|(_, turn)| *turn)
}

fn size(target: &Target, transfer: &Transfer) -> usize {
    let transfer = match transfer {
        Transfer::Upload(upload) => upload.size(),
        Transfer::Answer(answer) => answer_size(answer),
    };
    transfer.saturating_add(target.len())
}

fn answer_size(answer: &Response) -> usize {
    let payload = answer.payload.capacity();
    payload.saturating_add(answer.options.size())
}

/// So many transfers of a holder are kept where others have few: one upload and its response.
const SPARED: usize = 2;

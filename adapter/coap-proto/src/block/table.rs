//! All transfers under way, bounded in number, per peer and in bytes, and forgotten when nothing happens for long.
//!
//! A transfer is taken out to be worked on and put back if it goes on, which makes it the youngest. If there is no room, the
//! one nothing has happened to for longest goes: the peer's own if the peer has too many, else that of anybody.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{Target, Upload};
use crate::config::Config;
use crate::reliability::after;
use crate::response::Response;

#[derive(Debug)]
pub(crate) struct Transfers<P> {
    /// By when something happened to them last.
    transfers: BTreeMap<Turn, Entry<P>>,
    /// Those of a peer, oldest first; no peer without.
    of_peer: HashMap<P, Vec<Turn>>,
    next_turn: u64,
    /// What all of them take.
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

    /// Puts in a transfer that is not there, and tells how many had to go for it.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        peer: &P,
        target: Target,
        transfer: Transfer,
    ) -> u64 {
        if !self.is_room_for(&target, &transfer) {
            return 1;
        }
        let bytes = size(&target, &transfer);
        let evicted = self.make_room(peer, bytes);
        let turn = Turn(self.next_turn);
        self.next_turn = self.next_turn.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.of_peer.entry(peer.clone()).or_default().push(turn);
        self.transfers.insert(
            turn,
            Entry {
                peer: peer.clone(),
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

    /// Drops those nothing has happened to for a lifetime, and tells how many.
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

    fn make_room(&mut self, peer: &P, bytes: usize) -> u64 {
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
        while (self.len() >= self.max_transfers
            || self.bytes.saturating_add(bytes) > self.max_bytes)
            && let Some((oldest, _)) = self.transfers.first_key_value()
        {
            self.remove(*oldest);
            evicted = evicted.saturating_add(1);
        }
        evicted
    }

    fn remove(&mut self, turn: Turn) -> Option<Transfer> {
        let entry = self.transfers.remove(&turn)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
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

fn size(target: &Target, transfer: &Transfer) -> usize {
    let transfer = match transfer {
        Transfer::Upload(upload) => upload.size(),
        Transfer::Answer(answer) => answer
            .payload
            .capacity()
            .saturating_add(answer.options.size()),
    };
    transfer.saturating_add(target.len())
}

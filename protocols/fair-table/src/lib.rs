//! A bounded table whose entries count for [holders](Holder): a full table gives up an entry of the
//! holder with the most, so that no tenant, gateway or address evicts the entries of all others.
//!
//! Within a holder, an entry that was found since it was last looked at gets a second chance
//! (CLOCK), so a hit costs no write in most cases and no entry is moved.
//!
//! ```
//! use std::time::Instant;
//!
//! use fair_share::HolderHasher;
//! use fair_table::FairTable;
//!
//! let (hasher, now) = (HolderHasher::default(), Instant::now());
//! let mut table = FairTable::new(100);
//! table.insert("modest", 1, hasher.holder(&"T", &()), now, None);
//! for name in ["a", "b", "c"].repeat(100) {
//!     table.insert(name, 2, hasher.holder(&"U", &()), now, None);
//! }
//! assert_eq!(table.get(&"modest", now), Some(&1));
//! ```

use std::{
    collections::VecDeque,
    hash::{Hash, RandomState},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use fair_share::{FairShares, Holder};
use hashbrown::HashMap;

pub use hashbrown::Equivalent;

/// A table with a bound and shares.
#[derive(Debug)]
pub struct FairTable<K, V> {
    capacity: usize,
    entries: HashMap<K, Entry<V>, RandomState>,
    /// The entries of each holder in the order of their insertion, or of their second chance.
    queues: HashMap<Holder, VecDeque<(K, u64)>, RandomState>,
    shares: FairShares,
    next_serial: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// None: it never expires.
    expires: Option<Instant>,
    holder: Holder,
    /// Whether it was found since it last came to the head of its queue (second chance).
    used: AtomicBool,
    serial: u64,
}

impl<V> Entry<V> {
    fn is_fresh(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl<K: Hash + Eq + Clone, V> FairTable<K, V> {
    /// A table for at most `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::with_hasher(RandomState::new()),
            queues: HashMap::with_hasher(RandomState::new()),
            shares: FairShares::default(),
            next_serial: 0,
        }
    }

    /// The value under a key, unless it has expired.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, now: Instant) -> Option<&V> {
        let entry = self.entries.get(key).filter(|it| it.is_fresh(now))?;
        // Most entries are found again and again: they are not written to then.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(&entry.value)
    }

    /// As [`FairTable::get`], to change the value.
    pub fn get_mut<Q: Hash + Equivalent<K> + ?Sized>(
        &mut self,
        key: &Q,
        now: Instant,
    ) -> Option<&mut V> {
        let entry = self.entries.get_mut(key).filter(|it| it.is_fresh(now))?;
        *entry.used.get_mut() = true;
        Some(&mut entry.value)
    }

    /// All entries, in any order, those that have expired among them.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Puts a value under a key, in place of what was there, which keeps its holder; makes room if
    /// need be. Without `expires` it stays until it is evicted.
    pub fn insert(
        &mut self,
        key: K,
        value: V,
        holder: Holder,
        now: Instant,
        expires: Option<Instant>,
    ) {
        if self.capacity == 0 {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            entry.expires = expires;
            return;
        }
        while self.entries.len() >= self.capacity {
            if !self.evict(now) {
                return;
            }
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        self.shares.add(holder);
        let queue = self.queues.entry(holder);
        // Most holders have one entry.
        let queue = queue.or_insert_with(|| VecDeque::with_capacity(1));
        queue.push_back((key.clone(), serial));
        self.entries.insert(
            key,
            Entry {
                value,
                expires,
                holder,
                used: AtomicBool::new(false),
                serial,
            },
        );
    }

    /// Makes room for `entries` at once, at most as many as there may be.
    #[must_use]
    pub fn with_room_for(mut self, entries: usize) -> Self {
        self.entries.reserve(entries.min(self.capacity));
        self
    }

    /// Removes the entry of a key.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.shares.remove(entry.holder);
        let places = self.queues.get(&entry.holder).map_or(0, VecDeque::len);
        let held = self.shares.held_by(entry.holder);
        if held == 0 || places > held.saturating_mul(2).saturating_add(MAX_STALE) {
            self.compact(entry.holder);
        }
        Some(entry.value)
    }

    /// Removes the entries that meet the condition.
    pub fn remove_if(&mut self, mut condition: impl FnMut(&K, &V) -> bool) {
        let (shares, mut touched) = (&mut self.shares, Vec::new());
        self.entries.retain(|key, entry| {
            let removed = condition(key, &entry.value);
            if removed {
                shares.remove(entry.holder);
                touched.push(entry.holder);
            }
            !removed
        });
        touched.sort_unstable();
        touched.dedup();
        for holder in touched {
            self.compact(holder);
        }
    }

    /// Number of entries that have not expired. Looks at each.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> usize {
        let entries = self.entries.values();
        entries.filter(|entry| entry.is_fresh(now)).count()
    }

    /// Removes an entry of the holder with the most: the first in its queue that has expired or
    /// was not found since it was last looked at.
    fn evict(&mut self, now: Instant) -> bool {
        let Some(holder) = self.shares.most() else {
            return false;
        };
        let Some(queue) = self.queues.get_mut(&holder) else {
            return false;
        };
        while let Some((key, serial)) = queue.pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            if entry.serial != serial {
                continue;
            }
            if entry.is_fresh(now) && std::mem::take(entry.used.get_mut()) {
                queue.push_back((key, serial));
                continue;
            }
            self.entries.remove(&key);
            self.shares.remove(holder);
            if queue.is_empty() {
                self.queues.remove(&holder);
            }
            return true;
        }
        self.queues.remove(&holder);
        false
    }

    /// Drops the places of removed entries from a holder's queue.
    fn compact(&mut self, holder: Holder) {
        let Some(queue) = self.queues.get_mut(&holder) else {
            return;
        };
        let entries = &self.entries;
        queue.retain(|(key, serial)| entries.get(key).is_some_and(|it| it.serial == *serial));
        if queue.is_empty() {
            self.queues.remove(&holder);
        }
    }
}

/// Places of removed entries in a queue that are not worth a look at all of it.
const MAX_STALE: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fair_share::HolderHasher;

    use super::*;

    fn stored(table: &FairTable<String, u32>, prefix: &str, now: Instant) -> usize {
        let key = |number: u32| format!("{prefix}{number}");
        (0..100_000)
            .filter(|number| {
                table
                    .entries
                    .get(&key(*number))
                    .is_some_and(|it| it.is_fresh(now))
            })
            .count()
    }

    /// Symptom: a gateway that names 100,000 devices evicted the answers of all other devices.
    /// Cause: one bound for all, and the least recently used entry of anybody made room.
    #[test]
    fn a_holder_of_many_entries_evicts_its_own() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let mut table = FairTable::new(100);
        for number in 0..20 {
            let holder = hasher.holder(&"T", &"self");
            table.insert(format!("T{number}"), number, holder, now, None);
        }
        for number in 0..1000 {
            let holder = hasher.holder(&"T", &"gateway");
            table.insert(format!("G{number}"), number, holder, now, None);
        }
        for number in 0..10 {
            let holder = hasher.holder(&"U", &"self");
            table.insert(format!("U{number}"), number, holder, now, None);
        }
        assert_eq!(stored(&table, "T", now), 20);
        assert_eq!(stored(&table, "U", now), 10);
        assert_eq!(stored(&table, "G", now), 70);
        assert_eq!(table.fresh(now), 100);
    }

    #[test]
    fn what_is_used_outlives_what_is_not() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let holder = hasher.holder(&"T", &"self");
        let mut table = FairTable::new(10);
        for number in 0..1000_u32 {
            table.insert(number.to_string(), number, holder, now, None);
            assert_eq!(table.get("0", now), Some(&0), "{number}");
        }
    }

    #[test]
    fn an_entry_expires_and_is_replaced_in_its_place() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let holder = hasher.holder(&"T", &"self");
        let mut table = FairTable::new(10);
        let later = now + Duration::from_secs(5);
        for round in 0..100 {
            table.insert("a".to_owned(), round, holder, now, Some(later));
        }
        assert_eq!(table.get("a", now), Some(&99));
        assert_eq!(table.get("a", later), None);
        assert_eq!((table.fresh(now), table.fresh(later)), (1, 0));
        assert_eq!(table.queues[&holder].len(), 1);
    }

    #[test]
    fn nothing_is_left_of_what_is_removed() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let mut table = FairTable::new(10);
        for round in 0..100 {
            for number in 0..10_u32 {
                let holder = hasher.holder(&"T", &(number % 3));
                table.insert(number.to_string(), round, holder, now, None);
            }
            table.remove_if(|key, _| key != "7");
        }
        assert_eq!(table.fresh(now), 1);
        assert_eq!(table.queues.values().map(VecDeque::len).sum::<usize>(), 1);
        assert_eq!(table.shares.held_by_group(hasher.holder(&"T", &0_u32)), 1);
    }

    #[test]
    fn places_of_removed_entries_do_not_pile_up() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let holder = hasher.holder(&1, &1);
        let mut table = FairTable::new(10).with_room_for(20);
        table.insert("stays", 0, holder, now, None);
        for round in 1..1000 {
            table.insert("goes", round, holder, now, None);
            assert_eq!(table.remove("goes"), Some(round));
        }
        assert!(table.queues[&holder].len() <= MAX_STALE + 3);
        table.remove("stays");
        assert!(table.queues.is_empty());
        assert_eq!(table.shares.held_by(holder), 0);
    }

    #[test]
    fn a_table_without_capacity_keeps_nothing() {
        let (hasher, now) = (HolderHasher::default(), Instant::now());
        let mut table = FairTable::new(0);
        table.insert("a", 1, hasher.holder(&1, &1), now, None);
        assert_eq!(table.fresh(now), 0);
    }
}

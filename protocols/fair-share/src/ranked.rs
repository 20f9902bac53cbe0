//! A map from keys to counts that names a key with one of the highest counts in constant time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use crate::hashers::PrehashedHasher;

/// Counted keys with a value each, ranked by the base-2 logarithm of their counts.
#[derive(Debug)]
pub(crate) struct Ranked<V> {
    entries: HashMap<u64, Counted<V>, BuildHasherDefault<PrehashedHasher>>,
    buckets: Buckets,
}

#[derive(Debug, Default)]
struct Counted<V> {
    /// 0 only while the key is not in a bucket.
    count: usize,
    /// Index in the bucket of the count's rank.
    index: usize,
    value: V,
}

/// The keys of each rank.
#[derive(Debug, Default)]
struct Buckets(Vec<Vec<u64>>);

impl<V> Default for Ranked<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            buckets: Buckets::default(),
        }
    }
}

impl<V: Default> Ranked<V> {
    /// Adds `units`, at least 1, to the count of a key, and updates the value of the key.
    pub(crate) fn add(&mut self, key: u64, units: usize, update: impl FnOnce(&mut V)) {
        let entry = self.entries.entry(key).or_default();
        update(&mut entry.value);
        let (before, index) = (entry.count, entry.index);
        entry.count = before.saturating_add(units);
        let rank_after = rank(entry.count);
        if before == 0 {
            entry.index = self.buckets.push(rank_after, key);
        } else if rank(before) != rank_after {
            entry.index = self.buckets.push(rank_after, key);
            self.remove_from_bucket(rank(before), index);
        }
    }

    /// Takes the number of units that `update` returns from the count of a key, at most all, and
    /// forgets the key at 0. Returns how many units were taken.
    pub(crate) fn remove(&mut self, key: u64, update: impl FnOnce(&mut V) -> usize) -> usize {
        let Entry::Occupied(mut occupied) = self.entries.entry(key) else {
            return 0;
        };
        let entry = occupied.get_mut();
        let (before, index) = (entry.count, entry.index);
        let units = update(&mut entry.value).min(before);
        entry.count = before.saturating_sub(units);
        if entry.count == 0 {
            occupied.remove();
            self.remove_from_bucket(rank(before), index);
        } else if rank(before) != rank(entry.count) {
            entry.index = self.buckets.push(rank(entry.count), key);
            self.remove_from_bucket(rank(before), index);
        }
        units
    }

    /// The count of a key, and its value.
    pub(crate) fn get(&self, key: u64) -> Option<(usize, &V)> {
        let entry = self.entries.get(&key)?;
        Some((entry.count, &entry.value))
    }

    /// A key of the highest rank.
    pub(crate) fn highest(&self) -> Option<u64> {
        let mut buckets = self.buckets.0.iter().rev();
        buckets.find_map(|bucket| bucket.last().copied())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn remove_from_bucket(&mut self, rank: usize, index: usize) {
        let moved = self.buckets.remove(rank, index);
        if let Some(moved) = moved.and_then(|moved| self.entries.get_mut(&moved)) {
            moved.index = index;
        }
    }
}

impl Buckets {
    /// Adds a key to a bucket; returns its index there.
    fn push(&mut self, rank: usize, key: u64) -> usize {
        if self.0.len() <= rank {
            self.0.resize_with(rank.saturating_add(1), Vec::new);
        }
        let Some(bucket) = self.0.get_mut(rank) else {
            return 0;
        };
        bucket.push(key);
        bucket.len().saturating_sub(1)
    }

    /// Removes a key from a bucket; returns the key that has its index now, if any.
    fn remove(&mut self, rank: usize, index: usize) -> Option<u64> {
        let bucket = self.0.get_mut(rank)?;
        if index < bucket.len() {
            bucket.swap_remove(index);
        }
        bucket.get(index).copied()
    }
}

const fn rank(count: usize) -> usize {
    match count.checked_ilog2() {
        Some(rank) => rank as usize,
        None => 0,
    }
}

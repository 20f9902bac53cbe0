//! A map from keys to counts that names a key with one of the highest counts in constant time.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::hashers::PrehashedHasher;

/// Counted keys with a value each, in buckets by the base-2 logarithm of their counts.
#[derive(Debug)]
pub(crate) struct Ranked<V> {
    entries: HashMap<u64, Entry<V>, BuildHasherDefault<PrehashedHasher>>,
    /// Keys by rank; the last bucket is never empty.
    buckets: Vec<Vec<u64>>,
}

#[derive(Debug, Default)]
struct Entry<V> {
    /// 0 only while the key is not in a bucket.
    count: usize,
    /// Index in the bucket of the count's rank.
    index: usize,
    value: V,
}

impl<V> Default for Ranked<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            buckets: Vec::new(),
        }
    }
}

impl<V: Default> Ranked<V> {
    /// Adds `units`, at least 1, to the count of a key and returns the key's value.
    pub(crate) fn add(&mut self, key: u64, units: usize) -> &mut V {
        let entry = self.entries.entry(key).or_default();
        let (before, index) = (entry.count, entry.index);
        let count = before.saturating_add(units);
        entry.count = count;
        if before == 0 || rank(before) != rank(count) {
            self.relocate(key, before, index, count);
        }
        &mut self.entries.entry(key).or_default().value
    }

    /// Takes `units` from the count of a key, and forgets it at 0.
    pub(crate) fn remove(&mut self, key: u64, units: usize) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let (before, index) = (entry.count, entry.index);
        let count = before.saturating_sub(units);
        entry.count = count;
        if count == 0 || rank(before) != rank(count) {
            self.relocate(key, before, index, count);
        }
    }

    /// The count of a key, and its value.
    pub(crate) fn get(&self, key: u64) -> Option<(usize, &V)> {
        let entry = self.entries.get(&key)?;
        Some((entry.count, &entry.value))
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        Some(&mut self.entries.get_mut(&key)?.value)
    }

    /// A key of the highest rank.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.buckets.last()?.last().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Moves a key from the bucket of one count to that of another.
    fn relocate(&mut self, key: u64, before: usize, index: usize, count: usize) {
        if before > 0
            && let Some(moved) = self.take_from_bucket(rank(before), index)
            && let Some(moved) = self.entries.get_mut(&moved)
        {
            moved.index = index;
        }
        if count == 0 {
            self.entries.remove(&key);
        } else {
            let rank = rank(count);
            if self.buckets.len() <= rank {
                self.buckets.resize_with(rank.saturating_add(1), Vec::new);
            }
            if let (Some(bucket), Some(entry)) =
                (self.buckets.get_mut(rank), self.entries.get_mut(&key))
            {
                entry.index = bucket.len();
                bucket.push(key);
            }
        }
        while self.buckets.last().is_some_and(Vec::is_empty) {
            self.buckets.pop();
        }
    }

    /// Removes a key from a bucket; returns the key that has its index now, if any.
    fn take_from_bucket(&mut self, rank: usize, index: usize) -> Option<u64> {
        let bucket = self.buckets.get_mut(rank)?;
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

//! Hashers for keys that no peer chooses.

use std::hash::Hasher;

/// Passes on keys that are keyed hashes already, for maps by such keys.
#[derive(Debug, Default, Clone, Copy)]
pub struct PrehashedHasher(u64);

impl Hasher for PrehashedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Hashes ids that the process counts up itself by one multiplication, for maps by such ids.
#[derive(Debug, Default, Clone, Copy)]
pub struct SequenceHasher(u64);

impl Hasher for SequenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(u64::from(id));
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio: spreads consecutive numbers over all bits.
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;

    /// Hash tables choose a bucket by the lowest bits and compare the highest ones.
    #[test]
    fn consecutive_ids_differ_in_their_lowest_and_highest_bits() {
        let hasher = BuildHasherDefault::<SequenceHasher>::default();
        let hashes: Vec<_> = (0..128_u64).map(|id| hasher.hash_one(id)).collect();
        let distinct = |part: fn(&u64) -> u64| hashes.iter().map(part).collect::<HashSet<_>>();
        assert_eq!(distinct(|hash| hash & 127).len(), 128);
        assert!(distinct(|hash| hash >> 57).len() > 100);
    }
}

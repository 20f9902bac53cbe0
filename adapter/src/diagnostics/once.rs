//! Which devices a hint was given for, so that each gets it once.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Devices that had a hint: the last ones, at least as many as fit one generation.
#[derive(Debug, Default)]
pub(super) struct OncePerDevice {
    hasher: RandomState,
    /// A full young generation becomes the old one.
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl OncePerDevice {
    /// Whether this is the first time for a device, as far as is remembered.
    pub(super) fn is_first(&self, tenant: &str, device: &str) -> bool {
        let device = self.hasher.hash_one((tenant, device));
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if generations.old.contains(&device) || !generations.young.insert(device) {
            return false;
        }
        if generations.young.len() >= MAX_GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        true
    }
}

/// Devices of a generation.
const MAX_GENERATION: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_a_thousand_devices_has_one_first_time() {
        let once = OncePerDevice::default();
        for round in 0..2 {
            for device in 0..MAX_GENERATION {
                let is_first = once.is_first("T", &device.to_string());
                assert_eq!(is_first, round == 0, "{device}");
            }
        }
        assert!(once.is_first("U", "0"), "of another tenant");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let once = OncePerDevice::default();
        for device in 0..10 * MAX_GENERATION {
            once.is_first("T", &device.to_string());
        }
        let generations = once.generations.lock().unwrap();
        let kept = generations.young.len() + generations.old.len();
        assert!(kept <= 2 * MAX_GENERATION, "{kept}");
    }
}

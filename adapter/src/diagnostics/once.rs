//! Which devices a hint was given for, so that each gets it once.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fair_share::HolderHasher;
use fair_table::FairTable;

/// Devices that had a hint. When there are too many, devices of the tenant with the most are
/// forgotten and may get theirs again.
#[derive(Debug)]
pub(super) struct OncePerDevice {
    hasher: RandomState,
    holders: HolderHasher,
    devices: Mutex<FairTable<u64, ()>>,
}

impl Default for OncePerDevice {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            holders: HolderHasher::default(),
            devices: Mutex::new(FairTable::new(MAX_DEVICES)),
        }
    }
}

impl OncePerDevice {
    /// Whether this is the first time for a device, as far as is remembered.
    pub(super) fn is_first(&self, tenant: &str, device: &str) -> bool {
        let key = self.hasher.hash_one((tenant, device));
        let now = Instant::now();
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.get(&key, now).is_some() {
            return false;
        }
        let holder = self.holders.holder(&tenant, &());
        devices.insert(key, (), holder, now, None);
        true
    }
}

/// Maximum number of devices that are remembered.
const MAX_DEVICES: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_thousand_devices_has_one_first_time() {
        let once = OncePerDevice::default();
        for round in 0..2 {
            for device in 0..MAX_DEVICES {
                let is_first = once.is_first("T", &device.to_string());
                assert_eq!(is_first, round == 0, "{device}");
            }
        }
        assert!(once.is_first("U", "0"), "of another tenant");
    }

    /// The table had no shares: names of one tenant's devices pushed out those of all others, whose
    /// hints were logged with each request again.
    #[test]
    fn devices_of_one_tenant_push_out_no_other_tenants() {
        let once = OncePerDevice::default();
        assert!(once.is_first("modest", "d"));
        for device in 0..10 * MAX_DEVICES {
            once.is_first("T", &device.to_string());
        }
        assert!(!once.is_first("modest", "d"));
        let remembered = once.devices.lock().unwrap().fresh(Instant::now());
        assert_eq!(remembered, MAX_DEVICES);
    }
}

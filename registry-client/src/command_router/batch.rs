//! The last known gateways that wait to be reported: the latest of each device, by tenant (spec: registry-apis A.6).

use std::collections::{HashMap, VecDeque};

use fair_share::{FairShares, HolderHasher};

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tenants: HashMap<String, HashMap<String, String>>,
    /// The tenants in the order in which they are reported.
    order: VecDeque<String>,
    devices: usize,
    /// Counts the devices of each tenant.
    shares: FairShares,
    hasher: HolderHasher,
}

/// Content of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) tenant: String,
    /// Devices, and the gateway of each.
    pub(super) gateways: Vec<(String, String)>,
}

impl Batch {
    /// Adds the gateway of a device in place of an earlier one; false if too many are waiting and the
    /// tenant has its share of them.
    pub(super) fn add(&mut self, tenant: &str, device: &str, gateway: &str) -> bool {
        let earlier = self
            .tenants
            .get_mut(tenant)
            .and_then(|devices| devices.get_mut(device));
        if let Some(earlier) = earlier {
            gateway.clone_into(earlier);
            return true;
        }
        let holder = self.hasher.holder(&tenant, &());
        let tenants = self.shares.groups().max(1);
        let is_full = self.devices >= MOST_WAITING;
        // Those of a tenant that waits beside others go out within a few rounds, so a tenant that has
        // less than its share may exceed the bound by that.
        if is_full && self.shares.held_by_group(holder) >= (MOST_WAITING / 4 / tenants).max(1) {
            return false;
        }
        let order = &mut self.order;
        let devices = self.tenants.entry(tenant.to_owned()).or_insert_with(|| {
            order.push_back(tenant.to_owned());
            HashMap::new()
        });
        devices.insert(device.to_owned(), gateway.to_owned());
        self.shares.add(holder);
        self.devices += 1;
        true
    }

    /// Takes the updates that are reported concurrently.
    pub(super) fn take_round(&mut self) -> Vec<Update> {
        let tenants = self.order.len().min(MOST_TENANTS);
        let tenants: Vec<String> = self.order.drain(..tenants).collect();
        tenants
            .into_iter()
            .filter_map(|tenant| self.take(tenant))
            .collect()
    }

    fn take(&mut self, tenant: String) -> Option<Update> {
        let devices = self.tenants.get_mut(&tenant)?;
        let chosen: Vec<String> = devices.keys().take(MOST_DEVICES).cloned().collect();
        let taken = chosen
            .iter()
            .filter_map(|device| devices.remove_entry(device));
        let gateways: Vec<(String, String)> = taken.collect();
        if devices.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.order.push_back(tenant.clone());
        }
        self.devices -= gateways.len();
        let holder = self.hasher.holder(&tenant, &());
        self.shares.remove_many(holder, gateways.len());
        Some(Update { tenant, gateways })
    }
}

/// Maximum number of tenants whose gateways are reported concurrently.
const MOST_TENANTS: usize = 50;

/// Maximum number of devices whose gateways are reported in one request.
const MOST_DEVICES: usize = 100;

/// The devices whose gateways wait at a time.
const MOST_WAITING: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Batch, MOST_WAITING, Update};

    #[test]
    fn the_latest_gateway_of_each_device_is_told_once() {
        let mut batch = Batch::default();
        for (tenant, device, gateway) in [
            ("T", "d", "1"),
            ("T", "d", "2"),
            ("U", "d", "3"),
            ("T", "d", "4"),
        ] {
            assert!(batch.add(tenant, device, gateway));
        }
        let mut round = batch.take_round();
        round.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        let update = |tenant: &str, gateway: &str| Update {
            tenant: tenant.to_owned(),
            gateways: vec![("d".to_owned(), gateway.to_owned())],
        };
        assert_eq!(round, [update("T", "4"), update("U", "3")]);
        assert_eq!(batch.take_round(), []);
    }

    #[test]
    fn a_round_has_at_most_50_tenants_of_100_devices_each_and_all_get_their_turn() {
        let mut batch = Batch::default();
        for tenant in 0..51 {
            for device in 0..101 {
                assert!(batch.add(&format!("T{tenant}"), &format!("d{device}"), "gw"));
            }
        }
        let mut sent = BTreeSet::new();
        let rounds =
            std::iter::from_fn(|| Some(batch.take_round()).filter(|round| !round.is_empty()));
        for round in rounds {
            assert!(round.len() <= 50, "{} tenants", round.len());
            for Update { tenant, gateways } in round {
                assert!(
                    (1..=100).contains(&gateways.len()),
                    "{} devices",
                    gateways.len()
                );
                for (device, _) in gateways {
                    assert!(sent.insert((tenant.clone(), device)), "sent twice");
                }
            }
        }
        assert_eq!(sent.len(), 51 * 101);
        assert_eq!(batch.devices, 0);
    }

    #[test]
    fn what_waits_is_bounded_but_who_waits_already_may_change() {
        let mut batch = Batch::default();
        for device in 0..MOST_WAITING {
            assert!(batch.add("T", &device.to_string(), "gw"));
        }
        assert!(!batch.add("T", "more", "gw"));
        assert!(batch.add("T", "0", "other"));
        batch.take_round();
        assert!(batch.add("T", "more", "gw"));
    }
}

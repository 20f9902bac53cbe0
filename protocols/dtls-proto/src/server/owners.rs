//! Sessions by their owners, for all servers of a port: who holds most, and which of an owner's
//! sessions is the oldest.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use fair_share::{FairShares, Holder, HolderHasher};

use crate::server::common::Location;

/// Sessions of all owners. An owner is a principal, as a member of its tenant.
#[derive(Debug, Default)]
pub(super) struct Owners {
    hasher: HolderHasher,
    /// Principals within tenants.
    by_tenant: FairShares,
    /// Principals, whatever their tenant.
    by_principal: FairShares,
    /// By the name of the principal in `by_principal`.
    sessions: HashMap<Holder, Held>,
}

/// Sessions of one principal, the oldest first.
#[derive(Debug)]
struct Held {
    owner: Holder,
    locations: BTreeSet<Location>,
}

impl Owners {
    pub(super) fn owner(&self, tenant: &impl Hash, principal: &impl Hash) -> Holder {
        self.hasher.holder(tenant, &(tenant, principal))
    }

    /// Adds a session; `false` if it is there already.
    pub(super) fn add(&mut self, owner: Holder, location: Location) -> bool {
        let principal = self.principal(owner);
        let held = self.sessions.entry(principal).or_insert_with(|| Held {
            owner,
            locations: BTreeSet::new(),
        });
        let is_new = held.locations.insert(location);
        if is_new {
            self.by_tenant.add(owner);
            self.by_principal.add(principal);
        }
        is_new
    }

    /// Takes a session out; `false` if it was displaced before.
    pub(super) fn remove(&mut self, owner: Holder, location: Location) -> bool {
        self.take(self.principal(owner), location)
    }

    /// Number of sessions of the owner.
    pub(super) fn held_by(&self, owner: Holder) -> usize {
        self.by_tenant.held_by(owner)
    }

    /// Number of sessions of the owner's tenant.
    pub(super) fn held_by_tenant(&self, owner: Holder) -> usize {
        self.by_tenant.held_by_group(owner)
    }

    /// Takes out the oldest session of the owner.
    pub(super) fn displace_own(&mut self, owner: Holder) -> Option<Location> {
        self.displace_oldest(self.principal(owner))
    }

    /// Takes out the oldest session of the principal that holds most, if it holds more than `owner`
    /// would with one more.
    pub(super) fn displace_from_most(&mut self, owner: Holder) -> Option<Location> {
        let most = self.by_principal.most()?;
        let limit = self.held_by(owner).saturating_add(1);
        (self.by_principal.held_by(most) > limit)
            .then(|| self.displace_oldest(most))
            .flatten()
    }

    fn principal(&self, owner: Holder) -> Holder {
        self.hasher.holder(&(), &owner)
    }

    fn displace_oldest(&mut self, principal: Holder) -> Option<Location> {
        let oldest = *self.sessions.get(&principal)?.locations.first()?;
        self.take(principal, oldest).then_some(oldest)
    }

    fn take(&mut self, principal: Holder, location: Location) -> bool {
        let Some(held) = self.sessions.get_mut(&principal) else {
            return false;
        };
        if !held.locations.remove(&location) {
            return false;
        }
        self.by_tenant.remove(held.owner);
        self.by_principal.remove(principal);
        if held.locations.is_empty() {
            self.sessions.remove(&principal);
        }
        true
    }
}

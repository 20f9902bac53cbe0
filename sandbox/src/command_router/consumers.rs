//! Which adapter instance waits for commands to which device, and through which gateway a device was last heard
//! (spec: command-routing §1).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// What adapters have registered. Entries end by themselves; their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    instances: Entries,
    gateways: Entries,
}

/// Texts by tenant and device.
#[derive(Debug, Default)]
struct Entries {
    by_device: HashMap<(String, String), Entry>,
    /// How many entries there may be before those that have ended are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry {
    value: String,
    /// None lasts until it is replaced or taken away.
    ends: Option<Instant>,
}

/// There are too many entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// There is no entry, or it is one of another adapter instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotRegistered;

impl Consumers {
    /// Routes commands for `device` to `instance` from now on, replacing an earlier route. Without
    /// `lifespan`, it does not expire.
    pub(super) fn register(
        &mut self,
        tenant: &str,
        device: &str,
        instance: &str,
        lifespan: Option<Duration>,
        now: Instant,
    ) -> Result<(), Full> {
        // A lifespan beyond the clock's end is as good as none.
        let ends = lifespan.and_then(|lifespan| now.checked_add(lifespan));
        self.instances.set(tenant, device, instance, ends, now)
    }

    /// Commands to `device` no longer go to `instance`.
    pub(super) fn unregister(
        &mut self,
        tenant: &str,
        device: &str,
        instance: &str,
        now: Instant,
    ) -> Result<(), NotRegistered> {
        if self.instance(tenant, device, now) != Some(instance) {
            return Err(NotRegistered);
        }
        self.instances.remove(tenant, device);
        Ok(())
    }

    /// The adapter instance that waits for commands to exactly this device or gateway.
    pub(super) fn instance(&self, tenant: &str, device: &str, now: Instant) -> Option<&str> {
        self.instances.at(tenant, device, now)
    }

    /// Remembers through which gateway a device was heard.
    pub(super) fn set_last_gateway(
        &mut self,
        tenant: &str,
        device: &str,
        gateway: &str,
        now: Instant,
    ) -> Result<(), Full> {
        let ends = now.checked_add(GATEWAY_KNOWN_FOR);
        self.gateways.set(tenant, device, gateway, ends, now)
    }

    /// The gateway through which the device was heard last.
    pub(super) fn last_gateway(&self, tenant: &str, device: &str, now: Instant) -> Option<&str> {
        self.gateways.at(tenant, device, now)
    }
}

impl Entries {
    fn set(
        &mut self,
        tenant: &str,
        device: &str,
        value: &str,
        ends: Option<Instant>,
        now: Instant,
    ) -> Result<(), Full> {
        if self.by_device.len() >= self.sweep_at.clamp(MIN_SWEEP, MAX_ENTRIES) {
            self.by_device.retain(|_, entry| entry.lasts(now));
            self.sweep_at = self.by_device.len().saturating_mul(2);
        }
        let key = (tenant.to_owned(), device.to_owned());
        if self.by_device.len() >= MAX_ENTRIES && !self.by_device.contains_key(&key) {
            return Err(Full);
        }
        let value = value.to_owned();
        self.by_device.insert(key, Entry { value, ends });
        Ok(())
    }

    fn at(&self, tenant: &str, device: &str, now: Instant) -> Option<&str> {
        self.by_device
            .get(&(tenant.to_owned(), device.to_owned()))
            .filter(|entry| entry.lasts(now))
            .map(|entry| entry.value.as_str())
    }

    fn remove(&mut self, tenant: &str, device: &str) {
        self.by_device
            .remove(&(tenant.to_owned(), device.to_owned()));
    }
}

impl Entry {
    fn lasts(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

const GATEWAY_KNOWN_FOR: Duration = Duration::from_secs(28 * 24 * 60 * 60);
const MIN_SWEEP: usize = 1024;
const MAX_ENTRIES: usize = 1_000_000;

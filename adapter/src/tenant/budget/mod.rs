//! How much devices and tenants may do in a minute: messages, bytes of payload, handshakes. Off unless configured.
//!
//! Each has a bucket that holds a minute's worth and fills up evenly, so a burst is as good as an even flow. Everything is
//! decided here, from what this replica saw: nobody is asked. What is over the budget is refused with the time to come back.
//!
//! Nobody spends for another: a message is charged to the device whose session it came in, before anything is looked up. Where a
//! gateway speaks for another device, the charge passes to that device once the registry says that the gateway may. Without a
//! session the device is charged once the registry knows it.

mod bucket;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fair_share::{Holder, HolderHasher};
use fair_table::FairTable;

use self::bucket::Bucket;
use crate::config::{Budget, BudgetConfig};
use observability::metrics::{BudgetOf, Metrics, Spent};

/// What everybody has left.
#[derive(Debug)]
pub struct Budgets {
    device: Budget,
    tenant: Budget,
    /// None if nothing is limited.
    table: Option<Mutex<FairTable<Key, Account>>>,
    hasher: HolderHasher,
    metrics: Metrics,
}

/// A device, or a tenant as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Arc<str>,
    device: Option<Arc<str>>,
}

/// A device whose budget, with its tenant's, pays for something.
#[derive(Debug, Clone, Copy)]
pub struct Payer<'a> {
    /// The tenant.
    pub tenant: &'a Arc<str>,
    /// The device.
    pub device: &'a Arc<str>,
    /// The gateway that speaks for it. The budgets that a gateway's devices are remembered by count
    /// for the gateway.
    pub gateway: Option<&'a Arc<str>>,
}

/// Somebody has to come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {} has used up its {} of this minute", of.as_str(), what.as_str())]
#[non_exhaustive]
pub struct Exhausted {
    /// Whose budget it is.
    pub of: BudgetOf,
    /// What it is a budget of.
    pub what: Spent,
    /// When it would be enough again.
    pub retry_after: Duration,
}

/// The buckets of a device or a tenant.
#[derive(Debug, Clone, Copy)]
struct Account {
    messages: Bucket,
    bytes: Bucket,
    handshakes: Bucket,
}

impl Account {
    const fn full(now: Instant) -> Self {
        Self {
            messages: Bucket::full(now),
            bytes: Bucket::full(now),
            handshakes: Bucket::full(now),
        }
    }

    /// Gives back what something cost.
    fn refund(&mut self, now: Instant, budget: &Budget, cost: Cost) {
        for (bucket, per_minute, cost) in [
            (&mut self.messages, budget.messages, cost.messages),
            (&mut self.bytes, budget.bytes, cost.bytes),
            (&mut self.handshakes, budget.handshakes, cost.handshakes),
        ] {
            bucket.refund(now, per_minute, cost);
        }
    }

    /// When nothing of it is used, so that it need not be remembered.
    fn full_at(&self) -> Instant {
        let buckets = [self.messages, self.bytes, self.handshakes];
        let full_at = buckets.map(Bucket::full_at);
        full_at
            .into_iter()
            .fold(self.messages.full_at(), Instant::max)
    }

    /// Takes what something costs. What is missed most decides when to come back.
    fn spend(
        &mut self,
        now: Instant,
        budget: &Budget,
        cost: Cost,
    ) -> Result<(), (Spent, Duration)> {
        let parts = [
            (
                Spent::Messages,
                &mut self.messages,
                budget.messages,
                cost.messages,
            ),
            (Spent::Bytes, &mut self.bytes, budget.bytes, cost.bytes),
            (
                Spent::Handshakes,
                &mut self.handshakes,
                budget.handshakes,
                cost.handshakes,
            ),
        ];
        let spent = parts
            .map(|(what, bucket, per_minute, cost)| (what, bucket.spend(now, per_minute, cost)));
        let missed = spent.iter().filter(|(_, wait)| !wait.is_zero());
        missed
            .max_by_key(|(_, wait)| *wait)
            .map_or(Ok(()), |missed| Err(*missed))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    messages: u64,
    bytes: u64,
    handshakes: u64,
}

impl Budgets {
    /// Nobody has used anything yet.
    #[must_use]
    pub fn new(config: &BudgetConfig, metrics: Metrics) -> Self {
        let limited = config.device != Budget::UNLIMITED || config.tenant != Budget::UNLIMITED;
        Self {
            device: config.device,
            tenant: config.tenant,
            table: limited.then(|| Mutex::new(FairTable::new(config.max_entries))),
            hasher: HolderHasher::default(),
            metrics,
        }
    }

    /// Takes a message with a payload of that many bytes out of the budgets of a device, which has
    /// proved who it is or is known to the registry, and of its tenant; or nothing at all.
    ///
    /// # Errors
    /// [`Exhausted`] tells when to come back.
    pub fn charge_message(
        &self,
        now: Instant,
        payer: Payer<'_>,
        bytes: usize,
    ) -> Result<(), Exhausted> {
        self.spend(now, payer, Cost::of_message(bytes), Keep::IfEnough)
    }

    /// Whether a device that has proved nothing yet, and its tenant, have enough for a message.
    /// Nothing is taken or remembered.
    ///
    /// # Errors
    /// [`Exhausted`] tells when to come back.
    pub fn check_message(
        &self,
        now: Instant,
        payer: Payer<'_>,
        bytes: usize,
    ) -> Result<(), Exhausted> {
        self.spend(now, payer, Cost::of_message(bytes), Keep::Never)
    }

    /// Passes the charge for a message from the gateway that sent it to the device it is from: the
    /// registry says that the one may speak for the other.
    ///
    /// # Errors
    /// [`Exhausted`] if the device has used up its budget; the gateway and the tenant have back what
    /// was taken.
    pub fn pass_charge(
        &self,
        now: Instant,
        payer: Payer<'_>,
        bytes: usize,
    ) -> Result<(), Exhausted> {
        let (Some(table), Some(gateway)) = (&self.table, payer.gateway) else {
            return Ok(());
        };
        let cost = Cost::of_message(bytes);
        let of_device = |device: &Arc<str>| Key {
            tenant: Arc::clone(payer.tenant),
            device: Some(Arc::clone(device)),
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let refund = |table: &mut FairTable<Key, Account>, key: Key, budget: &Budget| {
            if let Some(mut account) = table.get(&key, now).copied() {
                account.refund(now, budget, cost);
                self.put(table, key, payer, now, account);
            }
        };
        refund(&mut table, of_device(gateway), &self.device);
        if self.device == Budget::UNLIMITED {
            return Ok(());
        }
        let key = of_device(payer.device);
        let account = table.get(&key, now).copied();
        let mut account = account.unwrap_or(Account::full(now));
        let Err((what, retry_after)) = account.spend(now, &self.device, cost) else {
            self.put(&mut table, key, payer, now, account);
            return Ok(());
        };
        let tenant = Key {
            tenant: Arc::clone(payer.tenant),
            device: None,
        };
        refund(&mut table, tenant, &self.tenant);
        drop(table);
        let of = BudgetOf::Device;
        self.metrics.over_budget(of, what);
        Err(Exhausted {
            of,
            what,
            retry_after,
        })
    }

    /// Whether there is room for a handshake. Nothing is taken: anybody can claim to be somebody.
    ///
    /// # Errors
    /// [`Exhausted`] tells when to come back.
    pub fn may_shake_hands(&self, now: Instant, payer: Payer<'_>) -> Result<(), Exhausted> {
        self.spend(now, payer, HANDSHAKE, Keep::Never)
    }

    /// Takes a handshake by which the device has proved who it is.
    pub fn shook_hands(&self, now: Instant, payer: Payer<'_>) {
        if let Err(exhausted) = self.spend(now, payer, HANDSHAKE, Keep::IfEnough) {
            tracing::debug!(%exhausted, "concurrent handshakes");
        }
    }

    fn spend(
        &self,
        now: Instant,
        payer: Payer<'_>,
        cost: Cost,
        keep: Keep,
    ) -> Result<(), Exhausted> {
        let Some(table) = &self.table else {
            return Ok(());
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let parties = [
            (BudgetOf::Device, &self.device, Some(payer.device)),
            (BudgetOf::Tenant, &self.tenant, None),
        ];
        let mut accounts = Vec::with_capacity(2);
        for (of, budget, device) in parties {
            if *budget == Budget::UNLIMITED {
                continue;
            }
            let key = Key {
                tenant: Arc::clone(payer.tenant),
                device: device.cloned(),
            };
            let account = table.get(&key, now).copied();
            let mut account = account.unwrap_or(Account::full(now));
            let result = account.spend(now, budget, cost);
            accounts.push((key, account, result.map_err(|missed| (of, missed))));
        }
        let missed = accounts.iter().filter_map(|(.., result)| result.err());
        let worst = missed.max_by_key(|(_, (_, wait))| *wait);
        if worst.is_none() && keep == Keep::IfEnough {
            for (key, account, _) in accounts {
                self.put(&mut table, key, payer, now, account);
            }
        }
        drop(table);
        let Some((of, (what, retry_after))) = worst else {
            return Ok(());
        };
        self.metrics.over_budget(of, what);
        Err(Exhausted {
            of,
            what,
            retry_after,
        })
    }
}

impl Budgets {
    /// Remembers an account until it is full again.
    fn put(
        &self,
        table: &mut FairTable<Key, Account>,
        key: Key,
        payer: Payer<'_>,
        now: Instant,
        account: Account,
    ) {
        let holder = self.holder(payer);
        table.insert(key, account, holder, now, Some(account.full_at()));
    }

    fn holder(&self, payer: Payer<'_>) -> Holder {
        self.hasher.holder(payer.tenant, &payer.gateway)
    }
}

impl Cost {
    fn of_message(bytes: usize) -> Self {
        Self {
            messages: 1,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }
}

/// What is done with what was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    IfEnough,
    Never,
}

const HANDSHAKE: Cost = Cost {
    messages: 0,
    bytes: 0,
    handshakes: 1,
};

#[cfg(test)]
mod tests;

//! How much devices and tenants may do in a minute: messages, bytes of payload, handshakes. Off unless configured.
//!
//! Each has a bucket that holds a minute's worth and fills up evenly, so a burst is as good as an even flow. Everything is
//! decided here, from what this replica saw: nobody is asked. What is over the budget is refused with the time to come back.

mod bucket;
mod table;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::bucket::Bucket;
use self::table::{Key, Table};
use crate::authn::Principal;
use crate::config::{Budget, BudgetConfig};
use crate::monitoring::metrics::{BudgetOf, Metrics, Spent};

/// What everybody has left.
#[derive(Debug)]
pub struct Budgets {
    device: Budget,
    tenant: Budget,
    /// None if nothing is limited.
    table: Option<Mutex<Table>>,
    metrics: Metrics,
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
            table: limited.then(|| Mutex::new(Table::new(config.max_entries))),
            metrics,
        }
    }

    /// Takes a message with a payload of that many bytes out of the budgets of a device and its tenant, or nothing at all.
    ///
    /// # Errors
    /// [`Exhausted`] tells when to come back.
    pub fn message(
        &self,
        now: Instant,
        tenant: &Arc<str>,
        device: &Arc<str>,
        bytes: usize,
    ) -> Result<(), Exhausted> {
        let cost = Cost {
            messages: 1,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            ..Cost::default()
        };
        self.spend(now, (tenant, device), cost, Keep::IfEnough)
    }

    /// Whether there is room for a handshake. Nothing is taken: anybody can claim to be somebody.
    ///
    /// # Errors
    /// [`Exhausted`] tells when to come back.
    pub fn may_shake_hands(&self, now: Instant, principal: &Principal) -> Result<(), Exhausted> {
        let whose = (&principal.tenant, &principal.device);
        self.spend(now, whose, HANDSHAKE, Keep::Never)
    }

    /// Takes a handshake by which the device has proved who it is.
    pub fn shook_hands(&self, now: Instant, principal: &Principal) {
        let whose = (&principal.tenant, &principal.device);
        if let Err(exhausted) = self.spend(now, whose, HANDSHAKE, Keep::IfEnough) {
            tracing::debug!(%exhausted, "handshakes at the same time");
        }
    }

    fn spend(
        &self,
        now: Instant,
        (tenant, device): (&Arc<str>, &Arc<str>),
        cost: Cost,
        keep: Keep,
    ) -> Result<(), Exhausted> {
        let Some(table) = &self.table else {
            return Ok(());
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let parties = [
            (BudgetOf::Device, &self.device, Key::device(tenant, device)),
            (BudgetOf::Tenant, &self.tenant, Key::tenant(tenant)),
        ];
        let mut accounts = Vec::with_capacity(2);
        for (of, budget, key) in parties {
            if *budget == Budget::UNLIMITED {
                continue;
            }
            let mut account = table.take(&key).unwrap_or(Account::full(now));
            let before = account;
            let result = account.spend(now, budget, cost);
            accounts.push((key, before, account, result.map_err(|missed| (of, missed))));
        }
        let missed = accounts.iter().filter_map(|(.., result)| result.err());
        let worst = missed.max_by_key(|(_, (_, wait))| *wait);
        for (key, before, after, _) in accounts {
            let keeps = worst.is_none() && keep == Keep::IfEnough;
            table.put(key, if keeps { after } else { before });
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

//! Is a tenant's data volume used up? Never waits: what is not known passes (spec: resource-limits §4).
//!
//! ```text
//! check ─> cache ─> verdict
//!            │ unknown, or due for a refresh
//!            └─> bounded queue ─> one task ─> Prometheus ─> cache
//! ```

mod cache;
mod prometheus;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use amqp_client::ConfigError;
use registry_client::{
    Tenant,
    tenant::{DataVolume, Period},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    cache::{Cache, Found},
    prometheus::{Prometheus, QueryError},
};
use super::data_volume::{Accounting, Usage, consumed, payload_size};
use crate::config::ResourceLimitsConfig;

/// Knows, about each tenant, whether it may send more. Clones share what they know; the default lets everything pass.
#[derive(Debug, Clone, Default)]
pub struct MessageLimits(Option<Arc<Limits>>);

impl MessageLimits {
    /// Asks the Prometheus server of `config`; without one, everything passes. Nothing is asked before the first message, and the
    /// server may come up later.
    ///
    /// # Errors
    /// [`ConfigError`]: a file cannot be read or used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: Option<&ResourceLimitsConfig>) -> Result<Self, ConfigError> {
        config
            .map(|config| Ok(Arc::new(Limits::start(config, Prometheus::new(config)?))))
            .transpose()
            .map(Self)
    }

    /// Whether `tenant` may send so many bytes more. Answers at once; what it takes to know better next time is done in the
    /// background.
    #[must_use]
    pub fn check(&self, tenant: &Tenant, payload_bytes: usize) -> Verdict {
        let size = payload_size(payload_bytes, tenant.minimum_message_size);
        match (&self.0, &tenant.resource_limits.data_volume) {
            (Some(limits), Some(volume)) if size > 0 && is_limited(volume) => {
                limits.check(tenant, volume, size)
            }
            _ => Verdict::Passes,
        }
    }
}

/// Whether a message may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may, or it is not known.
    Passes,
    /// It is more than the tenant may send.
    Exceeded,
}

/// What is known, and who learns more.
#[derive(Debug)]
struct Limits {
    known: Arc<Known>,
    wish: mpsc::Sender<Wish>,
    _learner: AbortOnDropHandle<()>,
}

impl Limits {
    fn start(config: &ResourceLimitsConfig, prometheus: Prometheus) -> Self {
        let (wish, wishes) = mpsc::channel(WISHES);
        let known = Arc::new(Known {
            usages: RwLock::new(Cache::new(config)),
            wished: Mutex::default(),
        });
        let learner = tokio::spawn(learn(prometheus, Arc::clone(&known), wishes));
        let _learner = AbortOnDropHandle::new(learner);
        Self {
            known,
            wish,
            _learner,
        }
    }

    fn check(&self, tenant: &Tenant, volume: &DataVolume, size: u64) -> Verdict {
        let found = self.known.find(&tenant.id);
        if found.is_due {
            self.wish_for(tenant, volume);
        }
        match found.usage {
            Some(usage) if usage.is_exceeded_by(size) => Verdict::Exceeded,
            _ => Verdict::Passes,
        }
    }

    /// Queues the tenant, unless it is already queued; if the queue is full, a later message will do it.
    fn wish_for(&self, tenant: &Tenant, volume: &DataVolume) {
        let mut wished = self.known.wished();
        if wished.contains(&tenant.id) {
            return;
        }
        match self.wish.try_reserve() {
            Ok(place) => {
                wished.insert(tenant.id.clone());
                place.send(Wish {
                    tenant: tenant.id.clone(),
                    volume: volume.clone(),
                });
            }
            Err(TrySendError::Full(())) => {
                tracing::debug!("too many data volume queries are pending");
            }
            Err(TrySendError::Closed(())) => {}
        }
    }
}

/// What is shared by those who check and the one who learns.
#[derive(Debug)]
struct Known {
    usages: RwLock<Cache>,
    /// Tenants in the queue, and the one that is asked about.
    wished: Mutex<HashSet<String>>,
}

impl Known {
    fn find(&self, tenant: &str) -> Found {
        let usages = self.usages.read().unwrap_or_else(PoisonError::into_inner);
        usages.find(Instant::now(), tenant)
    }

    fn wished(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.wished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, tenant: &str, usage: Usage) {
        let mut usages = self.usages.write().unwrap_or_else(PoisonError::into_inner);
        usages.keep(Instant::now(), tenant, usage);
    }
}

/// A tenant somebody would like to know about.
#[derive(Debug)]
struct Wish {
    tenant: String,
    volume: DataVolume,
}

/// Asks about one tenant after the other, as long as anybody may check.
async fn learn(prometheus: Prometheus, known: Arc<Known>, mut wishes: mpsc::Receiver<Wish>) {
    while let Some(wish) = wishes.recv().await {
        match usage(&prometheus, &wish).await {
            Ok(Some(usage)) => known.keep(&wish.tenant, usage),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(tenant_id = %wish.tenant, error = &error as &dyn std::error::Error,
                    "data volume of a tenant is unknown; messages pass");
                tokio::time::sleep(RESPITE).await;
            }
        }
        known.wished().remove(&wish.tenant);
    }
}

/// `None` if nothing is limited.
async fn usage(prometheus: &Prometheus, wish: &Wish) -> Result<Option<Usage>, QueryError> {
    let Some(accounting) = Accounting::at(SystemTime::now(), &wish.volume) else {
        return Ok(None);
    };
    let consumed = match accounting.query(&wish.tenant) {
        None => 0,
        Some(query) => consumed(&prometheus.query(&query).await?).unwrap_or_else(|rubbish| {
            tracing::warn!(tenant_id = %wish.tenant, %rubbish, "data volume of a tenant is treated as 0");
            0
        }),
    };
    let limit = accounting.limit;
    Ok(Some(Usage { consumed, limit }))
}

/// Whether there is anything to ask about.
fn is_limited(volume: &DataVolume) -> bool {
    volume.max_bytes.is_some() && volume.period != Period::Unlimited
}

/// So many tenants may wait to be asked about.
const WISHES: usize = 1000;

/// So long a failed Prometheus is left alone, lest every message of a busy tenant makes a query and a line in the log.
const RESPITE: Duration = Duration::from_millis(100);

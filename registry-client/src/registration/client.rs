//! Look-ups of registration assertions.

use std::{sync::Arc, time::Duration};

use amqp_client::{Connection, Outcome, SendError};
use fair_semaphore::FairSemaphore;
use fair_share::{Holder, HolderHasher};
use fair_table::Equivalent;
use tokio::time::timeout;

use super::Assertion;
use crate::{
    CacheConfig, ServiceError,
    cache::{Answer, Answers},
    exchange::{Exchange, Request},
    notifications::Subject,
};

/// Asks the Device Registration API, and remembers the answers.
pub struct RegistrationClient {
    exchange: Exchange,
    answers: Answers<Key, Assertion>,
    cache: CacheConfig,
    hasher: HolderHasher,
    /// Turns for requests.
    turns: FairSemaphore,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: String,
    pub(crate) device: String,
    pub(crate) gateway: Option<String>,
}

/// A key that is only borrowed; it has the same hash.
#[derive(Clone, Copy, Hash)]
struct Asked<'a> {
    tenant: &'a str,
    device: &'a str,
    gateway: Option<&'a str>,
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let gateway = key.gateway.as_deref();
        self.tenant == key.tenant && self.device == key.device && self.gateway == gateway
    }
}

impl From<Asked<'_>> for Key {
    fn from(asked: Asked<'_>) -> Self {
        Self {
            tenant: asked.tenant.to_owned(),
            device: asked.device.to_owned(),
            gateway: asked.gateway.map(str::to_owned),
        }
    }
}

impl RegistrationClient {
    /// A client on a connection to the service.
    #[must_use]
    pub fn new(connection: Connection, cache: CacheConfig) -> Self {
        Self {
            exchange: Exchange::new(connection, "registration"),
            answers: Answers::new(&cache),
            cache,
            hasher: HolderHasher::default(),
            turns: FairSemaphore::new(MAX_REQUESTS, MAX_WAITING),
        }
    }

    /// Permits for requests to the service.
    #[must_use]
    pub const fn requests(&self) -> &FairSemaphore {
        &self.turns
    }

    /// The registry's word that the device exists, and that the gateway, if one is named, may act for it.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if the device or the tenant does not exist or the device is disabled, 403 if the gateway does
    /// not exist, is disabled or not authorized, 503 if the service cannot tell.
    pub async fn assert(
        &self,
        tenant: &str,
        device: &str,
        gateway: Option<&str>,
    ) -> Result<Arc<Assertion>, ServiceError> {
        let asked = Asked {
            tenant,
            device,
            gateway,
        };
        let ask = || async {
            // One tenant or device that asks for many leaves others their turns.
            let speaker = self.hasher.holder(&tenant, &gateway.unwrap_or(device));
            let within = self.exchange.request_timeout();
            let Ok(Ok(_turn)) = timeout(within, self.turns.acquire(speaker)).await else {
                let text = "too many registration assertions wait";
                return Answer::not_kept(ServiceError::unavailable(text));
            };
            let request = Request::new("assert").with_text("device_id", device);
            let request = match gateway {
                Some(gateway) => request.with_text("gateway_id", gateway),
                None => request,
            };
            match self.exchange.ask(Some(tenant), request).await {
                Ok(response) => response.read(Assertion::from_json, &self.cache),
                Err(error) => Answer::not_kept(error),
            }
        };
        // A device has one answer for itself; a gateway may have any number, so each counts alone.
        let holder = || self.holder(tenant, gateway);
        self.answers.find(asked, holder, ask).await
    }

    fn holder(&self, tenant: &str, gateway: Option<&str>) -> Holder {
        self.hasher.holder(&tenant, &gateway)
    }

    /// How many answers are kept, more or less.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.answers.len()
    }

    /// Tells `observer` what becomes of each request that is sent.
    #[must_use]
    pub fn observed_by(
        self,
        observer: impl Fn(&str, Result<&Outcome, &SendError>, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.exchange.observe(Box::new(observer));
        self
    }

    pub(crate) fn forget(&self, subject: &Subject) {
        self.answers.forget(|key, _| is_outdated(subject, key));
    }

    /// Forgets every answer, as any of them may be out of date.
    pub(crate) fn forget_all(&self) {
        self.answers.forget(|_, _| true);
    }

    /// Gives up the links of a tenant whose devices have been silent for long; they are opened again when needed.
    pub fn close_tenant(&self, tenant: &str) {
        self.exchange.close(tenant);
    }
}

impl std::fmt::Debug for RegistrationClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RegistrationClient")
            .finish_non_exhaustive()
    }
}

/// Whether a change may have made the answer for `key` out of date (spec: registry-apis B).
pub(crate) fn is_outdated(subject: &Subject, key: &Key) -> bool {
    match subject {
        Subject::Device {
            tenant_id,
            device_id,
            ..
        } => {
            let concerned = key.device == *device_id || key.gateway.as_ref() == Some(device_id);
            key.tenant == *tenant_id && concerned
        }
        Subject::AllDevicesOfTenantDeleted { tenant_id } => key.tenant == *tenant_id,
        Subject::Tenant { .. } | Subject::Credentials { .. } => false,
    }
}

/// Number of requests at a time.
const MAX_REQUESTS: usize = 1_024;

/// Number of requests that wait for their turn.
const MAX_WAITING: usize = 8_192;

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// If it were not so, nothing would be found in the cache, and every request would ask the service.
    #[test]
    fn a_borrowed_key_has_the_hash_of_the_key_that_it_stands_for() {
        let hashes = RandomState::new();
        for gateway in [None, Some("G")] {
            let (tenant, device) = ("T", "D");
            let asked = Asked {
                tenant,
                device,
                gateway,
            };
            let key = Key::from(asked);
            assert!(asked.equivalent(&key));
            assert_eq!(hashes.hash_one(asked), hashes.hash_one(&key));
        }
    }
}

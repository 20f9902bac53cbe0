//! Look-ups of tenants.

use std::{sync::Arc, time::Duration};

use downstream::{Connection, Outcome, SendError};
use moka::Equivalent;
use serde_json::json;

use super::Tenant;
use crate::{
    CacheConfig, ServiceError,
    cache::{Answer, Answers},
    exchange::{Exchange, Request},
    notifications::{Change, Notification, Subject},
};

/// Asks the Tenant API, once for all who want the same at the same time, and remembers the answers.
pub struct TenantClient {
    exchange: Exchange,
    answers: Answers<Key, Tenant>,
    cache: CacheConfig,
}

/// By what a tenant is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Id(String),
    SubjectDn(String),
}

/// A key that is only borrowed; it has the same hash.
#[derive(Clone, Copy, Hash)]
enum Asked<'a> {
    Id(&'a str),
    SubjectDn(&'a str),
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        match (self, key) {
            (Self::Id(asked), Key::Id(kept)) => asked == kept,
            (Self::SubjectDn(asked), Key::SubjectDn(kept)) => asked == kept,
            _ => false,
        }
    }
}

impl From<Asked<'_>> for Key {
    fn from(asked: Asked<'_>) -> Self {
        match asked {
            Asked::Id(id) => Self::Id(id.to_owned()),
            Asked::SubjectDn(subject_dn) => Self::SubjectDn(subject_dn.to_owned()),
        }
    }
}

impl TenantClient {
    /// A client on a connection to the service.
    #[must_use]
    pub fn new(connection: Connection, cache: CacheConfig) -> Self {
        Self {
            exchange: Exchange::new(connection, "tenant"),
            answers: Answers::new(&cache),
            cache,
        }
    }

    /// The tenant with this identifier or alias.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there is none, 503 if the service cannot tell.
    pub async fn by_id(&self, id: &str) -> Result<Arc<Tenant>, ServiceError> {
        self.find(Asked::Id(id)).await
    }

    /// The one tenant that trusts the certificate authority of this name, in the form of RFC 2253.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there is none or several, 503 if the service cannot tell.
    pub async fn by_subject_dn(&self, subject_dn: &str) -> Result<Arc<Tenant>, ServiceError> {
        self.find(Asked::SubjectDn(subject_dn)).await
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

    pub(crate) async fn forget(&self, subject: &Subject) {
        let outdated = |key: &Key, tenant: Option<&Tenant>| {
            is_outdated(subject, key, tenant.map(|tenant| tenant.id.as_str()))
        };
        self.answers.forget(outdated).await;
    }

    async fn find(&self, asked: Asked<'_>) -> Result<Arc<Tenant>, ServiceError> {
        let ask = || async {
            let asked = match asked {
                Asked::Id(id) => json!({"tenant-id": id}),
                Asked::SubjectDn(subject_dn) => json!({"subject-dn": subject_dn}),
            };
            let request = Request::new("get").with_json(&asked);
            match self.exchange.ask(None, request).await {
                Ok(response) => response.read(Tenant::from_json, &self.cache),
                Err(error) => Answer::not_kept(error),
            }
        };
        self.answers.find(asked, ask).await
    }
}

impl std::fmt::Debug for TenantClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TenantClient")
            .finish_non_exhaustive()
    }
}

/// Whether a change may have made the answer for `key`, a tenant with this identifier, out of date (spec: registry-apis B).
pub(crate) fn is_outdated(subject: &Subject, key: &Key, id: Option<&str>) -> bool {
    match subject {
        Subject::Tenant {
            change,
            tenant_id,
            enabled,
            invalidate_cache_on_update,
        } => {
            let asked = matches!(key, Key::Id(asked) if asked == tenant_id);
            let forced = *change == Change::Update && *invalidate_cache_on_update;
            (asked || id == Some(tenant_id)) && (forced || Notification::ends(*change, *enabled))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    /// If it were not so, nothing would be found in the cache, and every request would ask the service.
    #[test]
    fn a_borrowed_key_has_the_hash_of_the_key_that_it_stands_for() {
        let hashes = RandomState::new();
        for asked in [Asked::Id("T"), Asked::SubjectDn("T")] {
            let key = Key::from(asked);
            assert!(asked.equivalent(&key));
            assert_eq!(hashes.hash_one(asked), hashes.hash_one(&key));
        }
        assert!(!Asked::Id("T").equivalent(&Key::SubjectDn("T".to_owned())));
    }
}

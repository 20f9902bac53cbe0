//! Look-ups of tenants.

use std::{sync::Arc, time::Duration};

use downstream::{Connection, Outcome, SendError};
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
        self.find(Key::Id(id.to_owned())).await
    }

    /// The one tenant that trusts the certificate authority of this name, in the form of RFC 2253.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there is none or several, 503 if the service cannot tell.
    pub async fn by_subject_dn(&self, subject_dn: &str) -> Result<Arc<Tenant>, ServiceError> {
        self.find(Key::SubjectDn(subject_dn.to_owned())).await
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

    async fn find(&self, key: Key) -> Result<Arc<Tenant>, ServiceError> {
        let asked = key.clone();
        let ask = async {
            let asked = match asked {
                Key::Id(id) => json!({"tenant-id": id}),
                Key::SubjectDn(subject_dn) => json!({"subject-dn": subject_dn}),
            };
            let request = Request::new("get").with_json(&asked);
            match self.exchange.ask(None, request).await {
                Ok(response) => response.read(Tenant::from_json, &self.cache),
                Err(error) => Answer::not_kept(error),
            }
        };
        self.answers.find(key, ask).await
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

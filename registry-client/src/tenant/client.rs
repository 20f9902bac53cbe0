//! Look-ups of tenants.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use amqp_client::{Connection, Outcome, SendError};
use fair_semaphore::FairSemaphore;
use fair_share::{Holder, HolderHasher};
use fair_table::{Equivalent, FairTable};
use serde_json::json;
use tokio::time::timeout;

use super::Tenant;
use crate::{
    CacheConfig, ServiceError,
    cache::{Answer, Answers, now},
    exchange::{Exchange, Request},
    notifications::{Change, Notification, Subject},
};

/// Asks the Tenant API, once for all who want the same at the same time, and remembers the answers.
///
/// Any peer may name a tenant. So lookups of unauthenticated peers use
/// [`TenantClient::by_id_from`],
/// [`TenantClient::by_subject_dn`] or [`TenantClient::exists`]: a name that is not known yet is asked
/// for in turn with those of other sources, and that there is no such tenant is remembered for
/// [`ABSENT_FOR`].
pub struct TenantClient {
    exchange: Exchange,
    answers: Answers<Key, Tenant>,
    cache: CacheConfig,
    hasher: HolderHasher,
    /// Tenants that the service has confirmed, for longer than it allows to keep their objects.
    known: RwLock<FairTable<String, ()>>,
    /// What the service does not know, each counted for the source that asked.
    absent: RwLock<FairTable<Key, ()>>,
    /// Turns for look-ups of names that are not known.
    turns: FairSemaphore,
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
            hasher: HolderHasher::default(),
            known: RwLock::new(FairTable::new(MAX_KNOWN)),
            absent: RwLock::new(FairTable::new(MAX_ABSENT)),
            turns: FairSemaphore::new(MAX_LOOKUPS, MAX_WAITING),
        }
    }

    /// Permits for look-ups of names that are not known to exist.
    #[must_use]
    pub const fn lookups_of_unknown(&self) -> &FairSemaphore {
        &self.turns
    }

    /// The tenant with this identifier or alias, for an authenticated device of it.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there is none, 503 if the service cannot tell.
    pub async fn by_id(&self, id: &str) -> Result<Arc<Tenant>, ServiceError> {
        self.find(Asked::Id(id), None).await
    }

    /// As [`TenantClient::by_id`], for a peer of `source` that may be anybody.
    ///
    /// # Errors
    /// As [`TenantClient::by_id`]; also 503 if too many look-ups of that source wait.
    pub async fn by_id_from(&self, source: Holder, id: &str) -> Result<Arc<Tenant>, ServiceError> {
        let asked = Asked::Id(id);
        if let Some(kept) = self.answers.get(&asked) {
            return kept;
        }
        if !is_plausible(id) {
            return Err(not_found());
        }
        Box::pin(self.find_from(source, asked)).await
    }

    /// The one tenant that trusts the certificate authority of this name, in the form of RFC 2253,
    /// for a peer of `source` that may be anybody.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there is none or several, 503 if the service cannot tell or too
    /// many look-ups of that source wait.
    pub async fn by_subject_dn(
        &self,
        source: Holder,
        subject_dn: &str,
    ) -> Result<Arc<Tenant>, ServiceError> {
        let asked = Asked::SubjectDn(subject_dn);
        if let Some(kept) = self.answers.get(&asked) {
            return kept;
        }
        Box::pin(self.find_from(source, asked)).await
    }

    /// Makes sure that there is a tenant with this identifier or alias, for a peer of `source` that
    /// may be anybody. Where the service has once confirmed it, it is not asked again.
    ///
    /// # Errors
    /// As [`TenantClient::by_id_from`].
    pub async fn exists(&self, source: Holder, id: &str) -> Result<(), ServiceError> {
        if self.is_known(id) {
            return Ok(());
        }
        self.by_id_from(source, id).await.map(drop)
    }

    /// Whether the service has confirmed that there is a tenant with this identifier or alias, and
    /// nothing was heard of its end.
    #[must_use]
    pub fn is_known(&self, id: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(id, now()).is_some()
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
        self.answers.forget(|key, tenant| {
            is_outdated(subject, key, tenant.map(|tenant| tenant.id.as_str()))
        });
        let Subject::Tenant {
            change,
            tenant_id,
            enabled,
            ..
        } = subject
        else {
            return;
        };
        // A tenant, an alias or an authority may be there now.
        self.absent_mut().remove_if(|_, ()| true);
        if Notification::ends(*change, *enabled) {
            self.known_mut().remove(tenant_id.as_str());
        }
    }

    /// Forgets every answer, as any of them may be out of date.
    pub(crate) fn forget_all(&self) {
        self.answers.forget(|_, _| true);
        self.absent_mut().remove_if(|_, ()| true);
        self.known_mut().remove_if(|_, ()| true);
    }

    /// Finds what is neither kept nor remembered to be absent, in turn with other sources.
    async fn find_from(
        &self,
        source: Holder,
        asked: Asked<'_>,
    ) -> Result<Arc<Tenant>, ServiceError> {
        if let Asked::Id(id) = asked
            && self.is_known(id)
        {
            return self.find(asked, Some(source)).await;
        }
        if self.is_absent(asked) {
            return Err(not_found());
        }
        let within = self.exchange.request_timeout();
        let Ok(Ok(_turn)) = timeout(within, self.turns.acquire(source)).await else {
            let text = "too many look-ups of tenants wait";
            return Err(ServiceError::unavailable(text));
        };
        // Others may have asked for the same meanwhile.
        if self.is_absent(asked) {
            return Err(not_found());
        }
        self.find(asked, Some(source)).await
    }

    fn is_absent(&self, asked: Asked<'_>) -> bool {
        let absent = self.absent.read().unwrap_or_else(PoisonError::into_inner);
        absent.get(&asked, now()).is_some()
    }

    async fn find(
        &self,
        asked: Asked<'_>,
        source: Option<Holder>,
    ) -> Result<Arc<Tenant>, ServiceError> {
        let ask = || async {
            let query = match asked {
                Asked::Id(id) => json!({"tenant-id": id}),
                Asked::SubjectDn(subject_dn) => json!({"subject-dn": subject_dn}),
            };
            let request = Request::new("get").with_json(&query);
            match self.exchange.ask(None, request).await {
                Ok(response) => {
                    let mut answer = response.read(Tenant::from_json, &self.cache);
                    answer.outcome = answer
                        .outcome
                        .map_err(|error| error.with_not_found_text(NO_SUCH_TENANT));
                    self.note(asked, source, &answer);
                    answer
                }
                Err(error) => Answer::not_kept(error),
            }
        };
        self.answers.find(asked, || self.everybody(), ask).await
    }

    /// Notes what the service says of the existence of a tenant.
    fn note(&self, asked: Asked<'_>, source: Option<Holder>, answer: &Answer<Tenant>) {
        if let Err(error) = &answer.outcome
            && error.status == 404
            && let Some(source) = source
        {
            let (now, key) = (now(), Key::from(asked));
            let expires = now.checked_add(ABSENT_FOR);
            self.absent_mut().insert(key, (), source, now, expires);
        }
        let Asked::Id(asked) = asked else {
            if let Ok(tenant) = &answer.outcome {
                self.know(&tenant.id);
            }
            return;
        };
        match &answer.outcome {
            Ok(tenant) => {
                self.know(asked);
                if tenant.id != asked {
                    self.know(&tenant.id);
                }
            }
            Err(error) if error.status == 404 => {
                self.known_mut().remove(asked);
            }
            Err(_) => {}
        }
    }

    fn know(&self, id: &str) {
        if !self.is_known(id) {
            let (holder, now) = (self.everybody(), now());
            self.known_mut()
                .insert(id.to_owned(), (), holder, now, None);
        }
    }

    /// The registry bounds the number of tenants, whichever peers cause lookups.
    fn everybody(&self) -> Holder {
        self.hasher.holder(&(), &())
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, FairTable<String, ()>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn absent_mut(&self) -> std::sync::RwLockWriteGuard<'_, FairTable<Key, ()>> {
        self.absent.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a tenant or device may be called so. What may not be is not asked for: a slash would end
/// the name in an AMQP address.
#[must_use]
pub fn is_plausible(name: &str) -> bool {
    let length = 1..=MAX_NAME_LENGTH;
    length.contains(&name.len()) && !name.chars().any(|char| char == '/' || char.is_control())
}

fn not_found() -> ServiceError {
    ServiceError::new(404, NO_SUCH_TENANT)
}

/// The text of Hono's client.
const NO_SUCH_TENANT: &str = "no such tenant";

/// How long it is remembered that there is no such tenant, unless a notification says otherwise.
pub const ABSENT_FOR: Duration = Duration::from_secs(3);

/// Number of names that are remembered to be of no tenant.
const MAX_ABSENT: usize = 4_096;

/// Number of tenants that are remembered to exist.
const MAX_KNOWN: usize = 10_000;

/// Number of look-ups of unknown names at a time.
const MAX_LOOKUPS: usize = 64;

/// Number of look-ups of unknown names that wait for their turn.
const MAX_WAITING: usize = 2_048;

/// Length in bytes of a name that may be one.
const MAX_NAME_LENGTH: usize = 256;

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

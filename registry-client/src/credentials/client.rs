//! Look-ups of credentials.

use std::{sync::Arc, time::Duration};

use amqp_client::{Connection, Outcome, SendError};
use base64::{Engine, prelude::BASE64_STANDARD};
use fair_share::HolderHasher;
use serde_json::{Value, json};

use super::{Credentials, CredentialsType};
use crate::{
    CacheConfig, ServiceError,
    cache::{Answer, Answers},
    exchange::{Exchange, Request},
    notifications::{Notification, Subject},
};

/// Asks the Credentials API, and remembers the answers as far as it allows: pre-shared keys usually not at all.
pub struct CredentialsClient {
    exchange: Exchange,
    answers: Answers<Key, Credentials>,
    cache: CacheConfig,
    hasher: HolderHasher,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: String,
    kind: CredentialsType,
    auth_id: String,
    /// What else the service gets to know of the client (DER). Kept as it is, so that no other can be taken for it.
    certificate: Option<Vec<u8>>,
}

impl Key {
    fn json(&self) -> Value {
        let mut json = json!({"type": self.kind.name(), "auth-id": self.auth_id});
        if let Some(certificate) = &self.certificate {
            json["client-certificate"] = json!(BASE64_STANDARD.encode(certificate));
        }
        json
    }
}

impl CredentialsClient {
    /// A client on a connection to the service.
    #[must_use]
    pub fn new(connection: Connection, cache: CacheConfig) -> Self {
        Self::over(Exchange::new(connection, "credentials"), cache)
    }

    pub(crate) fn over(exchange: Exchange, cache: CacheConfig) -> Self {
        Self {
            exchange,
            answers: Answers::new(&cache),
            cache,
            hasher: HolderHasher::default(),
        }
    }

    /// The credentials under which somebody presents itself as `auth_id`.
    ///
    /// # Errors
    /// [`ServiceError`] with 404 if there are none that may be used, 503 if the service cannot tell.
    pub async fn get(
        &self,
        tenant: &str,
        kind: CredentialsType,
        auth_id: &str,
    ) -> Result<Arc<Credentials>, ServiceError> {
        let key = Key {
            tenant: tenant.to_owned(),
            kind,
            auth_id: auth_id.to_owned(),
            certificate: None,
        };
        self.find(key).await
    }

    /// The credentials of who shows this certificate (DER); the service may register a device that it does not know yet.
    ///
    /// # Errors
    /// As [`CredentialsClient::get`].
    pub async fn get_or_provision(
        &self,
        tenant: &str,
        auth_id: &str,
        certificate: &[u8],
    ) -> Result<Arc<Credentials>, ServiceError> {
        let key = Key {
            tenant: tenant.to_owned(),
            kind: CredentialsType::X509Cert,
            auth_id: auth_id.to_owned(),
            certificate: Some(certificate.to_vec()),
        };
        self.find(key).await
    }

    /// Gives up the links of a tenant whose devices have been silent for long; they are opened again when needed.
    pub fn close_tenant(&self, tenant: &str) {
        self.exchange.close(tenant);
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
        self.answers.forget(|key, credentials| {
            let device = credentials.map(|credentials| credentials.device_id.as_str());
            is_outdated(subject, &key.tenant, device)
        });
    }

    /// Forgets every answer, as any of them may be out of date.
    pub(crate) fn forget_all(&self) {
        self.answers.forget(|_, _| true);
    }

    async fn find(&self, key: Key) -> Result<Arc<Credentials>, ServiceError> {
        let asked = key.clone();
        let ask = || async {
            let request = Request::new("get").with_json(&asked.json());
            match self.exchange.ask(Some(&asked.tenant), request).await {
                Ok(response) => {
                    let mut answer = response.read(Credentials::from_json, &self.cache);
                    answer.outcome = answer
                        .outcome
                        .map_err(|error| error.with_not_found_text(NO_SUCH_CREDENTIALS));
                    answer
                }
                Err(error) => Answer::not_kept(error),
            }
        };
        let holder = || self.hasher.holder(&asked.tenant, &());
        self.answers.find(key, holder, ask).await
    }
}

impl std::fmt::Debug for CredentialsClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CredentialsClient")
            .finish_non_exhaustive()
    }
}

/// The text of Hono's client.
const NO_SUCH_CREDENTIALS: &str = "no such credentials";

/// Whether a change may have made the answer for a tenant, credentials of this device, out of date (spec: registry-apis B).
pub(crate) fn is_outdated(subject: &Subject, tenant: &str, device: Option<&str>) -> bool {
    match subject {
        Subject::Device {
            change,
            tenant_id,
            device_id,
            enabled,
        } => {
            let concerned = tenant == tenant_id && device == Some(device_id);
            concerned && Notification::ends(*change, *enabled)
        }
        Subject::Credentials {
            tenant_id,
            device_id,
        } => tenant == tenant_id && device == Some(device_id),
        Subject::AllDevicesOfTenantDeleted { tenant_id } => tenant == tenant_id,
        Subject::Tenant { .. } => false,
    }
}

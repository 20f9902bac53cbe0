//! Where a handshake learns who the device is: keys and certificates, as tenant and credentials services know them.
//!
//! Whatever is wrong with an identity or a key, the peer learns nothing; a certificate is refused without a reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use dtls_server::{Confirmation, KeyStore, Psk};
use fair_share::HolderHasher;
use regex::Regex;
use registry_client::{CredentialsClient, CredentialsType, TenantClient};
use tracing::Instrument;

use super::certificate::Shown;
use super::patience::patiently;
use super::{Claim, Principal, Refusal, Revocation, certificate, psk, raw_key};
use crate::ADAPTER;
use crate::tenant::budget::Budgets;
use observability::reason::Reason;
use observability::spans::trace_span;

/// Looks devices up at the registry.
#[derive(Debug)]
pub struct DeviceStore {
    tenants: Arc<TenantClient>,
    credentials: Arc<CredentialsClient>,
    split: Regex,
    budgets: Arc<Budgets>,
    revocation: Revocation,
    hasher: HolderHasher,
    accept_v1: bool,
}

impl DeviceStore {
    /// `split` parts a PSK identity into auth-id and tenant at its first match (`idSplitRegex`).
    /// `accept_v1`: whether certificates may be of X.509 version 1 or 2.
    #[must_use]
    pub fn new(
        tenants: Arc<TenantClient>,
        credentials: Arc<CredentialsClient>,
        split: Regex,
        budgets: Arc<Budgets>,
        revocation: Revocation,
        accept_v1: bool,
    ) -> Self {
        Self {
            tenants,
            credentials,
            split,
            budgets,
            revocation,
            hasher: HolderHasher::default(),
            accept_v1,
        }
    }

    /// Refused if the device or its tenant has made all handshakes that it may in a minute.
    fn within_budget(&self, principal: &Principal) -> Result<(), Refusal> {
        let allowed = self
            .budgets
            .may_shake_hands(Instant::now(), principal.into());
        allowed
            .map_err(|exhausted| Claim::from(principal).refused_as(Reason::OverBudget, exhausted))
    }

    /// Whom a PSK identity claims to be, before anybody is asked.
    #[must_use]
    pub fn claimed(&self, identity: &[u8]) -> Claim {
        psk::claimed(&self.split, identity)
    }
}

impl KeyStore for DeviceStore {
    type Principal = Principal;
    type Refusal = Refusal;

    async fn key(&self, peer: SocketAddr, identity: Vec<u8>) -> Result<(Psk, Principal), Refusal> {
        let (tenants, credentials) = (&self.tenants, &self.credentials);
        let found = patiently(|| {
            psk::key(
                tenants,
                credentials,
                &self.split,
                self.hasher.source(peer.ip()),
                &identity,
            )
        });
        let span = trace_span!("look up pre-shared key", component = ADAPTER);
        let (key, principal) = Box::pin(found).instrument(span).await?;
        self.within_budget(&principal)?;
        Ok((key, principal))
    }

    /// A tenant whose look-ups take long does not delay those of other tenants from the same address.
    fn lookup_class(&self, identity: &[u8]) -> u64 {
        let tenant = self.claimed(identity).tenant;
        self.hasher.holder(&tenant, &()).group()
    }

    async fn verdict(
        &self,
        peer: SocketAddr,
        chain: Vec<Vec<u8>>,
        server_name: Option<String>,
    ) -> Result<Principal, Refusal> {
        let judged = patiently(|| {
            certificate::principal(
                &self.tenants,
                &self.credentials,
                &self.revocation,
                Shown {
                    source: self.hasher.source(peer.ip()),
                    chain: &chain,
                    server_name: server_name.as_deref(),
                    accept_v1: self.accept_v1,
                },
            )
        });
        let span = trace_span!("validate client certificate", component = ADAPTER);
        let principal = Box::pin(judged).instrument(span).await?;
        self.within_budget(&principal)?;
        Ok(principal)
    }

    async fn raw_key(
        &self,
        peer: SocketAddr,
        public_key: Vec<u8>,
        server_name: Option<String>,
    ) -> Result<Principal, Refusal> {
        let judged = patiently(|| {
            raw_key::principal(
                &self.tenants,
                &self.credentials,
                self.hasher.source(peer.ip()),
                &public_key,
                server_name.as_deref(),
            )
        });
        let principal = Box::pin(judged).await?;
        self.within_budget(&principal)?;
        Ok(principal)
    }

    fn tenant(principal: &Principal) -> &str {
        &principal.tenant
    }

    /// The credentials must be there, enabled, and of the same device; a key must be valid. That device and tenant are enabled is asked
    /// with each request anyway.
    async fn confirm(&self, principal: Principal) -> Confirmation {
        let Principal {
            tenant,
            device,
            auth_id,
            credentials: kind,
        } = principal;
        match self.credentials.get(&tenant, kind, &auth_id).await {
            Ok(found) => {
                let has_secret =
                    kind != CredentialsType::Psk || found.psk(SystemTime::now()).is_some();
                if found.enabled && found.device_id == *device && has_secret {
                    Confirmation::Unchanged
                } else {
                    Confirmation::Revoked
                }
            }
            Err(error) if error.status == 404 => Confirmation::Revoked,
            Err(_) => Confirmation::Unknown,
        }
    }
}

//! Where a handshake learns who the device is: keys and certificates, as tenant and credentials services know them.
//!
//! Whatever is wrong with an identity or a key, the peer learns nothing; a certificate is refused without a reason.

use std::sync::Arc;
use std::time::Instant;

use dtls_server::{KeyStore, Psk};
use regex::Regex;
use registry_client::{CredentialsClient, TenantClient};

use super::{Principal, certificate, psk};
use crate::tenant::budget::Budgets;

/// Looks devices up at the registry.
#[derive(Debug)]
pub struct DeviceStore {
    tenants: Arc<TenantClient>,
    credentials: Arc<CredentialsClient>,
    split: Regex,
    budgets: Arc<Budgets>,
}

impl DeviceStore {
    /// `split` parts a PSK identity into auth-id and tenant at its first match (`idSplitRegex`).
    #[must_use]
    pub const fn new(
        tenants: Arc<TenantClient>,
        credentials: Arc<CredentialsClient>,
        split: Regex,
        budgets: Arc<Budgets>,
    ) -> Self {
        Self {
            tenants,
            credentials,
            split,
            budgets,
        }
    }

    /// None if the device or its tenant has made all handshakes that it may in a minute.
    fn within_budget<T>(&self, found: T, principal: &Principal) -> Option<T> {
        match self.budgets.may_shake_hands(Instant::now(), principal) {
            Ok(()) => Some(found),
            Err(exhausted) => {
                tracing::debug!(?principal, %exhausted, "a handshake is refused");
                None
            }
        }
    }
}

impl KeyStore for DeviceStore {
    type Principal = Principal;

    async fn key(&self, identity: Vec<u8>) -> Option<(Psk, Principal)> {
        match Box::pin(psk::key(&self.credentials, &self.split, &identity)).await {
            Ok((key, principal)) => {
                let whose = principal.clone();
                self.within_budget((key, principal), &whose)
            }
            Err(reason) => {
                let identity = String::from_utf8_lossy(&identity);
                tracing::debug!(%identity, %reason, "no key for a PSK identity");
                None
            }
        }
    }

    async fn verdict(&self, chain: Vec<Vec<u8>>, server_name: Option<String>) -> Option<Principal> {
        let judged = certificate::principal(
            &self.tenants,
            &self.credentials,
            &chain,
            server_name.as_deref(),
        );
        match Box::pin(judged).await {
            Ok(principal) => {
                let whose = principal.clone();
                self.within_budget(principal, &whose)
            }
            Err(reason) => {
                tracing::debug!(server_name, %reason, "a client certificate is refused");
                None
            }
        }
    }
}

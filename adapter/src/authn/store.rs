//! Where a handshake learns who the device is: keys and certificates, as tenant and credentials services know them.
//!
//! Whatever is wrong with an identity or a key, the peer learns nothing; a certificate is refused without a reason.

use std::sync::Arc;

use dtls_server::{KeyStore, Psk};
use regex::Regex;
use registry_client::{CredentialsClient, TenantClient};

use super::{Principal, certificate, psk};

/// Looks devices up at the registry.
#[derive(Debug)]
pub struct DeviceStore {
    tenants: Arc<TenantClient>,
    credentials: Arc<CredentialsClient>,
    split: Regex,
}

impl DeviceStore {
    /// `split` parts a PSK identity into auth-id and tenant at its first match (`idSplitRegex`).
    #[must_use]
    pub const fn new(
        tenants: Arc<TenantClient>,
        credentials: Arc<CredentialsClient>,
        split: Regex,
    ) -> Self {
        Self {
            tenants,
            credentials,
            split,
        }
    }
}

impl KeyStore for DeviceStore {
    type Principal = Principal;

    async fn key(&self, identity: Vec<u8>) -> Option<(Psk, Principal)> {
        match Box::pin(psk::key(&self.credentials, &self.split, &identity)).await {
            Ok(found) => Some(found),
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
            Ok(principal) => Some(principal),
            Err(reason) => {
                tracing::debug!(server_name, %reason, "a client certificate is refused");
                None
            }
        }
    }
}

//! The tenant object (spec: registry-apis A.3).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ResourceLimits, TrustAnchor};
use crate::members::{Malformed, Members, or_default};

/// Who owns devices, and what they may do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Tenant {
    /// The tenant's identifier; not always what was asked for, which may be an alias.
    pub id: String,
    /// Whether devices of the tenant may connect at all.
    pub enabled: bool,
    /// What is said about single adapters; `None` = all are enabled. Ask [`Tenant::is_adapter_enabled`].
    pub adapters: Option<Vec<AdapterEntry>>,
    /// Properties for messages that lack them.
    pub defaults: Map<String, Value>,
    /// The block size in bytes that payloads are rounded up to when they are counted; 0 = as they are.
    pub minimum_message_size: u32,
    /// How much may be sent, and how long it may live.
    pub resource_limits: ResourceLimits,
    /// Which requests are to be traced.
    pub tracing: Tracing,
    /// Who may sign the devices' certificates.
    pub trusted_ca: Vec<TrustAnchor>,
    /// What else the registry says.
    pub ext: Map<String, Value>,
}

impl Tenant {
    /// Reads a tenant as the Tenant API delivers it.
    ///
    /// # Errors
    /// [`Malformed`] if `tenant-id` is missing or a nested object does not have the form it should have.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let mut members = Members::parse(json)?;
        let trusted_ca: Vec<Value> = members.nested("trusted-ca")?;
        let size = members.integer("minimum-message-size");
        Ok(Self {
            id: members.required("tenant-id")?,
            enabled: members.flag("enabled").unwrap_or(true),
            adapters: adapters(&mut members)?,
            defaults: members.nested("defaults")?,
            minimum_message_size: size.and_then(|size| size.try_into().ok()).unwrap_or(0),
            resource_limits: members.nested("resource-limits")?,
            tracing: members.nested("tracing")?,
            trusted_ca: trusted_ca
                .into_iter()
                .filter_map(TrustAnchor::from_value)
                .collect(),
            ext: members.nested("ext")?,
        })
    }

    /// What is said about the adapters of a type such as `hono-coap`.
    #[must_use]
    pub fn adapter(&self, kind: &str) -> Option<&AdapterEntry> {
        self.adapters
            .iter()
            .flatten()
            .find(|entry| entry.kind == kind)
    }

    /// Whether devices may use the adapters of this type, given that the tenant is enabled: if adapters are listed, those not
    /// listed are disabled (spec: coap-adapter §4).
    #[must_use]
    pub fn is_adapter_enabled(&self, kind: &str) -> bool {
        self.adapters.is_none() || self.adapter(kind).is_some_and(|entry| entry.enabled)
    }

    /// How the requests of this device or gateway are to be traced.
    #[must_use]
    pub fn sampling(&self, auth_id: Option<&str>) -> Sampling {
        let own = auth_id.and_then(|auth_id| self.tracing.sampling_per_auth_id.get(auth_id));
        own.copied().unwrap_or(self.tracing.sampling)
    }
}

/// What a tenant says about one type of adapter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AdapterEntry {
    /// The type, such as `hono-coap`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the tenant's devices may use it.
    #[serde(default, deserialize_with = "or_default")]
    pub enabled: bool,
    /// Settings of the adapter for this tenant, such as `max-ttd`.
    #[serde(default, deserialize_with = "or_default")]
    pub ext: Map<String, Value>,
}

impl AdapterEntry {
    /// A setting that is a whole number, if it is there and is one.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.ext.get(name)?.as_i64()
    }
}

/// Which requests a tenant wants traced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Tracing {
    /// What holds for all who are not named.
    #[serde(rename = "sampling-mode", deserialize_with = "or_default")]
    pub sampling: Sampling,
    /// What holds for single devices and gateways, by auth-id.
    #[serde(rename = "sampling-mode-per-auth-id", deserialize_with = "or_default")]
    pub sampling_per_auth_id: BTreeMap<String, Sampling>,
}

impl Tracing {
    /// What holds for a device or gateway; `auth_id` is none if it has not said who it is.
    #[must_use]
    pub fn sampling_of(&self, auth_id: Option<&str>) -> Sampling {
        let own = auth_id.and_then(|auth_id| self.sampling_per_auth_id.get(auth_id));
        own.copied().unwrap_or(self.sampling)
    }
}

/// Whether a request is traced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Sampling {
    /// As the tracing system decides.
    #[default]
    Default,
    /// Always.
    All,
    /// Never.
    None,
}

impl From<String> for Sampling {
    fn from(mode: String) -> Self {
        match mode.as_str() {
            "all" => Self::All,
            "none" => Self::None,
            _ => Self::Default,
        }
    }
}

fn adapters(members: &mut Members) -> Result<Option<Vec<AdapterEntry>>, Malformed> {
    let adapters: Option<Vec<AdapterEntry>> = members.nested("adapters")?;
    for (at, entry) in adapters.iter().flatten().enumerate() {
        let before = adapters.iter().flatten().take(at);
        if before.into_iter().any(|other| other.kind == entry.kind) {
            return Err(Malformed("adapters"));
        }
    }
    Ok(adapters)
}

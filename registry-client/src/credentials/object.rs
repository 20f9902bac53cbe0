//! The credentials object and the choice of the key that counts (spec: registry-apis A.5, coap-adapter §9).

use std::time::SystemTime;

use serde_json::Value;

use super::{CredentialsType, SecretKey};
use crate::{
    members::{Malformed, Members},
    timestamp,
};

/// What proves that somebody is a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// The device that the credentials belong to.
    pub device_id: String,
    /// The name under which the device presents itself.
    pub auth_id: String,
    /// The kind of proof.
    pub kind: CredentialsType,
    /// Whether the credentials may be used.
    pub enabled: bool,
    /// The secrets, in the registry's order.
    pub secrets: Vec<Secret>,
}

/// One of the secrets of credentials.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Secret {
    /// Whether the secret may be used.
    pub enabled: bool,
    /// The time after which it may be used.
    pub not_before: Option<SystemTime>,
    /// The time before which it may be used.
    pub not_after: Option<SystemTime>,
    /// The pre-shared key; only for credentials of that kind.
    pub key: Option<SecretKey>,
}

impl Credentials {
    /// Reads credentials as the Credentials API delivers them.
    ///
    /// # Errors
    /// [`Malformed`] if one of `device-id`, `type`, `auth-id` is missing, or `secrets` is not a non-empty array of objects.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let mut members = Members::parse(json)?;
        let kind = members.peek("type").and_then(CredentialsType::from_name);
        let kind = kind.ok_or(Malformed("type"))?;
        Ok(Self {
            device_id: members.required("device-id")?,
            auth_id: members.required("auth-id")?,
            kind,
            enabled: members.flag("enabled").unwrap_or(true),
            secrets: secrets(&mut members, kind)?,
        })
    }

    /// The pre-shared key that counts at `now`: that of the first secret that is enabled, valid, and has one. None if the
    /// credentials are disabled (which the registry ought to have filtered) or of another kind.
    #[must_use]
    pub fn psk(&self, now: SystemTime) -> Option<&SecretKey> {
        if !self.enabled || self.kind != CredentialsType::Psk {
            return None;
        }
        let mut usable = self.secrets.iter().filter(|secret| secret.is_usable(now));
        usable.find_map(|secret| secret.key.as_ref())
    }

    /// Whether one of the secrets that count at `now` is this raw public key (`SubjectPublicKeyInfo` in DER).
    #[must_use]
    pub fn has_raw_key(&self, public_key: &[u8], now: SystemTime) -> bool {
        let mut usable = self.secrets.iter().filter(|secret| secret.is_usable(now));
        self.enabled
            && self.kind == CredentialsType::Rpk
            && usable.any(|secret| {
                let key = secret.key.as_ref();
                key.is_some_and(|key| key.expose() == public_key)
            })
    }
}

impl Secret {
    /// Whether the secret is enabled, and `now` strictly between the bounds of its validity.
    #[must_use]
    pub fn is_usable(&self, now: SystemTime) -> bool {
        self.enabled
            && self.not_before.is_none_or(|bound| now > bound)
            && self.not_after.is_none_or(|bound| now < bound)
    }

    fn from_value(value: Value, kind: CredentialsType) -> Option<Self> {
        let members = Members::of(value)?;
        let time = |name| members.peek(name).and_then(timestamp::parse);
        let has_key = matches!(kind, CredentialsType::Psk | CredentialsType::Rpk);
        let key = members.peek("key").filter(|_| has_key);
        Some(Self {
            enabled: members.flag("enabled").unwrap_or(true),
            not_before: time("not-before"),
            not_after: time("not-after"),
            key: key.and_then(SecretKey::from_base64),
        })
    }
}

fn secrets(members: &mut Members, kind: CredentialsType) -> Result<Vec<Secret>, Malformed> {
    let values: Vec<Value> = members.nested("secrets")?;
    let count = values.len();
    let secrets: Vec<Secret> = values
        .into_iter()
        .filter_map(|value| Secret::from_value(value, kind))
        .collect();
    if secrets.is_empty() || secrets.len() < count {
        return Err(Malformed("secrets"));
    }
    Ok(secrets)
}

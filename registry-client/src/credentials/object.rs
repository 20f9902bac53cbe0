//! The credentials object and the choice of the key that counts (spec: registry-apis A.5, coap-adapter §9).

use std::{borrow::Cow, time::SystemTime};

use zeroize::Zeroize;

use super::{
    CredentialsType, SecretKey,
    json::{Json, Object, without_escaped_slashes},
};
use crate::{members::Malformed, timestamp};

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
        let mut json = without_escaped_slashes(json);
        let credentials = Self::read(&json);
        if let Cow::Owned(copy) = &mut json {
            copy.zeroize();
        }
        credentials
    }

    fn read(json: &[u8]) -> Result<Self, Malformed> {
        let members = Object::parse(json).ok_or(Malformed("the object"))?;
        let kind = members.text("type").and_then(CredentialsType::from_name);
        let kind = kind.ok_or(Malformed("type"))?;
        let required = |name: &'static str| {
            let text = members.text(name).map(str::to_owned);
            text.ok_or(Malformed(name))
        };
        Ok(Self {
            device_id: required("device-id")?,
            auth_id: required("auth-id")?,
            kind,
            enabled: members.flag("enabled").unwrap_or(true),
            secrets: secrets(&members, kind)?,
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

    fn from_json(json: &Json<'_>, kind: CredentialsType) -> Option<Self> {
        let Json::Object(members) = json else {
            return None;
        };
        let time = |name| members.text(name).and_then(timestamp::parse);
        let has_key = matches!(kind, CredentialsType::Psk | CredentialsType::Rpk);
        let key = members.text("key").filter(|_| has_key);
        Some(Self {
            enabled: members.flag("enabled").unwrap_or(true),
            not_before: time("not-before"),
            not_after: time("not-after"),
            key: key.and_then(SecretKey::from_base64),
        })
    }
}

fn secrets(members: &Object<'_>, kind: CredentialsType) -> Result<Vec<Secret>, Malformed> {
    let malformed = Malformed("secrets");
    let Some(Json::Array(values)) = members.get("secrets") else {
        return Err(malformed);
    };
    let secrets = values.iter().map(|value| Secret::from_json(value, kind));
    let secrets: Vec<Secret> = secrets.collect::<Option<_>>().ok_or(malformed)?;
    if secrets.is_empty() {
        return Err(malformed);
    }
    Ok(secrets)
}

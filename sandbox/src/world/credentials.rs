//! What devices prove themselves with (spec: registry-apis A.5): keys, certificates, passwords.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

/// Credentials of one type, and the name they are found under.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Credentials {
    /// `psk`, `x509-cert`, `hashed-password`, `rpk` or another word.
    pub kind: String,
    /// The part of a PSK identity before `@`, the subject of a certificate, a user name.
    pub auth_id: String,
    /// Disabled credentials are answered like none.
    pub disabled: bool,
    /// What a client has to say of itself to get them, and anything else.
    pub ext: Map<String, Value>,
    /// Words for people.
    pub comment: Option<String>,
    /// Each of them proves as much as the others.
    pub secrets: Vec<Secret>,
}

impl Credentials {
    /// A pre-shared key.
    #[must_use]
    pub fn psk(auth_id: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        let key = json!(BASE64_STANDARD.encode(key.into()));
        let mut secret = Secret::new("1");
        secret.confidential.insert("key".to_owned(), key);
        Self::with_secrets("psk".to_owned(), auth_id.into(), vec![secret])
    }

    /// A client certificate with this subject (RFC 2253).
    #[must_use]
    pub fn certificate(subject_dn: impl Into<String>) -> Self {
        let kind = "x509-cert".to_owned();
        Self::with_secrets(kind, subject_dn.into(), vec![Secret::new("1")])
    }

    pub(crate) fn with_secrets(kind: String, auth_id: String, secrets: Vec<Secret>) -> Self {
        Self {
            kind,
            auth_id,
            disabled: false,
            ext: Map::new(),
            comment: None,
            secrets,
        }
    }

    /// The first enabled pre-shared key.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        let enabled = self
            .secrets
            .iter()
            .find(|secret| secret.members.get("enabled") != Some(&json!(false)))?;
        let key = enabled.confidential.get("key")?.as_str()?;
        BASE64_STANDARD.decode(key).ok().map(Key)
    }

    /// All there is, secrets included: only for the adapter.
    pub(crate) fn to_registry_json(&self, device: &str) -> Value {
        let secrets = self.secrets.iter().map(|secret| {
            let mut all = secret.members.clone();
            all.extend(secret.confidential.clone());
            Value::Object(all)
        });
        let mut reported = json!({
            "device-id": device,
            "type": self.kind,
            "auth-id": self.auth_id,
            "enabled": !self.disabled,
            "secrets": secrets.collect::<Vec<_>>(),
        });
        if !self.ext.is_empty() {
            reported["ext"] = Value::Object(self.ext.clone());
        }
        reported
    }
}

/// One secret of some credentials. `Debug` does not tell what must not be known.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Secret {
    /// The public members: `id`, `enabled`, `not-before`, `not-after`, `comment`.
    pub members: Map<String, Value>,
    /// What only the adapter may know, such as `key`.
    pub(crate) confidential: Map<String, Value>,
}

impl Secret {
    /// A secret that holds nothing yet.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self {
            members: Map::from_iter([("id".to_owned(), json!(id.into()))]),
            confidential: Map::new(),
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.members.get("id")?.as_str()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Secret")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// A secret key; `Debug` does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

//! How JSON objects of the registry are read (spec: registry-apis A.3): unknown members are ignored, a scalar of the wrong JSON
//! type counts as absent, a nested object or array of the wrong form makes the whole object unusable.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

/// Which member makes an object of the registry unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub(crate) &'static str);

/// The members of an object. None is secret: credentials are read otherwise.
pub(crate) struct Members(Map<String, Value>);

impl Members {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|_| Malformed("the object"))
    }

    pub(crate) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.0.get_mut(name) {
            Some(Value::String(text)) => Some(std::mem::take(text)),
            _ => None,
        }
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<String, Malformed> {
        self.text(name).ok_or(Malformed(name))
    }

    /// A text that is looked at where it is, so that no copy outlives these members.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    /// A nested object or array, which must have the form of `T`; null counts as absent.
    pub(crate) fn nested<T: DeserializeOwned + Default>(
        &mut self,
        name: &'static str,
    ) -> Result<T, Malformed> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => serde_json::from_value(value).map_err(|_| Malformed(name)),
        }
    }
}

/// For members of nested objects: null counts as absent there too.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

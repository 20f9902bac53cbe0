//! The table of settings: one row tells name, kind, default and meaning, and makes a field of it.
//!
//! Reading, the page of settings and `check-config` all go by these rows.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use regex::Regex;

use super::{Kind, Secret, bind::BindAddress, kind::Value};

/// One setting, or one suffix of several: all AMQP clients share their rows.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Setting {
    /// The last part of its name, in Hono's spelling.
    pub key: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it holds if nobody writes it; none if it then has no value.
    pub default: Option<&'static str>,
    /// What it decides.
    pub doc: &'static str,
}

/// Declares a struct of settings together with its table, from rows `field: type = kind, "key", default;`.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:expr, $key:literal, $default:expr; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $visibility struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl $name {
            /// Its rows, in the order of its fields.
            pub(super) const TABLE: &'static [$crate::config::Setting] = &[
                $( $crate::config::Setting {
                    key: $key,
                    kind: $kind,
                    default: $default,
                    doc: concat!($($doc),+),
                } ),*
            ];

            /// Takes what was chosen for each of its rows.
            pub(super) fn take(chosen: &$crate::config::chosen::Chosen, prefix: &str) -> Self {
                let mut rows = Self::TABLE.iter();
                Self { $( $field: chosen.take(prefix, rows.next()) ),* }
            }
        }
    };
}
pub(super) use settings;

/// The type of a field, made from the value of its row; none if the two do not fit.
pub(super) trait FromValue: Sized {
    fn from_value(value: Option<&Value>) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $result:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: Option<&Value>) -> Option<Self> {
                match value? {
                    $pattern => $result,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    bool: Value::Flag(flag) => Some(*flag);
    i64: Value::Number(number) => Some(*number);
    u32: Value::Number(number) => Self::try_from(*number).ok();
    u16: Value::Number(number) => Self::try_from(*number).ok();
    usize: Value::Number(number) => Self::try_from(*number).ok();
    Duration: Value::Duration(duration) => Some(*duration);
    String: Value::Text(text) => Some(text.clone());
    Secret: Value::Secret(secret) => Some(secret.clone());
    PathBuf: Value::Path(path) => Some(path.clone());
    Regex: Value::Regex(regex) => Some(regex.clone());
    IpAddr: Value::Address(address) => Some(*address);
    Vec<BindAddress>: Value::Addresses(addresses) => Some(addresses.clone());
    Vec<String>: Value::List(items) => Some(items.clone());
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Option<&Value>) -> Option<Self> {
        match value {
            None => Some(None),
            written => T::from_value(written).map(Some),
        }
    }
}

/// Prefix of the settings of the CoAP ports.
pub(super) const COAP: &str = "hono.coap";

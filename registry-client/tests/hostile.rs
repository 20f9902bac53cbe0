//! Whatever a service sends as an object is an object or an error, never a panic.

use std::{hint::black_box, time::SystemTime};

use arbtest::{
    arbitrary::{Result, Unstructured},
    arbtest,
};
use registry_client::{Assertion, Credentials, Tenant, notifications::Notification};
use serde_json::{Map, Value};

fn read_all(json: &[u8]) {
    if let Ok(tenant) = Tenant::from_json(json) {
        black_box(tenant.is_adapter_enabled("hono-coap"));
        black_box(tenant.sampling(Some("a")));
    }
    if let Ok(credentials) = Credentials::from_json(json) {
        black_box(credentials.psk(SystemTime::UNIX_EPOCH));
    }
    black_box(Assertion::from_json(json).is_ok());
    black_box(Notification::from_json(json).is_ok());
}

#[test]
fn any_bytes() {
    arbtest(|u| {
        read_all(u.bytes(u.len())?);
        Ok(())
    });
}

#[test]
fn any_object_with_members_of_any_kind() {
    arbtest(|u| {
        read_all(object(u, 3)?.to_string().as_bytes());
        Ok(())
    });
}

/// What would make a reader run out of stack.
#[test]
fn deeply_nested_arrays() {
    let mut json = br#"{"tenant-id":"T","x":"#.to_vec();
    json.extend(std::iter::repeat_n(b'[', 1_000_000));
    read_all(&json);
}

fn object(u: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    let mut members = Map::new();
    for _ in 0..u.int_in_range(0..=12)? {
        let name = (*u.choose(&NAMES)?).to_owned();
        members.insert(name, value(u, depth)?);
    }
    Ok(Value::Object(members))
}

fn value(u: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => Value::from(u.arbitrary::<i64>()?),
        3 => Value::from(u.arbitrary::<f64>()?),
        4 => Value::from(u.arbitrary::<String>()?),
        5 | 6 => Value::from(*u.choose(&TEXTS)?),
        7 if depth > 0 => {
            let items = (0..u.int_in_range(0..=3)?).map(|_| value(u, depth - 1));
            Value::Array(items.collect::<Result<_>>()?)
        }
        8 | 9 if depth > 0 => object(u, depth - 1)?,
        _ => Value::from(-1),
    })
}

const NAMES: [&str; 32] = [
    "tenant-id",
    "enabled",
    "adapters",
    "defaults",
    "minimum-message-size",
    "resource-limits",
    "tracing",
    "trusted-ca",
    "ext",
    "type",
    "data-volume",
    "connection-duration",
    "max-ttl",
    "effective-since",
    "max-bytes",
    "period",
    "mode",
    "no-of-days",
    "sampling-mode",
    "subject-dn",
    "subject-dn-bytes",
    "public-key",
    "device-id",
    "via",
    "auth-id",
    "secrets",
    "key",
    "not-before",
    "not-after",
    "source",
    "creation-time",
    "change",
];

const TEXTS: [&str; 10] = [
    "psk",
    "hono-coap",
    "days",
    "all",
    "2025-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "0000-01-01T00:00:00+23:59",
    "aG9ubw==",
    "device-change-v1",
    "UPDATE",
];

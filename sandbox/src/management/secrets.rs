//! Secrets of credentials: what a client may say of them, and what is kept of one that it only names (spec: registry-apis part C).

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{failure::Failure, request::moment, subject::rfc2253};
use crate::world::Secret;

/// Reads one secret. One with an `id` keeps the confidential members of its predecessor, unless it
/// has
/// new ones.
pub(super) fn read(kind: &str, secret: Value, before: &[Secret]) -> Result<Secret, Failure> {
    let Value::Object(mut members) = secret else {
        return Err(wrong("secrets"));
    };
    let known = match members.remove("id") {
        None => None,
        Some(Value::String(id)) => {
            let known = before.iter().find(|known| known.id() == Some(&id));
            Some(known.ok_or_else(|| Failure::bad_request("unknown secret id"))?)
        }
        Some(_) => return Err(wrong("id")),
    };
    let mut secret = known.map_or_else(
        || Secret::new(uuid::Uuid::new_v4().to_string()),
        |known| Secret::new(known.id().unwrap_or_default()),
    );
    secret.confidential = confidential(kind, &mut members)?;
    if secret.confidential.is_empty()
        && let Some(known) = known
    {
        secret.confidential.clone_from(&known.confidential);
    }
    if needs_confidential(kind) && secret.confidential.is_empty() {
        return Err(Failure::bad_request("a new secret brings nothing secret"));
    }
    if kind == CERTIFICATE {
        read_validity(&mut members)?;
    }
    for (name, value) in members {
        if !is_member(kind, &name, &value) {
            return Err(wrong(&name));
        }
        secret.members.insert(name, value);
    }
    check_validity(&secret.members)?;
    Ok(secret)
}

/// The subject of the certificate that comes with credentials of that type.
pub(super) fn subject(kind: &str, secrets: &[Value]) -> Result<Option<String>, Failure> {
    match secrets.first().and_then(|secret| secret.get("cert")) {
        Some(certificate) if kind == CERTIFICATE => {
            let der = der(certificate)?;
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| wrong("cert"))?;
            Ok(Some(rfc2253(certificate.subject())))
        }
        _ => Ok(None),
    }
}

fn read_validity(members: &mut Map<String, Value>) -> Result<(), Failure> {
    let Some(certificate) = members.remove("cert") else {
        return Ok(());
    };
    let der = der(&certificate)?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| wrong("cert"))?;
    let validity = certificate.validity();
    for (name, time) in [
        ("not-before", validity.not_before),
        ("not-after", validity.not_after),
    ] {
        members.insert(name.to_owned(), moment(time.to_datetime()));
    }
    Ok(())
}

fn der(certificate: &Value) -> Result<Vec<u8>, Failure> {
    certificate
        .as_str()
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .ok_or_else(|| wrong("cert"))
}

/// Removes the confidential members.
fn confidential(
    kind: &str,
    members: &mut Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let mut taken = Map::new();
    let names: &[&str] = match kind {
        "psk" => &["key"],
        "hashed-password" => &["pwd-hash", "salt", "hash-function"],
        _ => &[],
    };
    for name in names {
        match members.remove(*name) {
            None => {}
            Some(Value::String(text)) if !text.is_empty() => {
                let is_text = *name == "hash-function" || *name == "pwd-hash";
                if !is_text && BASE64_STANDARD.decode(&text).is_err() {
                    return Err(wrong(name));
                }
                taken.insert((*name).to_owned(), Value::String(text));
            }
            Some(_) => return Err(wrong(name)),
        }
    }
    if kind == "hashed-password" {
        match members.remove("pwd-plain") {
            Some(Value::String(password)) => taken = hashed(&password),
            Some(_) => return Err(wrong("pwd-plain")),
            None if taken.is_empty() || taken.contains_key("pwd-hash") => {}
            None => return Err(wrong("pwd-hash")),
        }
    }
    Ok(taken)
}

fn hashed(password: &str) -> Map<String, Value> {
    let salt = uuid::Uuid::new_v4().into_bytes();
    let mut hash = Context::new(&SHA256);
    hash.update(&salt);
    hash.update(password.as_bytes());
    let hash = hash.finish();
    Map::from_iter([
        ("hash-function".to_owned(), json!("sha-256")),
        ("salt".to_owned(), json!(BASE64_STANDARD.encode(salt))),
        ("pwd-hash".to_owned(), json!(BASE64_STANDARD.encode(hash))),
    ])
}

fn needs_confidential(kind: &str) -> bool {
    matches!(kind, "psk" | "hashed-password")
}

fn is_member(kind: &str, name: &str, value: &Value) -> bool {
    match name {
        "enabled" => value.is_boolean(),
        "comment" => value.is_string(),
        "not-before" | "not-after" => value.is_string(),
        "key" | "algorithm" => kind == "rpk" && value.is_string(),
        _ => false,
    }
}

fn check_validity(members: &Map<String, Value>) -> Result<(), Failure> {
    let time = |name: &str| match members.get(name).and_then(Value::as_str) {
        None => Ok(None),
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map(Some)
            .map_err(|_| wrong(name)),
    };
    match (time("not-before")?, time("not-after")?) {
        (Some(start), Some(end)) if end <= start => Err(wrong("not-after")),
        _ => Ok(()),
    }
}

fn wrong(name: &str) -> Failure {
    Failure::bad_request(format!("invalid value of [{name}]"))
}

/// The type of credentials that a certificate proves.
pub(super) const CERTIFICATE: &str = "x509-cert";

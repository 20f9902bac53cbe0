//! `/v1/credentials`.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    attempt, devices,
    failure::Failure,
    request::{Sent, check_version, found, updated, version},
    secrets,
};
use crate::world::{Change, Credentials, Device, SharedWorld, World};

pub(super) async fn read(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    world.look(|world| {
        let device = devices::find(world, &tenant, &id)?;
        Ok(found(&reported(device), version_of(device)))
    })
}

pub(super) async fn update(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Failure> {
    let Value::Array(items) = sent.json()? else {
        return Err(Failure::bad_request("credentials are no array"));
    };
    attempt(&world, |world| {
        let device = devices::find(world, &tenant, &id)?;
        check_version(&headers, &version_of(device))?;
        let credentials = items
            .into_iter()
            .map(|item| read_item(item, &device.credentials))
            .collect::<Result<Vec<_>, _>>()?;
        check(world, &tenant, &id, &credentials)?;
        let device = devices::find_mut(world, &tenant, &id)?;
        device.credentials = credentials;
        device.credentials_record = device.credentials_record.next();
        let change = Change::of_credentials(&tenant, &id);
        Ok((updated(version_of(device)), vec![change]))
    })
}

/// One set of credentials, given what the device has now.
fn read_item(item: Value, known: &[Credentials]) -> Result<Credentials, Failure> {
    let Value::Object(mut members) = item else {
        return Err(Failure::bad_request("credentials are no object"));
    };
    let kind = take_text(&mut members, "type")?;
    let secrets = match members.remove("secrets") {
        Some(Value::Array(secrets)) if !secrets.is_empty() => secrets,
        _ => return Err(wrong("secrets")),
    };
    if kind == secrets::CERTIFICATE && secrets.len() != 1 {
        return Err(wrong("secrets"));
    }
    // A certificate brings its own name.
    let subject = secrets::subject(&kind, &secrets)?;
    let auth_id = match subject {
        Some(subject) => {
            members.remove("auth-id");
            subject
        }
        None => take_text(&mut members, "auth-id")?,
    };
    if kind != secrets::CERTIFICATE && !auth_id.chars().all(is_auth_id_letter) {
        return Err(wrong("auth-id"));
    }
    let before = known
        .iter()
        .find(|known| known.kind == kind && known.auth_id == auth_id)
        .map_or(&[][..], |known| &known.secrets);
    let secrets = secrets
        .into_iter()
        .map(|secret| secrets::read(&kind, secret, before))
        .collect::<Result<Vec<_>, _>>()?;
    let mut credentials = Credentials::with_secrets(kind, auth_id, secrets);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("enabled", Value::Bool(enabled)) => credentials.disabled = !enabled,
            ("ext", Value::Object(ext)) => credentials.ext = ext,
            ("comment", Value::String(comment)) => credentials.comment = Some(comment),
            _ => return Err(wrong(&name)),
        }
    }
    Ok(credentials)
}

/// No two have the same type and name, in the request or at the tenant, and there are not too many.
fn check(
    world: &World,
    tenant: &str,
    id: &str,
    credentials: &[Credentials],
) -> Result<(), Failure> {
    let known = world.tenants.get(tenant).ok_or_else(Failure::no_tenant)?;
    let limit = devices::limit(known, "max-credentials-per-device");
    if limit.is_some_and(|limit| credentials.len() as u64 > limit) {
        return Err(Failure::forbidden(
            "the device may have no more credentials",
        ));
    }
    let mut names = BTreeSet::new();
    for one in credentials {
        if !names.insert((&one.kind, &one.auth_id)) {
            let text = "credentials of the same type and auth-id twice";
            return Err(Failure::bad_request(text));
        }
    }
    let taken = known
        .devices
        .iter()
        .filter(|(other, _)| *other != id)
        .flat_map(|(_, device)| &device.credentials)
        .any(|other| names.contains(&(&other.kind, &other.auth_id)));
    if taken {
        let text = "credentials of this type and auth-id exist already";
        return Err(Failure::conflict(text));
    }
    Ok(())
}

fn version_of(device: &Device) -> String {
    version(&device.credentials_record, &reported(device))
}

/// All but what must not be known.
fn reported(device: &Device) -> Value {
    let all = device.credentials.iter().map(|credentials| {
        let secrets: Vec<Value> = credentials
            .secrets
            .iter()
            .map(|secret| Value::Object(secret.members.clone()))
            .collect();
        let mut reported = json!({
            "type": credentials.kind,
            "auth-id": credentials.auth_id,
            "enabled": !credentials.disabled,
            "secrets": secrets,
        });
        if !credentials.ext.is_empty() {
            reported["ext"] = json!(credentials.ext);
        }
        if let Some(comment) = &credentials.comment {
            reported["comment"] = json!(comment);
        }
        reported
    });
    Value::Array(all.collect())
}

fn take_text(members: &mut Map<String, Value>, name: &str) -> Result<String, Failure> {
    match members.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(wrong(name)),
    }
}

fn is_auth_id_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_=.".contains(letter)
}

fn wrong(name: &str) -> Failure {
    Failure::bad_request(format!("invalid value of [{name}]"))
}

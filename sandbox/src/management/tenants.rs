//! `/v1/tenants`.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::{
    attempt,
    failure::Failure,
    request::{Id, Sent, check_version, created, found, listed, updated, version},
    search::Search,
    trust,
};
use crate::world::{Change, Kind, Record, SharedWorld, Tenant, World, removed_tenant};

pub(super) async fn create(
    State(world): State<SharedWorld>,
    sent: Sent,
) -> Result<Response, Failure> {
    insert(&world, uuid::Uuid::new_v4().to_string(), &sent)
}

pub(super) async fn create_named(
    State(world): State<SharedWorld>,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Failure> {
    insert(&world, id, &sent)
}

fn insert(world: &SharedWorld, id: String, sent: &Sent) -> Result<Response, Failure> {
    Id::Tenant.check(&id)?;
    let members = checked(sent.object_or_none()?)?;
    attempt(world, |world| {
        let taken = world
            .tenants
            .values()
            .any(|tenant| alias(&tenant.members) == Some(&id));
        if taken || world.tenants.contains_key(&id) {
            return Err(Failure::conflict("tenant already exists"));
        }
        check_unique(world, &id, &members)?;
        let tenant = Tenant {
            members,
            record: Record::new(),
            ..Tenant::default()
        };
        let change = Change::of_tenant(Kind::Create, &id, &tenant);
        let response = created(&format!("tenants/{id}"), &id, version_of(&tenant));
        world.tenants.insert(id, tenant);
        Ok((response, vec![change]))
    })
}

pub(super) async fn read(
    State(world): State<SharedWorld>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    world.look(|world| {
        let tenant = world.tenants.get(&id).ok_or_else(Failure::no_tenant)?;
        Ok(found(&reported(tenant), version_of(tenant)))
    })
}

pub(super) async fn update(
    State(world): State<SharedWorld>,
    Path(id): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Failure> {
    Id::Tenant.check(&id)?;
    let members = checked(sent.object()?)?;
    attempt(&world, |world| {
        let known = world.tenants.get(&id).ok_or_else(Failure::no_tenant)?;
        check_version(&headers, &version_of(known))?;
        check_unique(world, &id, &members)?;
        let tenant = world.tenants.get_mut(&id).ok_or_else(Failure::no_tenant)?;
        tenant.members = members;
        tenant.record = tenant.record.next();
        let change = Change::of_tenant(Kind::Update, &id, tenant);
        Ok((updated(version_of(tenant)), vec![change]))
    })
}

pub(super) async fn delete(
    State(world): State<SharedWorld>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    attempt(&world, |world| {
        let known = world.tenants.get(&id).ok_or_else(Failure::no_tenant)?;
        check_version(&headers, &version_of(known))?;
        let changes = removed_tenant(&id, known);
        world.tenants.remove(&id);
        Ok((StatusCode::NO_CONTENT.into_response(), changes))
    })
}

pub(super) async fn search(
    State(world): State<SharedWorld>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let search = Search::parse(&query.unwrap_or_default())?;
    world.look(|world| {
        let all = world.tenants.iter().map(|(id, tenant)| {
            let mut reported = reported(tenant);
            reported["id"] = Value::String(id.clone());
            reported
        });
        search.run(all).map(|found| listed(&found))
    })
}

fn reported(tenant: &Tenant) -> Value {
    Value::Object(tenant.members.clone())
}

fn version_of(tenant: &Tenant) -> String {
    version(&tenant.record, &reported(tenant))
}

fn alias(members: &Map<String, Value>) -> Option<&str> {
    members.get("alias")?.as_str()
}

/// The members of a tenant, if they are such.
fn checked(mut members: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    for (name, value) in &members {
        let fits = match name.as_str() {
            "enabled" => value.is_boolean(),
            "alias" => value.as_str().is_some_and(is_alias),
            "ext" | "defaults" | "registration-limits" | "resource-limits" | "tracing" => {
                value.is_object()
            }
            "adapters" => value.as_array().is_some_and(|all| are_adapters(all)),
            "minimum-message-size" => value.as_u64().is_some(),
            "trust-anchor-group" => value.is_string(),
            "trusted-ca" => value.is_array(),
            _ => return Err(Failure::bad_request(format!("unknown member [{name}]"))),
        };
        if !fits {
            return Err(Failure::bad_request(format!("invalid value of [{name}]")));
        }
    }
    if let Some(Value::Array(authorities)) = members.get_mut("trusted-ca") {
        trust::complete(authorities)?;
    }
    Ok(members)
}

fn is_alias(text: &str) -> bool {
    let fits =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    !text.is_empty() && text.chars().all(fits)
}

/// Not none, and of different types.
fn are_adapters(all: &[Value]) -> bool {
    let mut types = BTreeSet::new();
    let mut fits = |adapter: &Value| {
        let flag = |name: &str| adapter.get(name).is_none_or(Value::is_boolean);
        adapter
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| !kind.is_empty() && types.insert(kind.to_owned()))
            && flag("enabled")
            && flag("device-authentication-required")
            && adapter.get("ext").is_none_or(Value::is_object)
    };
    !all.is_empty() && all.iter().all(&mut fits)
}

/// Another tenant has neither this alias nor, outside the same group, one of these authorities.
fn check_unique(world: &World, id: &str, members: &Map<String, Value>) -> Result<(), Failure> {
    let wanted = alias(members);
    let names = trust::subjects(members);
    let group = members.get("trust-anchor-group");
    for (other_id, other) in world.tenants.iter().filter(|(other, _)| *other != id) {
        if wanted.is_some_and(|alias_| alias(&other.members) == Some(alias_) || other_id == alias_)
        {
            return Err(Failure::conflict("the alias is in use by another tenant"));
        }
        let same_group = group.is_some() && other.members.get("trust-anchor-group") == group;
        let shared = trust::subjects(&other.members)
            .iter()
            .any(|subject| names.contains(subject));
        if shared && !same_group {
            return Err(Failure::conflict(
                "a trusted CA is in use by another tenant",
            ));
        }
    }
    Ok(())
}

//! `/v1/devices`.

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{
    attempt,
    failure::Failure,
    request::{Id, Sent, check_version, created, found, listed, moment, updated, version},
    search::Search,
};
use crate::world::{Change, Device, Kind, Record, SharedWorld, Tenant, World};

pub(super) async fn create(
    State(world): State<SharedWorld>,
    Path(tenant): Path<String>,
    sent: Sent,
) -> Result<Response, Failure> {
    insert(&world, &tenant, uuid::Uuid::new_v4().to_string(), &sent)
}

pub(super) async fn create_named(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Failure> {
    insert(&world, &tenant, id, &sent)
}

fn insert(world: &SharedWorld, tenant: &str, id: String, sent: &Sent) -> Result<Response, Failure> {
    Id::Device.check(&id)?;
    let device = Device {
        record: Record::new(),
        credentials_record: Record::new(),
        ..read_members(sent.object_or_none()?)?
    };
    attempt(world, |world| {
        let known = known_tenant(world, tenant)?;
        if known.devices.contains_key(&id) {
            return Err(Failure::conflict("device already exists"));
        }
        let limit = limit(known, "max-devices");
        if limit.is_some_and(|limit| known.devices.len() as u64 >= limit) {
            return Err(Failure::forbidden("the tenant may have no more devices"));
        }
        let change = Change::of_device(Kind::Create, tenant, &id, &device);
        let location = format!("devices/{tenant}/{id}");
        let response = created(&location, &id, version_of(&device));
        known.devices.insert(id, device);
        Ok((response, vec![change]))
    })
}

pub(super) async fn read(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    world.look(|world| {
        let device = find(world, &tenant, &id)?;
        Ok(found(&reported(device), version_of(device)))
    })
}

pub(super) async fn update(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Failure> {
    Id::Device.check(&id)?;
    let members = read_members(sent.object()?)?;
    attempt(&world, |world| {
        let device = find_mut(world, &tenant, &id)?;
        check_version(&headers, &version_of(device))?;
        *device = Device {
            record: device.record.next(),
            credentials: std::mem::take(&mut device.credentials),
            credentials_record: std::mem::take(&mut device.credentials_record),
            ..members
        };
        let change = Change::of_device(Kind::Update, &tenant, &id, device);
        Ok((updated(version_of(device)), vec![change]))
    })
}

pub(super) async fn delete(
    State(world): State<SharedWorld>,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    attempt(&world, |world| {
        check_version(&headers, &version_of(find(world, &tenant, &id)?))?;
        known_tenant(world, &tenant)?.devices.remove(&id);
        let change = Change::device_deleted(&tenant, &id);
        Ok((StatusCode::NO_CONTENT.into_response(), vec![change]))
    })
}

pub(super) async fn delete_all(
    State(world): State<SharedWorld>,
    Path(tenant): Path<String>,
) -> Result<Response, Failure> {
    attempt(&world, |world| {
        known_tenant(world, &tenant)?.devices.clear();
        let change = Change::AllDevicesDeleted { tenant };
        Ok((StatusCode::NO_CONTENT.into_response(), vec![change]))
    })
}

pub(super) async fn search(
    State(world): State<SharedWorld>,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let search = Search::parse(&query.unwrap_or_default())?;
    world.look(|world| {
        let known = world.tenants.get(&tenant).ok_or_else(Failure::no_tenant)?;
        let all = known
            .devices
            .iter()
            .filter(|(id, device)| {
                search
                    .is_gateway
                    .is_none_or(|wanted| is_gateway(known, id, device) == wanted)
            })
            .map(|(id, device)| {
                let mut reported = reported(device);
                reported["id"] = Value::String(id.clone());
                reported
            });
        search.run(all).map(|found| listed(&found))
    })
}

/// A device of a tenant, or what is not there.
pub(super) fn find<'a>(world: &'a World, tenant: &str, id: &str) -> Result<&'a Device, Failure> {
    let known = world.tenants.get(tenant).ok_or_else(Failure::no_tenant)?;
    known.devices.get(id).ok_or_else(Failure::no_device)
}

/// As [`find`], to change it.
pub(super) fn find_mut<'a>(
    world: &'a mut World,
    tenant: &str,
    id: &str,
) -> Result<&'a mut Device, Failure> {
    known_tenant(world, tenant)?
        .devices
        .get_mut(id)
        .ok_or_else(Failure::no_device)
}

/// What a tenant may have at most; -1 and nothing are no limit.
pub(super) fn limit(tenant: &Tenant, name: &str) -> Option<u64> {
    tenant
        .members
        .get("registration-limits")?
        .get(name)?
        .as_u64()
}

fn known_tenant<'a>(world: &'a mut World, tenant: &str) -> Result<&'a mut Tenant, Failure> {
    world.tenants.get_mut(tenant).ok_or_else(Failure::no_tenant)
}

fn is_gateway(tenant: &Tenant, id: &String, device: &Device) -> bool {
    !device.member_of.is_empty() || tenant.devices.values().any(|other| other.via.contains(id))
}

fn version_of(device: &Device) -> String {
    version(&device.record, &reported(device))
}

fn reported(device: &Device) -> Value {
    let mut reported = device.further.clone();
    reported.insert("enabled".to_owned(), json!(!device.disabled));
    for (name, list) in [
        ("via", &device.via),
        ("viaGroups", &device.via_groups),
        ("memberOf", &device.member_of),
    ] {
        if !list.is_empty() {
            reported.insert(name.to_owned(), json!(list));
        }
    }
    if !device.defaults.is_empty() {
        reported.insert("defaults".to_owned(), json!(device.defaults));
    }
    let mut status = Map::new();
    for (name, time) in [
        ("created", device.record.created),
        ("updated", device.record.updated),
    ] {
        if let Some(time) = time {
            status.insert(name.to_owned(), moment(time));
        }
    }
    if !status.is_empty() {
        reported.insert("status".to_owned(), Value::Object(status));
    }
    Value::Object(reported)
}

/// A device with these members, if they are such.
fn read_members(members: Map<String, Value>) -> Result<Device, Failure> {
    let mut device = Device::default();
    for (name, value) in members {
        let wrong = || Failure::bad_request(format!("invalid value of [{name}]"));
        match (name.as_str(), value) {
            ("enabled", Value::Bool(enabled)) => device.disabled = !enabled,
            ("via", value) => device.via = ids(value).ok_or_else(wrong)?,
            ("viaGroups", value) => device.via_groups = ids(value).ok_or_else(wrong)?,
            ("memberOf", value) => device.member_of = ids(value).ok_or_else(wrong)?,
            ("defaults", Value::Object(defaults)) => device.defaults = defaults,
            // Read-only: what a client has read it may send back.
            ("status", Value::Object(_)) => {}
            ("ext" | "command-endpoint", value @ Value::Object(_))
            | ("downstream-message-mapper" | "upstream-message-mapper", value @ Value::String(_)) =>
            {
                device.further.insert(name, value);
            }
            ("authorities", value) => {
                let known = ids(value.clone()).ok_or_else(wrong)?;
                if known
                    .iter()
                    .any(|authority| authority != "auto-provisioning-enabled")
                {
                    return Err(wrong());
                }
                device.further.insert(name, value);
            }
            (
                "enabled"
                | "defaults"
                | "status"
                | "ext"
                | "command-endpoint"
                | "downstream-message-mapper"
                | "upstream-message-mapper",
                _,
            ) => return Err(wrong()),
            _ => return Err(Failure::bad_request(format!("unknown member [{name}]"))),
        }
    }
    let is_served = !device.via.is_empty() || !device.via_groups.is_empty();
    if is_served && !device.member_of.is_empty() {
        let text = "`memberOf` cannot be together with `via` or `viaGroups`";
        return Err(Failure::bad_request(text));
    }
    Ok(device)
}

/// A list of ids, or a single one as such a list.
fn ids(value: Value) -> Option<Vec<String>> {
    match value {
        Value::String(id) => Some(vec![id]),
        other => serde_json::from_value(other).ok(),
    }
}

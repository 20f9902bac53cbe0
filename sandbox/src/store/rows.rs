//! What stands in a row: a tenant or a device with all that belongs to it, as JSON.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::StoreError;
use crate::world::{Credentials, Device, Record, Secret, Tenant, World};

#[derive(Serialize, Deserialize)]
struct TenantRow {
    members: Map<String, Value>,
    record: RecordRow,
}

#[derive(Serialize, Deserialize)]
struct DeviceRow {
    disabled: bool,
    via: Vec<String>,
    via_groups: Vec<String>,
    member_of: Vec<String>,
    defaults: Map<String, Value>,
    further: Map<String, Value>,
    credentials: Vec<CredentialsRow>,
    record: RecordRow,
    credentials_record: RecordRow,
}

#[derive(Serialize, Deserialize)]
struct CredentialsRow {
    kind: String,
    auth_id: String,
    disabled: bool,
    ext: Map<String, Value>,
    comment: Option<String>,
    secrets: Vec<SecretRow>,
}

#[derive(Serialize, Deserialize)]
struct SecretRow {
    members: Map<String, Value>,
    confidential: Map<String, Value>,
}

/// Times are seconds since 1970, the precision in which they are returned.
#[derive(Serialize, Deserialize)]
struct RecordRow {
    revision: u64,
    created: Option<i64>,
    updated: Option<i64>,
}

pub(super) fn write_tenant(
    transaction: &Transaction<'_>,
    id: &str,
    tenant: &Tenant,
) -> Result<(), StoreError> {
    let row = TenantRow {
        members: tenant.members.clone(),
        record: (&tenant.record).into(),
    };
    let reported = text(&row, id)?;
    transaction.execute(
        "REPLACE INTO tenants VALUES (?1, ?2)",
        params![id, reported],
    )?;
    Ok(())
}

pub(super) fn write_device(
    transaction: &Transaction<'_>,
    tenant: &str,
    id: &str,
    device: &Device,
) -> Result<(), StoreError> {
    let reported = text(&DeviceRow::from(device), id)?;
    let insert = "REPLACE INTO devices VALUES (?1, ?2, ?3)";
    transaction.execute(insert, params![tenant, id, reported])?;
    Ok(())
}

pub(super) fn delete_devices_except(
    transaction: &Transaction<'_>,
    tenant: &str,
    kept: &BTreeSet<&str>,
) -> Result<(), StoreError> {
    let mut select = transaction.prepare("SELECT id FROM devices WHERE tenant = ?1")?;
    let known = select.query_map(params![tenant], |row| row.get::<_, String>(0))?;
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let mut delete = transaction.prepare("DELETE FROM devices WHERE tenant = ?1 AND id = ?2")?;
    for id in known.iter().filter(|id| !kept.contains(id.as_str())) {
        delete.execute(params![tenant, id])?;
    }
    Ok(())
}

/// All there is.
pub(super) fn read(connection: &Connection) -> Result<World, StoreError> {
    let mut world = World::empty();
    let mut select = connection.prepare("SELECT id, reported FROM tenants")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, reported): (String, String) = (row.get(0)?, row.get(1)?);
        let TenantRow { members, record } = value(&reported, &id)?;
        let tenant = Tenant {
            members,
            record: record.into(),
            ..Tenant::default()
        };
        world.tenants.insert(id, tenant);
    }
    let mut select = connection.prepare("SELECT tenant, id, reported FROM devices")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (tenant, id, reported): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let device: DeviceRow = value(&reported, &id)?;
        let known = world.tenants.get_mut(&tenant);
        let known = known.ok_or_else(|| StoreError::Row(id.clone()))?;
        known.devices.insert(id, device.into());
    }
    Ok(world)
}

/// Errors name the row only: its text may hold a key.
fn text(row: &impl Serialize, id: &str) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|_| StoreError::Row(id.to_owned()))
}

fn value<T: for<'a> Deserialize<'a>>(text: &str, id: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Row(id.to_owned()))
}

impl From<&Device> for DeviceRow {
    fn from(device: &Device) -> Self {
        let credentials = device.credentials.iter().map(|credentials| CredentialsRow {
            kind: credentials.kind.clone(),
            auth_id: credentials.auth_id.clone(),
            disabled: credentials.disabled,
            ext: credentials.ext.clone(),
            comment: credentials.comment.clone(),
            secrets: credentials.secrets.iter().map(SecretRow::from).collect(),
        });
        Self {
            disabled: device.disabled,
            via: device.via.clone(),
            via_groups: device.via_groups.clone(),
            member_of: device.member_of.clone(),
            defaults: device.defaults.clone(),
            further: device.further.clone(),
            credentials: credentials.collect(),
            record: (&device.record).into(),
            credentials_record: (&device.credentials_record).into(),
        }
    }
}

impl From<DeviceRow> for Device {
    fn from(row: DeviceRow) -> Self {
        let credentials = row.credentials.into_iter().map(|row| Credentials {
            kind: row.kind,
            auth_id: row.auth_id,
            disabled: row.disabled,
            ext: row.ext,
            comment: row.comment,
            secrets: row.secrets.into_iter().map(Secret::from).collect(),
        });
        Self {
            disabled: row.disabled,
            via: row.via,
            via_groups: row.via_groups,
            member_of: row.member_of,
            defaults: row.defaults,
            further: row.further,
            credentials: credentials.collect(),
            record: row.record.into(),
            credentials_record: row.credentials_record.into(),
        }
    }
}

impl From<&Secret> for SecretRow {
    fn from(secret: &Secret) -> Self {
        Self {
            members: secret.members.clone(),
            confidential: secret.confidential.clone(),
        }
    }
}

impl From<SecretRow> for Secret {
    fn from(row: SecretRow) -> Self {
        Self {
            members: row.members,
            confidential: row.confidential,
        }
    }
}

impl From<&Record> for RecordRow {
    fn from(record: &Record) -> Self {
        Self {
            revision: record.revision,
            created: record.created.map(OffsetDateTime::unix_timestamp),
            updated: record.updated.map(OffsetDateTime::unix_timestamp),
        }
    }
}

impl From<RecordRow> for Record {
    fn from(row: RecordRow) -> Self {
        let moment = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        Self {
            revision: row.revision,
            created: row.created.and_then(moment),
            updated: row.updated.and_then(moment),
        }
    }
}

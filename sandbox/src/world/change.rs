//! Changes of the world, and how the registry tells of them (spec: registry-apis part B).

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Device, Tenant, World};

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Tenant {
        kind: Kind,
        tenant: String,
        enabled: bool,
        invalidates: bool,
    },
    Device {
        kind: Kind,
        tenant: String,
        device: String,
        enabled: bool,
    },
    Credentials {
        tenant: String,
        device: String,
    },
    AllDevicesDeleted {
        tenant: String,
    },
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Update,
    Delete,
}

impl Change {
    /// A tenant is there, new or with other members.
    pub(crate) fn of_tenant(kind: Kind, id: &str, tenant: &Tenant) -> Self {
        let flag = |value: Option<&Value>| value.and_then(Value::as_bool);
        let ext = tenant.members.get("ext");
        Self::Tenant {
            kind,
            tenant: id.to_owned(),
            enabled: flag(tenant.members.get("enabled")).unwrap_or(true),
            invalidates: flag(ext.and_then(|ext| ext.get("invalidate-cache-on-update")))
                .unwrap_or(false),
        }
    }

    /// A tenant is gone.
    pub(crate) fn tenant_deleted(id: &str) -> Self {
        Self::Tenant {
            kind: Kind::Delete,
            tenant: id.to_owned(),
            enabled: false,
            invalidates: true,
        }
    }

    /// A device is there, new or with other members.
    pub(crate) fn of_device(kind: Kind, tenant: &str, id: &str, device: &Device) -> Self {
        Self::Device {
            kind,
            tenant: tenant.to_owned(),
            device: id.to_owned(),
            enabled: !device.disabled,
        }
    }

    /// A device is gone.
    pub(crate) fn device_deleted(tenant: &str, id: &str) -> Self {
        Self::Device {
            kind: Kind::Delete,
            tenant: tenant.to_owned(),
            device: id.to_owned(),
            enabled: false,
        }
    }

    /// What a device proves itself with is other than before.
    pub(crate) fn of_credentials(tenant: &str, device: &str) -> Self {
        Self::Credentials {
            tenant: tenant.to_owned(),
            device: device.to_owned(),
        }
    }

    /// The address of the change's notification.
    pub(crate) const fn address(&self) -> &'static str {
        match self {
            Self::Tenant { .. } => "notification/registry-tenant",
            _ => "notification/registry-device",
        }
    }

    /// The notification, as of `now`.
    pub(crate) fn to_json(&self, now: OffsetDateTime) -> Value {
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let mut reported = match self {
            Self::Tenant {
                kind,
                tenant,
                enabled,
                invalidates,
            } => json!({
                "type": "tenant-change-v1",
                "change": kind.name(),
                "tenant-id": tenant,
                "enabled": enabled,
                "invalidate-cache-on-update": invalidates,
            }),
            Self::Device {
                kind,
                tenant,
                device,
                enabled,
            } => json!({
                "type": "device-change-v1",
                "change": kind.name(),
                "tenant-id": tenant,
                "device-id": device,
                "enabled": enabled,
            }),
            Self::Credentials { tenant, device } => json!({
                "type": "credentials-change-v1",
                "tenant-id": tenant,
                "device-id": device,
            }),
            Self::AllDevicesDeleted { tenant } => json!({
                "type": "all-devices-of-tenant-deleted-v1",
                "tenant-id": tenant,
            }),
        };
        reported["source"] = json!("device-registry");
        // Only years beyond 9999 cannot be written.
        reported["creation-time"] = json!(now.format(&Rfc3339).unwrap_or_default());
        reported
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// Notifications for the change from `before` to `after`.
pub(super) fn between(before: &World, after: &World) -> Vec<Change> {
    let mut changes = Vec::new();
    for (id, old) in &before.tenants {
        if !after.tenants.contains_key(id) {
            changes.extend(of_removed_tenant(id, old));
        }
    }
    for (id, tenant) in &after.tenants {
        let old = before.tenants.get(id);
        let kind = if old.is_some() {
            Kind::Update
        } else {
            Kind::Create
        };
        if old.is_none_or(|old| old.members != tenant.members) {
            changes.push(Change::of_tenant(kind, id, tenant));
        }
        let none = Tenant::default();
        changes.extend(between_devices(id, old.unwrap_or(&none), tenant));
    }
    changes
}

/// Notifications for a removed tenant.
pub(crate) fn of_removed_tenant(id: &str, tenant: &Tenant) -> Vec<Change> {
    let mut changes = vec![Change::tenant_deleted(id)];
    if !tenant.devices.is_empty() {
        changes.push(Change::AllDevicesDeleted {
            tenant: id.to_owned(),
        });
    }
    changes
}

/// Notifications for a device that is created or replaced.
pub(super) fn of_device_set(
    tenant: &str,
    id: &str,
    old: Option<&Device>,
    new: &Device,
) -> Vec<Change> {
    let kind = if old.is_some() {
        Kind::Update
    } else {
        Kind::Create
    };
    let mut changes = vec![Change::of_device(kind, tenant, id, new)];
    if old.map_or(&[][..], |old| &old.credentials) != new.credentials {
        changes.push(Change::of_credentials(tenant, id));
    }
    changes
}

fn between_devices(tenant: &str, before: &Tenant, after: &Tenant) -> Vec<Change> {
    let mut changes = Vec::new();
    for id in before.devices.keys() {
        if !after.devices.contains_key(id) {
            changes.push(Change::device_deleted(tenant, id));
        }
    }
    for (id, device) in &after.devices {
        let old = before.devices.get(id);
        if old != Some(device) {
            changes.extend(of_device_set(tenant, id, old, device));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::{Change, Kind, between};
    use crate::world::{Device, Tenant, World};

    #[test]
    fn every_notification_has_the_members_and_the_address_of_its_type() {
        let now = OffsetDateTime::from_unix_timestamp(1_748_772_000).unwrap()
            + std::time::Duration::from_millis(900);
        let tenant = Tenant::from_json(
            json!({"enabled": false, "ext": {"invalidate-cache-on-update": true}}),
        );
        let rows = [
            (
                Change::of_tenant(Kind::Create, "T", &Tenant::default()),
                "notification/registry-tenant",
                json!({"type": "tenant-change-v1", "change": "CREATE", "tenant-id": "T", "enabled": true, "invalidate-cache-on-update": false}),
            ),
            (
                Change::of_tenant(Kind::Update, "T", &tenant),
                "notification/registry-tenant",
                json!({"type": "tenant-change-v1", "change": "UPDATE", "tenant-id": "T", "enabled": false, "invalidate-cache-on-update": true}),
            ),
            (
                Change::tenant_deleted("T"),
                "notification/registry-tenant",
                json!({"type": "tenant-change-v1", "change": "DELETE", "tenant-id": "T", "enabled": false, "invalidate-cache-on-update": true}),
            ),
            (
                Change::of_device(Kind::Update, "T", "d", &Device::default()),
                "notification/registry-device",
                json!({"type": "device-change-v1", "change": "UPDATE", "tenant-id": "T", "device-id": "d", "enabled": true}),
            ),
            (
                Change::device_deleted("T", "d"),
                "notification/registry-device",
                json!({"type": "device-change-v1", "change": "DELETE", "tenant-id": "T", "device-id": "d", "enabled": false}),
            ),
            (
                Change::of_credentials("T", "d"),
                "notification/registry-device",
                json!({"type": "credentials-change-v1", "tenant-id": "T", "device-id": "d"}),
            ),
            (
                Change::AllDevicesDeleted {
                    tenant: "T".to_owned(),
                },
                "notification/registry-device",
                json!({"type": "all-devices-of-tenant-deleted-v1", "tenant-id": "T"}),
            ),
        ];
        for (change, address, mut expected) in rows {
            expected["source"] = json!("device-registry");
            expected["creation-time"] = json!("2025-06-01T10:00:00Z");
            assert_eq!(change.address(), address);
            assert_eq!(change.to_json(now), expected);
        }
    }

    #[test]
    fn only_what_is_different_is_told() {
        let world = |text: &str| World::from_yaml("w", text).unwrap();
        let before = world(
            "tenants: {T: {devices: {same: {}, gone: {}, off: {}, key: {credentials: [{auth-id: a, key: k}]}}}, U: {devices: {d: {}}}, V: {}}",
        );
        let after = world(
            "tenants: {T: {enabled: false, devices: {same: {}, off: {enabled: false}, key: {credentials: [{auth-id: a, key: other}]}, new: {}}}, V: {}, W: {}}",
        );
        let tenant = |kind, id: &str| Change::of_tenant(kind, id, &after.tenants[id]);
        let device =
            |kind, id: &str| Change::of_device(kind, "T", id, &after.tenants["T"].devices[id]);
        let expected = [
            Change::tenant_deleted("U"),
            Change::AllDevicesDeleted {
                tenant: "U".to_owned(),
            },
            tenant(Kind::Update, "T"),
            Change::device_deleted("T", "gone"),
            device(Kind::Update, "key"),
            Change::of_credentials("T", "key"),
            device(Kind::Create, "new"),
            device(Kind::Update, "off"),
            tenant(Kind::Create, "W"),
        ];
        assert_eq!(between(&before, &after), expected);
        assert_eq!(between(&after, &after), []);
    }
}

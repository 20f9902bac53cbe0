//! Cache entries that each notification removes: the table of spec: registry-apis B.

use super::{Change, Subject};
use crate::{credentials, registration, tenant};

const TENANT_CHANGES: [(&str, Change, bool, bool, bool); 7] = [
    ("CREATE", Change::Create, true, false, false),
    ("CREATE, invalidate", Change::Create, true, true, false),
    (
        "a plain UPDATE does NOT",
        Change::Update,
        true,
        false,
        false,
    ),
    ("UPDATE, disabled", Change::Update, false, false, true),
    ("UPDATE, invalidate", Change::Update, true, true, true),
    ("DELETE", Change::Delete, false, true, true),
    (
        "DELETE, whatever else it says",
        Change::Delete,
        true,
        false,
        true,
    ),
];

#[test]
fn a_tenant_is_forgotten_by_its_id_however_it_was_looked_up() {
    for (line, change, enabled, invalidate_cache_on_update, forgets) in TENANT_CHANGES {
        let subject = Subject::Tenant {
            change,
            tenant_id: "T".to_owned(),
            enabled,
            invalidate_cache_on_update,
        };
        for (key, id, same) in [
            (tenant::Key::Id("T".to_owned()), Some("T"), true),
            (tenant::Key::Id("alias".to_owned()), Some("T"), true),
            (tenant::Key::SubjectDn("CN=x".to_owned()), Some("T"), true),
            (tenant::Key::Id("T".to_owned()), None, true),
            (tenant::Key::Id("U".to_owned()), Some("U"), false),
            (tenant::Key::SubjectDn("CN=x".to_owned()), None, false),
        ] {
            let forgotten = tenant::is_outdated(&subject, &key, id);
            assert_eq!(forgotten, forgets && same, "{line}: {key:?} {id:?}");
        }
    }
}

fn device(change: Change, enabled: bool) -> Subject {
    Subject::Device {
        change,
        tenant_id: "T".to_owned(),
        device_id: "d".to_owned(),
        enabled,
    }
}

fn credentials() -> Subject {
    Subject::Credentials {
        tenant_id: "T".to_owned(),
        device_id: "d".to_owned(),
    }
}

fn all_devices() -> Subject {
    Subject::AllDevicesOfTenantDeleted {
        tenant_id: "T".to_owned(),
    }
}

fn tenant_deleted() -> Subject {
    Subject::Tenant {
        change: Change::Delete,
        tenant_id: "T".to_owned(),
        enabled: false,
        invalidate_cache_on_update: true,
    }
}

#[test]
fn an_assertion_is_forgotten_when_its_device_or_gateway_changes_in_any_way() {
    for (line, subject, of_device, of_tenant) in [
        ("CREATE", device(Change::Create, true), true, false),
        ("UPDATE", device(Change::Update, true), true, false),
        (
            "UPDATE, disabled",
            device(Change::Update, false),
            true,
            false,
        ),
        ("DELETE", device(Change::Delete, false), true, false),
        ("all-devices-deleted", all_devices(), true, true),
        ("credentials-change", credentials(), false, false),
        ("tenant-change", tenant_deleted(), false, false),
    ] {
        for (tenant, id, gateway, forgotten) in [
            ("T", "d", None, of_device),
            ("T", "d", Some("gw"), of_device),
            ("T", "other", Some("d"), of_device),
            ("T", "other", Some("gw"), of_tenant),
            ("T", "other", None, of_tenant),
            ("U", "d", None, false),
            ("U", "other", Some("d"), false),
        ] {
            let key = registration::Key {
                tenant: tenant.to_owned(),
                device: id.to_owned(),
                gateway: gateway.map(str::to_owned),
            };
            assert_eq!(
                registration::is_outdated(&subject, &key),
                forgotten,
                "{line}: {key:?}"
            );
        }
    }
}

#[test]
fn credentials_are_forgotten_when_they_change_or_their_device_goes() {
    for (line, subject, of_device, of_tenant) in [
        ("CREATE", device(Change::Create, true), false, false),
        ("UPDATE", device(Change::Update, true), false, false),
        (
            "UPDATE, disabled",
            device(Change::Update, false),
            true,
            false,
        ),
        ("DELETE", device(Change::Delete, false), true, false),
        ("credentials-change", credentials(), true, false),
        ("all-devices-deleted", all_devices(), true, true),
        ("tenant-change", tenant_deleted(), false, false),
    ] {
        for (tenant, id, forgotten) in [
            ("T", Some("d"), of_device),
            ("T", Some("other"), of_tenant),
            ("T", None, of_tenant),
            ("U", Some("d"), false),
        ] {
            let outdated = credentials::is_outdated(&subject, tenant, id);
            assert_eq!(outdated, forgotten, "{line}: {tenant} {id:?}");
        }
    }
}

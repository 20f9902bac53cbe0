//! What a registry tells of its changes (spec: registry-apis B).

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, de::Error};

use crate::{members::Malformed, timestamp};

/// Something has changed in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// When the registry noticed.
    pub creation_time: SystemTime,
    /// What has changed.
    pub subject: Subject,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Subject {
    /// A tenant.
    #[serde(rename = "tenant-change-v1")]
    Tenant {
        /// What was done with it.
        change: Change,
        /// Its identifier.
        tenant_id: String,
        /// Whether it is enabled now.
        enabled: bool,
        /// Whether what is remembered of it must be forgotten although it was only updated.
        invalidate_cache_on_update: bool,
    },
    /// A device or gateway.
    #[serde(rename = "device-change-v1")]
    Device {
        /// What was done with it.
        change: Change,
        /// Whose it is.
        tenant_id: String,
        /// Its identifier.
        device_id: String,
        /// Whether it is enabled now.
        enabled: bool,
    },
    /// The credentials of a device.
    #[serde(rename = "credentials-change-v1")]
    Credentials {
        /// Whose device it is.
        tenant_id: String,
        /// The device.
        device_id: String,
    },
    /// A tenant's devices, all at once.
    #[serde(rename = "all-devices-of-tenant-deleted-v1")]
    AllDevicesOfTenantDeleted {
        /// The tenant.
        tenant_id: String,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Change {
    /// It is new.
    Create,
    /// It is different.
    Update,
    /// It is gone.
    Delete,
}

impl Notification {
    /// Reads a notification.
    ///
    /// # Errors
    /// [`Malformed`] if a member is missing or of the wrong type, or the type of notification is not known.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let members: Members =
            serde_json::from_slice(json).map_err(|_| Malformed("notification"))?;
        Ok(Self {
            creation_time: members.creation_time,
            subject: members.subject,
        })
    }

    /// Whether an object changed in a way that ends its use: it was deleted or disabled.
    pub(crate) fn ends(change: Change, enabled: bool) -> bool {
        match change {
            Change::Create => false,
            Change::Update => !enabled,
            Change::Delete => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Members {
    #[expect(dead_code, reason = "it has to be there, whatever it says")]
    source: String,
    #[serde(deserialize_with = "time")]
    creation_time: SystemTime,
    #[serde(flatten)]
    subject: Subject,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    timestamp::parse(&text).ok_or_else(|| D::Error::custom("no time"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Change, Notification, Subject};

    fn read(members: &str) -> Option<Subject> {
        let json = format!(
            r#"{{"source":"device-registry","creation-time":"2025-06-01T10:00:00Z",{members}}}"#
        );
        let notification = Notification::from_json(json.as_bytes()).ok()?;
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(1_748_772_000);
        assert_eq!(notification.creation_time, expected);
        Some(notification.subject)
    }

    #[test]
    fn the_four_types_are_read_with_all_their_members() {
        let (tenant_id, device_id) = ("T1".to_owned(), "4711".to_owned());
        for (members, expected) in [
            (
                r#""type":"tenant-change-v1","change":"DELETE","tenant-id":"T1","enabled":false,"invalidate-cache-on-update":true"#,
                Subject::Tenant {
                    change: Change::Delete,
                    tenant_id: tenant_id.clone(),
                    enabled: false,
                    invalidate_cache_on_update: true,
                },
            ),
            (
                r#""type":"device-change-v1","change":"UPDATE","tenant-id":"T1","device-id":"4711","enabled":true"#,
                Subject::Device {
                    change: Change::Update,
                    tenant_id: tenant_id.clone(),
                    device_id: device_id.clone(),
                    enabled: true,
                },
            ),
            (
                r#""type":"credentials-change-v1","tenant-id":"T1","device-id":"4711","more":{}"#,
                Subject::Credentials {
                    tenant_id: tenant_id.clone(),
                    device_id,
                },
            ),
            (
                r#""type":"all-devices-of-tenant-deleted-v1","tenant-id":"T1""#,
                Subject::AllDevicesOfTenantDeleted { tenant_id },
            ),
        ] {
            assert_eq!(read(members), Some(expected), "{members}");
        }
    }

    #[test]
    fn what_lacks_a_member_or_is_of_an_unknown_type_is_malformed() {
        for (line, members) in [
            ("no type", r#""tenant-id":"T1","device-id":"4711""#),
            (
                "unknown type",
                r#""type":"credentials-change-v2","tenant-id":"T1","device-id":"4711""#,
            ),
            (
                "type no text",
                r#""type":1,"tenant-id":"T1","device-id":"4711""#,
            ),
            (
                "no tenant-id",
                r#""type":"credentials-change-v1","device-id":"4711""#,
            ),
            (
                "no device-id",
                r#""type":"credentials-change-v1","tenant-id":"T1""#,
            ),
            (
                "id no text",
                r#""type":"credentials-change-v1","tenant-id":"T1","device-id":4711"#,
            ),
            (
                "no change",
                r#""type":"device-change-v1","tenant-id":"T1","device-id":"4711","enabled":true"#,
            ),
            (
                "unknown change",
                r#""type":"device-change-v1","change":"MOVE","tenant-id":"T1","device-id":"4711","enabled":true"#,
            ),
            (
                "no enabled",
                r#""type":"device-change-v1","change":"UPDATE","tenant-id":"T1","device-id":"4711""#,
            ),
            (
                "enabled no bool",
                r#""type":"device-change-v1","change":"UPDATE","tenant-id":"T1","device-id":"4711","enabled":"true""#,
            ),
            (
                "no invalidate",
                r#""type":"tenant-change-v1","change":"UPDATE","tenant-id":"T1","enabled":true"#,
            ),
        ] {
            assert_eq!(read(members), None, "{line}");
        }
        let rest = r#""type":"all-devices-of-tenant-deleted-v1","tenant-id":"T1""#;
        for (line, json) in [
            (
                "no source",
                format!(r#"{{"creation-time":"2025-06-01T10:00:00Z",{rest}}}"#),
            ),
            (
                "no creation-time",
                format!(r#"{{"source":"device-registry",{rest}}}"#),
            ),
            (
                "no time",
                format!(r#"{{"source":"device-registry","creation-time":"now",{rest}}}"#),
            ),
            ("no object", "[]".to_owned()),
            ("no JSON", "{".to_owned()),
            ("empty", String::new()),
        ] {
            assert!(Notification::from_json(json.as_bytes()).is_err(), "{line}");
        }
    }
}

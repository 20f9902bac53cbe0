//! Devices that the registry has just deleted or disabled, so that their sessions end (spec: registry-apis B).

use std::fmt;

use registry_client::notifications::{Change, Subject};

use super::Principal;

/// Whose sessions are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// Those of all devices of a tenant.
    Tenant(String),
    /// Those of one device.
    Device {
        /// Whose device it is.
        tenant: String,
        /// The device.
        device: String,
    },
}

impl fmt::Display for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(formatter, "tenant {tenant}"),
            Self::Device { tenant, device } => write!(formatter, "device {device} of {tenant}"),
        }
    }
}

impl Revoked {
    /// What a change in the registry ends; `None` for most.
    #[must_use]
    pub fn by(subject: Subject) -> Option<Self> {
        match subject {
            Subject::Tenant {
                change,
                tenant_id,
                enabled,
                ..
            } if is_over(change, enabled) => Some(Self::Tenant(tenant_id)),
            Subject::Device {
                change,
                tenant_id: tenant,
                device_id: device,
                enabled,
            } if is_over(change, enabled) => Some(Self::Device { tenant, device }),
            Subject::AllDevicesOfTenantDeleted { tenant_id } => Some(Self::Tenant(tenant_id)),
            _ => None,
        }
    }

    /// Whether the session of `principal` is one of them.
    #[must_use]
    pub fn concerns(&self, principal: &Principal) -> bool {
        match self {
            Self::Tenant(tenant) => *principal.tenant == **tenant,
            Self::Device { tenant, device } => {
                *principal.tenant == **tenant && *principal.device == **device
            }
        }
    }
}

const fn is_over(change: Change, enabled: bool) -> bool {
    matches!(change, Change::Delete) || !enabled
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_client::CredentialsType;

    #[test]
    fn what_is_deleted_or_disabled_is_revoked() {
        let tenant = |change, enabled| Subject::Tenant {
            change,
            tenant_id: "T".to_owned(),
            enabled,
            invalidate_cache_on_update: false,
        };
        let device = |change, enabled| Subject::Device {
            change,
            tenant_id: "T".to_owned(),
            device_id: "D".to_owned(),
            enabled,
        };
        let all = || Some(Revoked::Tenant("T".to_owned()));
        let one = || {
            Some(Revoked::Device {
                tenant: "T".to_owned(),
                device: "D".to_owned(),
            })
        };
        let rows = [
            (tenant(Change::Delete, true), all()),
            (tenant(Change::Update, false), all()),
            (tenant(Change::Update, true), None),
            (tenant(Change::Create, true), None),
            (device(Change::Delete, true), one()),
            (device(Change::Update, false), one()),
            (device(Change::Update, true), None),
            (device(Change::Create, true), None),
            (
                Subject::AllDevicesOfTenantDeleted {
                    tenant_id: "T".to_owned(),
                },
                all(),
            ),
            (
                Subject::Credentials {
                    tenant_id: "T".to_owned(),
                    device_id: "D".to_owned(),
                },
                None,
            ),
        ];
        for (subject, expected) in rows {
            let told = format!("{subject:?}");
            assert_eq!(Revoked::by(subject), expected, "{told}");
        }
    }

    #[test]
    fn only_sessions_of_the_device_or_tenant_end() {
        let principal = |tenant: &str, device: &str| Principal {
            tenant: tenant.into(),
            device: device.into(),
            auth_id: "a".into(),
            credentials: CredentialsType::Psk,
        };
        let device = Revoked::Device {
            tenant: "T".to_owned(),
            device: "D".to_owned(),
        };
        let tenant = Revoked::Tenant("T".to_owned());
        let rows = [
            ("T", "D", true, true),
            ("T", "E", false, true),
            ("U", "D", false, false),
        ];
        for (of, id, by_device, by_tenant) in rows {
            let principal = principal(of, id);
            assert_eq!(
                (device.concerns(&principal), tenant.concerns(&principal)),
                (by_device, by_tenant)
            );
        }
    }
}

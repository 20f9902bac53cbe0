//! Who plays in the scene: the first device of the world that has a key.

use crate::{
    northbound::Received,
    world::{Credentials, Device, Key, World},
};

/// Who plays.
pub(super) struct Cast {
    pub(super) tenant: String,
    pub(super) device: String,
    pub(super) auth_id: String,
    pub(super) key: Vec<u8>,
}

impl Cast {
    pub(super) fn of(world: &World) -> Option<Self> {
        let mut enabled = world
            .tenants
            .iter()
            .filter(|(_, tenant)| tenant.members.get("enabled") != Some(&false.into()));
        enabled.find_map(|(tenant, known)| {
            // A device rather than a gateway, if there is one.
            let is_gateway =
                |id: &String| known.devices.values().any(|device| device.via.contains(id));
            let mut devices: Vec<_> = known
                .devices
                .iter()
                .filter(|(_, device)| !device.disabled)
                .collect();
            devices.sort_by_key(|(id, device)| is_gateway(id) || !device.member_of.is_empty());
            devices.into_iter().find_map(|(id, device)| {
                let (credentials, key) = key_of(device)?;
                Some(Self {
                    tenant: tenant.clone(),
                    device: id.clone(),
                    auth_id: credentials.auth_id.clone(),
                    key: key.expose().to_vec(),
                })
            })
        })
    }

    pub(super) fn identity(&self) -> String {
        format!("{}@{}", self.auth_id, self.tenant)
    }

    /// Whether the message is of this device.
    pub(super) fn sent(&self, received: &Received) -> bool {
        let tenant = received.link.split('/').nth(1);
        tenant == Some(self.tenant.as_str())
            && received.application_property("device_id", "string") == self.device.as_str()
    }
}

/// The first enabled credentials with a pre-shared key.
pub(super) fn key_of(device: &Device) -> Option<(&Credentials, Key)> {
    device
        .credentials
        .iter()
        .filter(|credentials| !credentials.disabled && credentials.kind == "psk")
        .find_map(|credentials| Some((credentials, credentials.key()?)))
}

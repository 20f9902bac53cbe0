//! The tenant whose devices all are here: what the registry has to know of them, and by which keys they prove themselves.

use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};

use sandbox::world::{Credentials, Device, Tenant, World};
use serde_json::json;

use crate::credentials::Authority;

/// Writes the world of `devices` devices in the form that `coap-adapter sandbox --world` reads; with an authority, each may also show
/// a certificate of it.
pub(crate) fn write(
    mut output: impl Write,
    devices: u32,
    authority: Option<&Authority>,
) -> io::Result<()> {
    writeln!(output, "tenants:\n  {TENANT}:")?;
    if let Some(authority) = authority {
        let key = BASE64_STANDARD.encode(authority.public_key());
        writeln!(
            output,
            "    trusted-ca: [{{ id: load, subject-dn: CN={AUTHORITY}, algorithm: EC, public-key: {key}, auth-id-template: '{{{{subject-cn}}}}' }}]"
        )?;
    }
    writeln!(output, "    devices:")?;
    for number in 0..devices {
        let (id, key) = (device_id(number), key(number));
        let certificate = authority.map(|_| format!(", {{ type: x509-cert, auth-id: {id} }}"));
        let certificate = certificate.unwrap_or_default();
        writeln!(
            output,
            "      {id}: {{ credentials: [{{ type: psk, auth-id: {id}, key: {key} }}{certificate}] }}"
        )?;
    }
    output.flush()
}

/// The same, for a network of this program.
pub(crate) fn world(devices: u32, authority: Option<&Authority>) -> World {
    let anchors = authority.map(|authority| {
        json!([{
            "id": "load", "subject-dn": format!("CN={AUTHORITY}"), "algorithm": "EC",
            "public-key": BASE64_STANDARD.encode(authority.public_key()),
            "auth-id-template": "{{subject-cn}}",
        }])
    });
    let mut tenant = Tenant::from_json(match anchors {
        Some(anchors) => json!({"trusted-ca": anchors}),
        None => json!({}),
    });
    for number in 0..devices {
        let id = device_id(number);
        let mut device = Device::default().with_psk(id.as_str(), key(number));
        if authority.is_some() {
            device
                .credentials
                .push(Credentials::certificate(id.as_str()));
        }
        tenant.devices.insert(id, device);
    }
    let mut world = World::empty();
    world.tenants.insert(TENANT.to_owned(), tenant);
    world
}

pub(crate) fn device_id(number: u32) -> String {
    format!("d-{number:05}")
}

/// Also the PSK identity's first part.
pub(crate) fn identity(number: u32) -> String {
    format!("{}@{TENANT}", device_id(number))
}

/// Keys for tests only: derived from the number of the device.
pub(crate) fn key(number: u32) -> String {
    format!("load-key-{number:05}")
}

pub(crate) const TENANT: &str = "LOAD";
/// The common name of who issues certificates.
pub(crate) const AUTHORITY: &str = "load";

#[cfg(test)]
mod tests {
    use super::{Authority, TENANT, world, write};

    #[test]
    fn the_sandbox_understands_what_is_written_as_what_is_meant() {
        let path = std::env::temp_dir().join(format!("load-world-{}", std::process::id()));
        let authority = Authority::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for authority in [None, Some(&authority)] {
            let mut text = Vec::new();
            write(&mut text, 3, authority).unwrap();
            let text = String::from_utf8(text).unwrap();
            let read = sandbox::world::World::from_yaml("load", &text).unwrap();
            assert_eq!(read.tenants[TENANT].devices.len(), 3);
            assert_eq!(read, world(3, authority));
        }
    }
}

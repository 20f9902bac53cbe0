//! The tenant whose devices all are here: what the registry has to know of them, and by which keys they prove themselves.

use std::io::{self, Write};

/// Writes the world of `devices` devices in the form that `coap-adapter sandbox --world` reads.
pub(crate) fn write(mut output: impl Write, devices: u32) -> io::Result<()> {
    writeln!(output, "tenants:\n  {TENANT}:\n    devices:")?;
    for number in 0..devices {
        let (id, key) = (device_id(number), key(number));
        writeln!(
            output,
            "      {id}: {{ credentials: [{{ type: psk, auth-id: {id}, key: {key} }}] }}"
        )?;
    }
    output.flush()
}

pub(crate) fn device_id(number: u32) -> String {
    format!("d-{number:05}")
}

/// Also the PSK identity's first part.
pub(crate) fn identity(number: u32) -> String {
    format!("{}@{TENANT}", device_id(number))
}

/// Keys for tests only: whoever knows the number knows the key.
pub(crate) fn key(number: u32) -> String {
    format!("load-key-{number:05}")
}

pub(crate) const TENANT: &str = "LOAD";

#[cfg(test)]
mod tests {
    use super::{TENANT, write};

    #[test]
    fn the_sandbox_understands_it() {
        let mut text = Vec::new();
        write(&mut text, 3).unwrap();
        let text = String::from_utf8(text).unwrap();
        let world = sandbox::world::World::from_yaml("load", &text).unwrap();
        assert_eq!(world.tenants[TENANT].devices.len(), 3);
    }
}

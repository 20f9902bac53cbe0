//! The lines that a newcomer pastes into another terminal.

use std::net::{IpAddr, SocketAddr};

use super::{
    SceneConfig,
    cast::{Cast, key_of},
};
use crate::world::World;

pub(super) fn lines_to_paste(config: &SceneConfig, cast: Option<&Cast>) -> Vec<String> {
    let mut lines = Vec::new();
    let client = "coap-client-openssl -v 6 -m";
    if let Some(cast) = cast
        && let Some(key) = pasteable(&cast.key)
    {
        let identity = cast.identity();
        let coaps = host(config.coaps);
        for (path, body) in [
            ("telemetry", r#"{"temp": 22}"#),
            ("event", r#"{"alarm": "fire"}"#),
        ] {
            lines.push(format!(
                "{client} post -u {identity} -k {key} -t json -e '{body}' 'coaps://{coaps}/{path}'"
            ));
        }
        lines.push(format!(
            "{client} post -u {identity} -k {key} 'coaps://{coaps}/event?hono-ttd=30&empty'"
        ));
        if let Some((gateway, key, device)) = gateway(&config.world, &cast.tenant) {
            let identity = format!("{gateway}@{}", cast.tenant);
            lines.push(format!("{client} put -u {identity} -k {key} -t json -e '{{\"temp\": 3}}' 'coaps://{}/telemetry/{}/{device}'", host(config.coaps), cast.tenant));
        }
    }
    if let (Some(coap), Some((tenant, device))) = (config.coap, any_device(&config.world, cast)) {
        lines.push(format!("coap-client-notls -v 6 -m put -t json -e '{{\"temp\": 23}}' 'coap://{}/telemetry/{tenant}/{device}'", host(coap)));
    }
    lines
}

/// A gateway's auth-id and key, and a device that it may speak for.
fn gateway(world: &World, tenant: &str) -> Option<(String, String, String)> {
    let tenant = world.tenants.get(tenant)?;
    tenant
        .devices
        .iter()
        .filter(|(_, device)| !device.disabled)
        .find_map(|(id, device)| {
            device.via.iter().find_map(|via| {
                let (credentials, key) = key_of(tenant.devices.get(via)?)?;
                Some((
                    credentials.auth_id.clone(),
                    pasteable(key.expose())?,
                    id.clone(),
                ))
            })
        })
}

fn any_device<'a>(world: &'a World, cast: Option<&'a Cast>) -> Option<(&'a str, &'a str)> {
    match cast {
        Some(cast) => Some((&cast.tenant, &cast.device)),
        None => world.tenants.iter().find_map(|(tenant, known)| {
            known
                .devices
                .keys()
                .next()
                .map(|device| (tenant.as_str(), device.as_str()))
        }),
    }
}

/// A key that can stand in a command line without quotes.
fn pasteable(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok()?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.=+@%".contains(letter);
    (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
}

/// The host and port to write into a URI; nobody can send to "any address".
fn host(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

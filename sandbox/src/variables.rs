//! What an adapter needs in its environment to find this sandbox (spec: configuration §2).

use std::net::SocketAddr;

/// Environment variables that name `amqp` as the place of every service that an adapter has, each with these further settings of its
/// client (`REQUESTTIMEOUT` and the like).
pub fn variables(
    amqp: SocketAddr,
    further: &[(&str, &str)],
) -> impl Iterator<Item = (String, String)> {
    SERVICES.into_iter().flat_map(move |service| {
        let (host, port) = (amqp.ip().to_string(), amqp.port().to_string());
        let place = [("HOST", host.as_str()), ("PORT", port.as_str())];
        let settings = place.iter().chain(further);
        let named =
            settings.map(|(name, value)| (format!("HONO_{service}_{name}"), (*value).to_owned()));
        named.collect::<Vec<_>>()
    })
}

const SERVICES: [&str; 6] = [
    "MESSAGING",
    "COMMAND",
    "TENANT",
    "REGISTRATION",
    "CREDENTIALS",
    "COMMANDROUTER",
];

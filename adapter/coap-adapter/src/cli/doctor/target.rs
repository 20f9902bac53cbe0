//! Where to go: the parts of a CoAP URL (RFC 7252 §6).

use std::net::SocketAddr;

use super::super::Error;

/// A server, and what is asked of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) security: Security,
    pub(super) host: String,
    pub(super) port: u16,
    /// Without slashes around it; empty if there is none.
    pub(super) path: String,
    pub(super) query: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Dtls,
    None,
}

impl Target {
    pub(super) fn of(url: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Wrong(format!(
                "`{url}` should be like coaps://host, coaps://host:5684/telemetry or coap://host"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (security, default_port) = match scheme {
            "coaps" => (Security::Dtls, 5684),
            "coap" => (Security::None, 5683),
            _ => return Err(wrong()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(wrong)?,
            None => match authority.rfind(':') {
                Some(at) => authority.split_at(at),
                None => (authority, ""),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if port.is_empty() => default_port,
            None => return Err(wrong()),
        };
        if host.is_empty() {
            return Err(wrong());
        }
        let arguments = query.split('&').filter(|argument| !argument.is_empty());
        Ok(Self {
            security,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            query: arguments.map(str::to_owned).collect(),
        })
    }

    /// All addresses of the host.
    pub(super) async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        Ok(found.collect())
    }

    /// The host, if it is a name and not an address: only names are sent to a server (RFC 6066 §3).
    pub(super) fn server_name(&self) -> Option<&str> {
        let is_address = self.host.parse::<std::net::IpAddr>().is_ok();
        Some(self.host.as_str()).filter(|_| !is_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |security, host: &str, port, path: &str, query: &[&str]| {
            Some(Target {
                security,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
                query: query.iter().map(|it| (*it).to_owned()).collect(),
            })
        };
        for (url, expected) in [
            ("coaps://h", target(Security::Dtls, "h", 5684, "", &[])),
            ("coap://h:7", target(Security::None, "h", 7, "", &[])),
            (
                "coaps://h/t?a=1&b",
                target(Security::Dtls, "h", 5684, "t", &["a=1", "b"]),
            ),
            (
                "coaps://[::1]:7/t/T/d",
                target(Security::Dtls, "::1", 7, "t/T/d", &[]),
            ),
            (
                "coaps://[::1]",
                target(Security::Dtls, "::1", 5684, "", &[]),
            ),
            ("h", None),
            ("http://h", None),
            ("coaps://", None),
            ("coaps://h:x", None),
            ("coaps://[::1", None),
            ("coaps://[::1]7", None),
        ] {
            assert_eq!(Target::of(url).ok(), expected, "{url}");
        }
    }
}

//! The addresses that a port listens on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// One port on one or several addresses of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The addresses; never empty.
    pub addresses: Vec<BindAddress>,
    /// The port; 0 takes any free one.
    pub port: u16,
}

/// An IP address of this machine; a link-local one with its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddress {
    /// The address.
    pub ip: IpAddr,
    /// The zone of a link-local IPv6 address, the name or number of an interface (RFC 4007 §11).
    pub zone: Option<String>,
}

impl Endpoint {
    /// Whether these are only addresses by which the machine talks to itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|it| it.ip.is_loopback())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let zone = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id().to_string()),
            _ => None,
        };
        let ip = address.ip().to_canonical();
        Self {
            addresses: vec![BindAddress { ip, zone }],
            port: address.port(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, address) in self.addresses.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            match address.ip {
                IpAddr::V4(_) => write!(formatter, "{separator}{address}:{}", self.port)?,
                IpAddr::V6(_) => write!(formatter, "{separator}[{address}]:{}", self.port)?,
            }
        }
        Ok(())
    }
}

impl BindAddress {
    /// Reads `192.0.2.1`, `::`, `[::1]`, `fe80::1%eth0` or `localhost`.
    ///
    /// # Errors
    /// What would be right, as it goes on after "should be".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let inner = text.trim_start_matches('[').trim_end_matches(']');
        let (ip, zone) = match inner.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (inner, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| WANTED.to_owned())?;
        let ip = ip.to_canonical();
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        match zone {
            Some("") => Err("written with an interface behind `%`, such as `fe80::1%eth0`".into()),
            None if is_link_local => Err(format!(
                "written with its interface, such as `{ip}%eth0`, as it is a link-local address"
            )),
            Some(_) if !is_link_local => {
                Err("written without `%`: only link-local addresses have an interface".into())
            }
            zone => Ok(Self {
                ip,
                zone: zone.map(str::to_owned),
            }),
        }
    }

    /// Reads a list parted by commas.
    ///
    /// # Errors
    /// As [`BindAddress::parse`].
    pub(super) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let mut addresses: Vec<Self> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let address = Self::parse(item)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(WANTED.to_owned());
        }
        let wildcard = |of: &Self| addresses.iter().any(|it| it.is_wildcard_of(of));
        match addresses
            .iter()
            .find(|it| !it.ip.is_unspecified() && wildcard(it))
        {
            Some(covered) => Err(format!(
                "a list without `{covered}`, as another of its addresses includes that one"
            )),
            None => Ok(addresses),
        }
    }

    /// The address for a socket. `index` finds the number of an interface by its name.
    ///
    /// # Errors
    /// What `index` says.
    pub fn resolve<E>(
        &self,
        port: u16,
        index: impl FnOnce(&str) -> Result<u32, E>,
    ) -> Result<SocketAddr, E> {
        Ok(match (self.ip, &self.zone) {
            (IpAddr::V6(ip), Some(zone)) => {
                let number = zone.parse().or_else(|_| index(zone))?;
                SocketAddrV6::new(ip, port, 0, number).into()
            }
            (ip, _) => SocketAddr::new(ip, port),
        })
    }

    fn is_wildcard_of(&self, other: &Self) -> bool {
        self.ip.is_unspecified() && self.ip.is_ipv4() == other.ip.is_ipv4()
    }
}

impl From<Ipv4Addr> for BindAddress {
    fn from(ip: Ipv4Addr) -> Self {
        Self {
            ip: ip.into(),
            zone: None,
        }
    }
}

impl From<Ipv6Addr> for BindAddress {
    fn from(ip: Ipv6Addr) -> Self {
        Self {
            ip: ip.into(),
            zone: None,
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(formatter, "{}%{zone}", self.ip),
            None => fmt::Display::fmt(&self.ip, formatter),
        }
    }
}

/// What would be right, as it goes on after "should be".
pub(super) const WANTED: &str =
    "one or several IP addresses, such as `0.0.0.0`, `::`, `192.0.2.1` or `fe80::1%eth0`";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let addresses = BindAddress::parse_list(text)?;
        let endpoint = Endpoint { addresses, port: 7 };
        Ok(endpoint.to_string())
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, read) in [
            ("0.0.0.0", "0.0.0.0:7"),
            ("::", "[::]:7"),
            ("[::1]", "[::1]:7"),
            ("localhost", "127.0.0.1:7"),
            ("0.0.0.0, ::", "0.0.0.0:7, [::]:7"),
            ("192.0.2.1,::,192.0.2.1", "192.0.2.1:7, [::]:7"),
            ("::ffff:192.0.2.1", "192.0.2.1:7"),
            ("fe80::1%eth0", "[fe80::1%eth0]:7"),
            ("[fe80::1%2]", "[fe80::1%2]:7"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_bound_are_refused_with_a_reason() {
        for (text, reason) in [
            ("", "IP addresses"),
            ("here", "IP addresses"),
            ("fe80::1", "`fe80::1%eth0`"),
            ("fe80::1%", "an interface behind"),
            ("::1%lo", "only link-local"),
            ("0.0.0.0,192.0.2.1", "without `192.0.2.1`"),
            ("2001:db8::1,::", "without `2001:db8::1`"),
        ] {
            let refused = shown(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn a_zone_is_a_number_or_the_name_of_an_interface() {
        let index = |name: &str| (name == "eth0").then_some(4).ok_or(());
        let resolve = |text: &str| BindAddress::parse(text).unwrap().resolve(7, index);
        assert_eq!(
            resolve("fe80::1%eth0").unwrap().to_string(),
            "[fe80::1%4]:7"
        );
        assert_eq!(resolve("fe80::1%9").unwrap().to_string(), "[fe80::1%9]:7");
        assert_eq!(resolve("fe80::1%eth1"), Err(()));
        assert_eq!(resolve("192.0.2.1").unwrap().to_string(), "192.0.2.1:7");
    }
}

//! Whether a request is meant for this API. A web page that a person of this machine looks at can
//! make the browser send requests here: with an `Origin` of its own, or with a host name that it
//! lets point here (DNS rebinding). Both show in the headers.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, StatusCode, header, uri::Authority};

use super::failure::Failure;

/// Refuses requests that name another host than this one, or come from the page of another origin.
pub(super) fn check(headers: &HeaderMap, bound: SocketAddr) -> Result<(), Failure> {
    let host = one(headers, header::HOST)
        .ok_or_else(|| Failure::bad_request("there should be one Host header"))?;
    let authority: Authority = host
        .parse()
        .map_err(|_| Failure::bad_request("malformed Host header"))?;
    if !is_own(authority.host(), bound.ip()) {
        return Err(forbidden("the Host header names another server"));
    }
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = one(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
    match origin {
        Some((_, origin)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(forbidden(
            "requests from pages of other origins are refused",
        )),
    }
}

fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value.and_then(|value| value.to_str().ok())
}

/// Names and addresses that cannot be somebody else's domain.
fn is_own(host: &str, bound: IpAddr) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        // Bound to all addresses, it is reached by any of them.
        Ok(ip) => ip == bound || ip.is_loopback() || bound.is_unspecified(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

fn forbidden(text: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_and_addresses_are_hosts_of_this_api() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let lan = IpAddr::from([192, 0, 2, 7]);
        let any = IpAddr::from([0, 0, 0, 0]);
        for (host, bound, own) in [
            ("localhost", loopback, true),
            ("LOCALHOST.", loopback, true),
            ("sandbox.localhost", loopback, true),
            ("127.0.0.1", loopback, true),
            ("127.8.9.1", loopback, true),
            ("[::1]", loopback, true),
            ("192.0.2.7", lan, true),
            ("192.0.2.8", lan, false),
            ("192.0.2.8", any, true),
            ("evil.example", loopback, false),
            ("evil.example", any, false),
            ("localhost.evil.example", loopback, false),
            ("notlocalhost", loopback, false),
            ("127.0.0.1.evil.example", loopback, false),
        ] {
            assert_eq!(is_own(host, bound), own, "{host} {bound}");
        }
    }
}

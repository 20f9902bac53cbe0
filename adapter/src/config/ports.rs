//! Rules for the enabled endpoints (spec: configuration §1, port rules).

use super::bind::{BindAddress, Endpoint};

/// The endpoints that the settings request.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The DTLS endpoint.
    pub(super) secure: Option<Port>,
    /// The endpoint without security.
    pub(super) insecure: Option<Port>,
    /// Whether all devices must authenticate.
    pub(super) authentication_required: bool,
}

/// A port as written: -1 is the default port.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) addresses: Vec<BindAddress>,
    pub(super) number: i64,
}

impl Port {
    fn resolve(self, standard: u16) -> Endpoint {
        Endpoint {
            addresses: self.addresses,
            port: u16::try_from(self.number).unwrap_or(standard),
        }
    }
}

/// Where the DTLS endpoint and the one without security listen.
pub(super) type Endpoints = (Option<Endpoint>, Option<Endpoint>);

/// Why the endpoints are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PortError {
    #[error(
        "neither secure nor insecure port configured; set `port` for DTLS, or `insecurePortEnabled` and `authenticationRequired: false`"
    )]
    None,
    #[error(
        "configuration requires authentication of devices, but only the port without security is enabled; set `port` for DTLS, or `authenticationRequired: false`"
    )]
    InsecureOnly,
    #[error(
        "the DTLS endpoint and the one without security both want port {0}; give them different numbers"
    )]
    Same(u16),
}

/// The table of the six cases.
pub(super) fn resolve(wanted: Wanted) -> Result<Endpoints, PortError> {
    let secure = wanted.secure.map(|port| port.resolve(COAPS));
    let insecure = wanted.insecure.map(|port| port.resolve(COAP));
    match (secure, insecure, wanted.authentication_required) {
        (Some(secure), None, _) | (Some(secure), Some(_), true) => Ok((Some(secure), None)),
        (Some(secure), Some(insecure), false)
            if secure.port == insecure.port && secure.port != 0 =>
        {
            Err(PortError::Same(secure.port))
        }
        (secure, Some(insecure), false) => Ok((secure, Some(insecure))),
        (None, Some(_), true) => Err(PortError::InsecureOnly),
        (None, None, _) => Err(PortError::None),
    }
}

/// The port of `coaps` (RFC 7252 §12.7).
const COAPS: u16 = 5684;

/// The port of `coap` (RFC 7252 §12.6).
const COAP: u16 = 5683;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn port(number: i64) -> Option<Port> {
        Some(Port {
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            number,
        })
    }

    fn at(port: u16) -> Option<Endpoint> {
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        Some(Endpoint { addresses, port })
    }

    #[test]
    fn every_row_of_the_port_table_holds() {
        let both = [true, false];
        for required in both {
            check(
                "yes no any",
                port(-1),
                None,
                required,
                &Ok((at(5684), None)),
            );
            check("no no any", None, None, required, &Err(PortError::None));
        }
        check(
            "yes yes true",
            port(-1),
            port(-1),
            true,
            &Ok((at(5684), None)),
        );
        check(
            "yes yes true, equal",
            port(7),
            port(7),
            true,
            &Ok((at(7), None)),
        );
        check(
            "yes yes false",
            port(-1),
            port(-1),
            false,
            &Ok((at(5684), at(5683))),
        );
        check(
            "yes yes false, equal",
            port(7),
            port(7),
            false,
            &Err(PortError::Same(7)),
        );
        check(
            "yes yes false, ephemeral",
            port(0),
            port(0),
            false,
            &Ok((at(0), at(0))),
        );
        check("no yes false", None, port(-1), false, &Ok((None, at(5683))));
        check(
            "no yes true",
            None,
            port(-1),
            true,
            &Err(PortError::InsecureOnly),
        );
    }

    fn check(
        row: &str,
        secure: Option<Port>,
        insecure: Option<Port>,
        authentication_required: bool,
        result: &Result<Endpoints, PortError>,
    ) {
        let wanted = Wanted {
            secure,
            insecure,
            authentication_required,
        };
        assert_eq!(&resolve(wanted), result, "{row}");
    }

    #[test]
    fn a_number_that_is_equal_to_the_others_default_is_refused() {
        let wanted = Wanted {
            secure: port(5683),
            insecure: port(-1),
            authentication_required: false,
        };
        assert_eq!(resolve(wanted), Err(PortError::Same(5683)));
    }
}

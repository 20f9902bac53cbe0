//! Who speaks: the principal of a DTLS session, and the device that a request of its is from (spec: coap-adapter §2).

mod refusal;
mod store;
mod patience;
mod psk;
mod certificate;
mod auth_id;
mod revocation;
mod raw_key;
mod revoked;

use std::sync::Arc;

use registry_client::CredentialsType;

pub use refusal::{Claim, Refusal};
pub use revocation::Revocation;
pub use revoked::Revoked;
pub use store::DeviceStore;

use crate::rejection::Rejection;
use crate::route::Addressing;
use crate::tenant::budget::Payer;

/// Whom a DTLS session belongs to; fixed by the handshake for as long as the session lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant of the credentials.
    pub tenant: Arc<str>,
    /// The device that the credentials are of.
    pub device: Arc<str>,
    /// The name under which they were found.
    pub auth_id: Arc<str>,
    /// What kind they are of.
    pub credentials: CredentialsType,
}

/// The device that a request is from, and who speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The tenant of both.
    pub tenant: Arc<str>,
    /// The device that the data is about.
    pub device: Arc<str>,
    /// The gateway that speaks for it, if it does not speak itself.
    pub gateway: Option<Arc<str>>,
    /// The name under which the credentials of its session were found.
    pub auth_id: Option<Arc<str>>,
    /// Whether there is a session that says so, or just the path.
    pub authenticated: Authenticated,
}

/// Whether the peer has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticated {
    /// By a DTLS handshake.
    Yes,
    /// Not at all: it speaks plain CoAP.
    No,
}

impl<'a> From<&'a Principal> for Payer<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            tenant: &principal.tenant,
            device: &principal.device,
            gateway: None,
        }
    }
}

impl Origin {
    /// Tells the origin of a request in the session of `principal`, or outside any.
    ///
    /// # Errors
    /// If the peer may not speak so, or does not say for whom.
    pub fn of(principal: Option<&Principal>, addressing: &Addressing) -> Result<Self, Rejection> {
        match (principal, addressing) {
            (None, Addressing::Session) => Err(Rejection::NotAuthenticated),
            (Some(principal), Addressing::Session) => Ok(Self {
                tenant: Arc::clone(&principal.tenant),
                device: Arc::clone(&principal.device),
                gateway: None,
                auth_id: Some(Arc::clone(&principal.auth_id)),
                authenticated: Authenticated::Yes,
            }),
            (
                None,
                Addressing::Path {
                    tenant: Some(tenant),
                    device: Some(device),
                },
            ) => Ok(Self {
                tenant: tenant.as_str().into(),
                device: device.as_str().into(),
                gateway: None,
                auth_id: None,
                authenticated: Authenticated::No,
            }),
            (None, Addressing::Path { .. }) => Err(Rejection::NoTenantAndDevice),
            (Some(_), Addressing::Path { device: None, .. }) => Err(Rejection::NoDevice),
            (
                Some(principal),
                Addressing::Path {
                    tenant: Some(tenant),
                    ..
                },
            ) if **tenant != *principal.tenant => Err(Rejection::ForeignTenant),
            (
                Some(principal),
                Addressing::Path {
                    device: Some(device),
                    ..
                },
            ) => Ok(Self {
                tenant: Arc::clone(&principal.tenant),
                device: device.as_str().into(),
                gateway: (**device != *principal.device).then(|| Arc::clone(&principal.device)),
                auth_id: Some(Arc::clone(&principal.auth_id)),
                authenticated: Authenticated::Yes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_request_has_its_origin() {
        use Authenticated::{No, Yes};
        let gw = Principal {
            tenant: "T".into(),
            device: "gw".into(),
            auth_id: "a".into(),
            credentials: CredentialsType::Psk,
        };
        let path = |tenant: &str, device: &str| {
            let segment = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Addressing::Path {
                tenant: segment(tenant),
                device: segment(device),
            }
        };
        let origin = |device: &str, gateway: Option<&str>, authenticated| {
            Ok(Origin {
                tenant: "T".into(),
                device: device.into(),
                gateway: gateway.map(Into::into),
                auth_id: (authenticated == Yes).then(|| "a".into()),
                authenticated,
            })
        };
        let rows = [
            (Some(&gw), Addressing::Session, origin("gw", None, Yes)),
            (Some(&gw), path("", "D"), origin("D", Some("gw"), Yes)),
            (Some(&gw), path("T", "D"), origin("D", Some("gw"), Yes)),
            (Some(&gw), path("T", "gw"), origin("gw", None, Yes)),
            (Some(&gw), path("", "gw"), origin("gw", None, Yes)),
            (Some(&gw), path("", ""), Err(Rejection::NoDevice)),
            (Some(&gw), path("X", ""), Err(Rejection::NoDevice)),
            (Some(&gw), path("X", "D"), Err(Rejection::ForeignTenant)),
            (None, Addressing::Session, Err(Rejection::NotAuthenticated)),
            (None, path("T", "D"), origin("D", None, No)),
            (None, path("", "D"), Err(Rejection::NoTenantAndDevice)),
            (None, path("T", ""), Err(Rejection::NoTenantAndDevice)),
            (None, path("", ""), Err(Rejection::NoTenantAndDevice)),
        ];
        for (principal, addressing, expected) in rows {
            let found = Origin::of(principal, &addressing);
            assert_eq!(found, expected, "{principal:?} {addressing:?}");
        }
    }
}

//! The key of a PSK identity, as the credentials service knows it (spec: coap-adapter §9, "PSK lookup").
//!
//! Whatever is wrong, the peer learns nothing: no key means that the handshake gets no answer.

use std::time::SystemTime;

use dtls_server::Psk;
use regex::Regex;
use registry_client::{CredentialsClient, CredentialsType};

use super::Principal;

/// The key of an identity, and whom it stands for. `split` parts auth-id and tenant at its first match (`idSplitRegex`).
pub(super) async fn key(
    credentials: &CredentialsClient,
    split: &Regex,
    identity: &[u8],
) -> Result<(Psk, Principal), Unknown> {
    let (auth_id, tenant) = parts(split, identity)?;
    let found = credentials.get(tenant, CredentialsType::Psk, auth_id).await;
    let found = found.map_err(|error| Unknown::Registry {
        status: error.status,
    })?;
    if !found.enabled {
        return Err(Unknown::Disabled);
    }
    let key = found.psk(SystemTime::now()).ok_or(Unknown::NoKey)?;
    let principal = Principal {
        tenant: tenant.into(),
        device: found.device_id.as_str().into(),
        auth_id: auth_id.into(),
    };
    Ok((Psk::new(key.expose().to_vec()), principal))
}

/// Why there is no key; for logs only.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("the identity is not of the form auth-id@tenant")]
    Malformed,
    #[error("the credentials service answered {status}")]
    Registry { status: u16 },
    #[error("the credentials are disabled")]
    Disabled,
    #[error("none of the secrets is an enabled, currently valid key")]
    NoKey,
}

/// Auth-id and tenant; the tenant is all that stands behind the first match.
fn parts<'a>(split: &Regex, identity: &'a [u8]) -> Result<(&'a str, &'a str), Unknown> {
    let identity = std::str::from_utf8(identity).map_err(|_| Unknown::Malformed)?;
    let at = split.find(identity).ok_or(Unknown::Malformed)?;
    let (auth_id, tenant) = (&identity.get(..at.start()), &identity.get(at.end()..));
    match (auth_id, tenant) {
        (Some(auth_id), Some(tenant)) if !auth_id.is_empty() && !tenant.is_empty() => {
            Ok((auth_id, tenant))
        }
        _ => Err(Unknown::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_split_at_the_first_match_only() {
        let at = Regex::new("@").unwrap();
        let dashes = Regex::new("-{2,3}").unwrap();
        let rows: [(&Regex, &[u8], _); 8] = [
            (&at, b"sensor1@T", Ok(("sensor1", "T"))),
            (&at, b"sensor1@T@x", Ok(("sensor1", "T@x"))),
            (&at, b"sensor1", Err(Unknown::Malformed)),
            (&at, b"@T", Err(Unknown::Malformed)),
            (&at, b"sensor1@", Err(Unknown::Malformed)),
            (&at, b"", Err(Unknown::Malformed)),
            (&at, b"\xff@T", Err(Unknown::Malformed)),
            (&dashes, b"a-b---T", Ok(("a-b", "T"))),
        ];
        for (split, identity, expected) in rows {
            assert_eq!(parts(split, identity), expected, "{identity:?}");
        }
    }
}

//! The key of a PSK identity, as the credentials service knows it (spec: coap-adapter §9, "PSK lookup").
//!
//! Whatever is wrong, the peer learns nothing: no key means that the handshake gets no answer.

use std::time::SystemTime;

use dtls_server::Psk;
use regex::Regex;
use registry_client::{CredentialsClient, CredentialsType};

use super::{Claim, Principal, Refusal};
use crate::monitoring::reason::Reason;

/// The key of an identity, and whom it stands for. `split` parts auth-id and tenant at its first match (`idSplitRegex`).
pub(super) async fn key(
    credentials: &CredentialsClient,
    split: &Regex,
    identity: &[u8],
) -> Result<(Psk, Principal), Refusal> {
    let Some((auth_id, tenant)) = parts(split, identity) else {
        return Err(Claim::default().refused(Reason::MalformedIdentity));
    };
    let mut claim = claim(auth_id, tenant);
    let found = match credentials.get(tenant, CredentialsType::Psk, auth_id).await {
        Ok(found) => found,
        Err(error) => {
            let reason = Reason::of_service(&error, Reason::UnknownIdentity);
            return Err(claim.refused_as(reason, error));
        }
    };
    claim.device = Some(found.device_id.as_str().into());
    if !found.enabled {
        return Err(claim.refused(Reason::CredentialsDisabled));
    }
    let Some(key) = found.psk(SystemTime::now()) else {
        return Err(claim.refused(Reason::NoValidKey));
    };
    let principal = Principal {
        tenant: tenant.into(),
        device: found.device_id.as_str().into(),
        auth_id: auth_id.into(),
        credentials: CredentialsType::Psk,
    };
    Ok((Psk::new(key.expose().to_vec()), principal))
}

/// Whom an identity claims to be, before anybody is asked.
pub(super) fn claimed(split: &Regex, identity: &[u8]) -> Claim {
    parts(split, identity)
        .map(|(auth_id, tenant)| claim(auth_id, tenant))
        .unwrap_or_default()
}

fn claim(auth_id: &str, tenant: &str) -> Claim {
    Claim {
        tenant: Some(tenant.into()),
        auth_id: Some(auth_id.into()),
        device: None,
    }
}

/// Auth-id and tenant, neither of which is empty; the tenant is all that stands behind the first match.
fn parts<'a>(split: &Regex, identity: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let identity = std::str::from_utf8(identity).ok()?;
    let at = split.find(identity)?;
    let auth_id = identity.get(..at.start())?;
    let tenant = identity.get(at.end()..)?;
    (!auth_id.is_empty() && !tenant.is_empty()).then_some((auth_id, tenant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_split_at_the_first_match_only() {
        let at = Regex::new("@").unwrap();
        let dashes = Regex::new("-{2,3}").unwrap();
        let rows: [(&Regex, &[u8], _); 8] = [
            (&at, b"sensor1@T", Some(("sensor1", "T"))),
            (&at, b"sensor1@T@x", Some(("sensor1", "T@x"))),
            (&at, b"sensor1", None),
            (&at, b"@T", None),
            (&at, b"sensor1@", None),
            (&at, b"", None),
            (&at, b"\xff@T", None),
            (&dashes, b"a-b---T", Some(("a-b", "T"))),
        ];
        for (split, identity, expected) in rows {
            assert_eq!(parts(split, identity), expected, "{identity:?}");
        }
    }
}

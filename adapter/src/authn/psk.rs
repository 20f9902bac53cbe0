//! The key of a PSK identity, as the credentials service knows it (spec: coap-adapter §9, "PSK lookup").
//!
//! Whatever is wrong, the peer learns nothing: no key means that the handshake gets no answer.

use std::time::SystemTime;

use dtls_server::Psk;
use fair_share::Holder;
use regex::Regex;
use registry_client::{CredentialsClient, CredentialsType, TenantClient, tenant::is_plausible};

use super::{Claim, Principal, Refusal};
use observability::reason::Reason;

/// The key of an identity, and whom it stands for. `split` parts auth-id and tenant at its first match (`idSplitRegex`).
///
/// Anybody may name a tenant at no cost, so nothing is asked of the credentials service, which has
/// links for each tenant, before the tenant is known to exist.
pub(super) async fn key(
    tenants: &TenantClient,
    credentials: &CredentialsClient,
    split: &Regex,
    source: Holder,
    identity: &[u8],
) -> Result<(Psk, Principal), Refusal> {
    let Some((auth_id, tenant)) = parts(split, identity) else {
        return Err(Claim::default().refused(Reason::MalformedIdentity));
    };
    let mut claim = claim(auth_id, tenant);
    if let Err(error) = tenants.exists(source, tenant).await {
        let reason = Reason::of_service(&error, Reason::UnknownIdentity);
        return Err(claim.refused_as(reason, error));
    }
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

/// Auth-id and tenant, if they can be such; the tenant is all that stands behind the first match.
fn parts<'a>(split: &Regex, identity: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let identity = std::str::from_utf8(identity).ok()?;
    let at = split.find(identity)?;
    let auth_id = identity.get(..at.start())?;
    let tenant = identity.get(at.end()..)?;
    let is_text = !auth_id.is_empty() && !auth_id.chars().any(char::is_control);
    (is_text && is_plausible(tenant)).then_some((auth_id, tenant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_split_at_the_first_match_only() {
        let at = Regex::new("@").unwrap();
        let dashes = Regex::new("-{2,3}").unwrap();
        let long = format!("a@{}", "t".repeat(257));
        let longest = "t".repeat(256);
        let good = format!("a@{longest}");
        let rows: [(&Regex, &[u8], _); 14] = [
            (&at, b"a@b/c", None),
            (&at, b"a/b@c", Some(("a/b", "c"))),
            (&at, b"a@b\n", None),
            (&at, b"a\x00@b", None),
            (&at, long.as_bytes(), None),
            (&at, good.as_bytes(), Some(("a", longest.as_str()))),
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

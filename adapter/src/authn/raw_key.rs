//! The device that a bare key stands for (RFC 7250). Hono has no such devices; here, the host that
//! the device
//! names tells the tenant by its first label, the key's SHA-256 in hexadecimal is the auth-id, and the registry must have credentials
//! of type `rpk` with that key.

use std::fmt::Write;
use std::time::SystemTime;

use fair_share::Holder;
use registry_client::{CredentialsClient, CredentialsType, TenantClient};
use ring::digest::{SHA256, digest};

use super::{Claim, Principal, Refusal};
use observability::reason::Reason;

/// Whom the key, a `SubjectPublicKeyInfo` in DER, stands for. `server_name` is the host that the client named.
pub(super) async fn principal(
    tenants: &TenantClient,
    credentials: &CredentialsClient,
    source: Holder,
    public_key: &[u8],
    server_name: Option<&str>,
) -> Result<Principal, Refusal> {
    let auth_id = auth_id(public_key);
    let mut claim = Claim {
        auth_id: Some(auth_id.as_str().into()),
        ..Claim::default()
    };
    let label = server_name.and_then(|host| host.split_once('.'));
    let Some((label, _)) = label else {
        return Err(claim.refused(Reason::RawKeyUnknown));
    };
    claim.tenant = Some(label.into());
    let tenant = match tenants.by_id_from(source, label).await {
        Ok(tenant) => tenant,
        Err(error) => {
            let reason = Reason::of_status(error.status, Reason::RawKeyUnknown);
            return Err(claim.refused_as(reason, error));
        }
    };
    claim.tenant = Some(tenant.id.as_str().into());
    let found = credentials.get(&tenant.id, CredentialsType::Rpk, &auth_id);
    let found = match found.await {
        Ok(found) => found,
        Err(error) => {
            let reason = Reason::of_status(error.status, Reason::RawKeyUnknown);
            return Err(claim.refused_as(reason, error));
        }
    };
    claim.device = Some(found.device_id.as_str().into());
    if !found.enabled || found.kind != CredentialsType::Rpk || found.auth_id != auth_id {
        return Err(claim.refused(Reason::CredentialsDisabled));
    }
    if !found.has_raw_key(public_key, SystemTime::now()) {
        return Err(claim.refused(Reason::NoValidKey));
    }
    Ok(Principal {
        tenant: tenant.id.as_str().into(),
        device: found.device_id.as_str().into(),
        auth_id: auth_id.into(),
        credentials: CredentialsType::Rpk,
    })
}

/// As `openssl pkey -pubin -outform DER | sha256sum` tells it.
fn auth_id(public_key: &[u8]) -> String {
    let hash = digest(&SHA256, public_key);
    hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Nothing written to a text fails.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_called_by_its_digest() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(auth_id(&[]), empty);
    }
}

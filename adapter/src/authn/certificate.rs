//! The device that a client certificate stands for (spec: coap-adapter §9, "Client certificate").

use std::time::SystemTime;

use dtls_server::{AnchorName, Certificate, CertificateError, TrustAnchor};
use fair_share::Holder;
use registry_client::tenant::TrustAnchor as TenantAnchor;
use registry_client::{CredentialsClient, CredentialsType, ServiceError, Tenant, TenantClient};

use super::auth_id::{self, UnusableTemplate};
use super::revocation::{NotGood, Revocation};
use super::{Claim, Principal, Refusal};
use observability::reason::Reason;

/// What a client has shown: its source, its certificates, and the host that it named.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) source: Holder,
    pub(super) chain: &'a [Vec<u8>],
    pub(super) server_name: Option<&'a str>,
    /// Whether certificates of X.509 version 1 and 2 are accepted, which have no extensions.
    pub(super) accept_v1: bool,
}

/// Whom the first certificate of a chain stands for; the others are not looked at.
pub(super) async fn principal(
    tenants: &TenantClient,
    credentials: &CredentialsClient,
    revocation: &Revocation,
    shown: Shown<'_>,
) -> Result<Principal, Refusal> {
    let mut claim = Claim::default();
    let judged = judge(tenants, credentials, revocation, shown, &mut claim).await;
    judged.map_err(|refused| {
        let reason = refused.reason();
        match names(shown.chain) {
            Some(named) => claim.refused_as(reason, format_args!("{refused}; {named}")),
            None => claim.refused_as(reason, refused),
        }
    })
}

/// Whose certificate the first one is, for who has to find out which device it was.
fn names(chain: &[Vec<u8>]) -> Option<String> {
    let own = Certificate::from_der(chain.first()?).ok()?;
    let (subject, issuer) = (own.subject(), own.issuer());
    Some(format!(
        "the certificate is for {subject}, issued by {issuer}"
    ))
}

/// As [`principal`]; `claim` tells how far it came.
async fn judge(
    tenants: &TenantClient,
    credentials: &CredentialsClient,
    revocation: &Revocation,
    shown: Shown<'_>,
    claim: &mut Claim,
) -> Result<Principal, Refused> {
    let Shown {
        source,
        chain,
        server_name,
        accept_v1,
    } = shown;
    let certificate = Certificate::from_der(chain.first().ok_or(Refused::NoCertificate)?)?;
    let version = certificate.version();
    if version < 3 && !accept_v1 {
        return Err(Refused::Version { version });
    }
    certificate.check_usage()?;
    let issuer_name = certificate.issuer().to_string();
    let tenant = tenant(tenants, source, &issuer_name, server_name).await?;
    claim.tenant = Some(tenant.id.as_str().into());
    let (fitting, anchor) = issuer(&tenant.trusted_ca, &certificate, SystemTime::now())?;
    if let Some(ocsp) = &fitting.ocsp {
        revocation.check(&certificate, fitting, ocsp).await?;
    }
    let auth_id = auth_id::of(anchor.auth_id_template.as_deref(), certificate.subject())?;
    claim.auth_id = Some(auth_id.as_str().into());
    let found = if anchor.auto_provisioning_enabled {
        credentials
            .get_or_provision(&tenant.id, &auth_id, certificate.as_der())
            .await
    } else {
        credentials
            .get(&tenant.id, CredentialsType::X509Cert, &auth_id)
            .await
    };
    let found = found.map_err(|error| Refused::Credentials {
        status: error.status,
    })?;
    claim.device = Some(found.device_id.as_str().into());
    if !found.enabled || found.kind != CredentialsType::X509Cert || found.auth_id != auth_id {
        return Err(Refused::UnusableCredentials);
    }
    Ok(Principal {
        tenant: tenant.id.as_str().into(),
        device: found.device_id.as_str().into(),
        auth_id: auth_id.into(),
        credentials: CredentialsType::X509Cert,
    })
}

/// The tenant that trusts the issuer; where that does not tell one, the host name's first label does.
async fn tenant(
    tenants: &TenantClient,
    source: Holder,
    issuer: &str,
    server_name: Option<&str>,
) -> Result<std::sync::Arc<Tenant>, Refused> {
    let failed = |error: ServiceError| Refused::Tenant {
        status: error.status,
    };
    match (tenants.by_subject_dn(source, issuer).await, server_name) {
        (Ok(tenant), _) => Ok(tenant),
        (Err(ServiceError { status: 404, .. }), Some(host)) => {
            let (label, _) = host.split_once('.').ok_or(Refused::NoTenantInServerName)?;
            tenants.by_id_from(source, label).await.map_err(failed)
        }
        (Err(error), _) => Err(failed(error)),
    }
}

/// The anchor that issued the certificate, and the one whose settings count: which is written as the issuer, else the same.
fn issuer<'a>(
    anchors: &'a [TenantAnchor],
    certificate: &Certificate,
    now: SystemTime,
) -> Result<(&'a TenantAnchor, &'a TenantAnchor), Refused> {
    let trusted: Vec<_> = anchors.iter().filter_map(trust_anchor).collect();
    let index = certificate.issued_by(
        &trusted.iter().map(|(_, it)| it.clone()).collect::<Vec<_>>(),
        now,
    )?;
    let (fitting, _) = trusted.get(index).ok_or(Refused::NoCertificate)?;
    let issuer = certificate.issuer();
    let mut written = anchors.iter().filter(|anchor| {
        anchor
            .subject_dn
            .as_deref()
            .is_some_and(|name| issuer.is_written(name))
    });
    Ok((fitting, written.next().unwrap_or(fitting)))
}

fn trust_anchor(anchor: &TenantAnchor) -> Option<(&TenantAnchor, TrustAnchor)> {
    let subject = match (&anchor.subject_dn_der, &anchor.subject_dn) {
        (Some(der), _) => AnchorName::Der(der.clone()),
        (None, Some(text)) => AnchorName::Text(text.clone()),
        (None, None) => return None,
    };
    Some((
        anchor,
        TrustAnchor {
            subject,
            public_key: anchor.public_key.clone(),
        },
    ))
}

/// Why a certificate is refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no certificate")]
    NoCertificate,
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("it is of X.509 version {version}")]
    Version { version: u8 },
    #[error("the tenant service answered {status}")]
    Tenant { status: u16 },
    #[error("nobody trusts the issuer, and the host name has no label that could be a tenant")]
    NoTenantInServerName,
    #[error("it is not known to be good: {0}")]
    Revocation(#[from] NotGood),
    #[error(transparent)]
    AuthId(#[from] UnusableTemplate),
    #[error("the credentials service answered {status}")]
    Credentials { status: u16 },
    #[error("the credentials are disabled, or of another kind or name")]
    UnusableCredentials,
}

impl Refused {
    fn reason(&self) -> Reason {
        match self {
            Self::NoCertificate => Reason::NoCertificate,
            Self::Certificate(error) => (*error).into(),
            Self::Version { .. } => Reason::CertificateVersion,
            Self::Tenant { status } => Reason::of_status(*status, Reason::CertificateUntrusted),
            Self::NoTenantInServerName => Reason::CertificateUntrusted,
            Self::Revocation(NotGood::Revoked) => Reason::CertificateRevoked,
            Self::Revocation(_) => Reason::RevocationUnknown,
            Self::AuthId(_) => Reason::CertificateTemplate,
            Self::Credentials { status } => Reason::of_status(*status, Reason::CertificateUnknown),
            Self::UnusableCredentials => Reason::CredentialsDisabled,
        }
    }
}

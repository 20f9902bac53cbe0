//! Why a peer is not taken for a device, and whom it claims to be as far as that is known. For operators only: no peer learns it.

use std::fmt;
use std::sync::Arc;

use super::Principal;
use observability::reason::Reason;

/// Whom a peer claims to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The tenant of the credentials.
    pub tenant: Option<Arc<str>>,
    /// The name that the credentials are looked for by.
    pub auth_id: Option<Arc<str>>,
    /// The device that the credentials are of; the registry has told it.
    pub device: Option<Arc<str>>,
}

/// Why there is no key for an identity, or a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whom the peer claims to be.
    pub claim: Claim,
    /// The reason.
    pub reason: Reason,
    /// What else operators may want to know.
    pub detail: Option<String>,
}

impl Claim {
    /// It is none of anybody, for this reason.
    #[must_use]
    pub const fn refused(self, reason: Reason) -> Refusal {
        Refusal {
            claim: self,
            reason,
            detail: None,
        }
    }

    /// As [`Claim::refused`], with what somebody said about it.
    #[must_use]
    pub fn refused_as(self, reason: Reason, detail: impl fmt::Display) -> Refusal {
        Refusal {
            claim: self,
            reason,
            detail: Some(detail.to_string()),
        }
    }
}

impl From<&Principal> for Claim {
    fn from(principal: &Principal) -> Self {
        Self {
            tenant: Some(Arc::clone(&principal.tenant)),
            auth_id: Some(Arc::clone(&principal.auth_id)),
            device: Some(Arc::clone(&principal.device)),
        }
    }
}

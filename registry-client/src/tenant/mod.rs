//! The Tenant API: who owns the devices, and what they may do (spec: registry-apis A.3).

mod client;
mod object;
mod limits;
mod trust_anchor;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::client::{Key, is_outdated};
pub use self::{
    client::{ABSENT_FOR, TenantClient, is_plausible},
    limits::{DataVolume, Period, ResourceLimits},
    object::{AdapterEntry, Sampling, Tenant, Tracing},
    trust_anchor::{Ocsp, TrustAnchor},
};

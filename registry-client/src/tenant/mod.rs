//! The Tenant API: who owns the devices, and what they may do (spec: registry-apis A.3).

mod object;
mod limits;
mod trust_anchor;
#[cfg(test)]
mod tests;

pub use self::{
    limits::{DataVolume, Period, ResourceLimits},
    object::{AdapterEntry, Sampling, Tenant, Tracing},
    trust_anchor::{Ocsp, TrustAnchor},
};

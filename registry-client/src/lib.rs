//! What the device registry knows, asked over AMQP 1.0 by request and response, and remembered for as long as it allows.
//!
//! ```text
//! look-up ─> tenant │ registration │ credentials ─> cache ─(miss)─> exchange ── request ──> the service
//!                                     ^                               │
//! notifications ── changes ───────────┘    object or error <─ response <────── response ────────┘
//! ```
//!
//! A look-up ends in an object or in a [`ServiceError`]: whatever keeps the service from answering is a 503,
//! never a verdict on the device.
//!
//! **Invariant.** Nothing a service sends makes this crate panic, and no key it sends is printed.

pub mod tenant;
pub mod registration;
pub mod credentials;
#[allow(dead_code, reason = "its callers are not there yet")]
mod cache;
#[allow(dead_code, reason = "its callers are not there yet")]
mod response;
mod members;
mod timestamp;
mod error;

pub use self::{
    cache::CacheConfig,
    credentials::{Credentials, CredentialsType},
    error::ServiceError,
    members::Malformed,
    registration::Assertion,
    tenant::Tenant,
};

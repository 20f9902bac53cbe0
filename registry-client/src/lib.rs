//! What the device registry knows, asked over AMQP 1.0 by request and response, and remembered for as long as it allows.
//!
//! ```text
//! look-up ─> tenant │ registration │ credentials ─> cache ─(miss)─> exchange ── request ──> the service
//!                                     ^                               │
//! notifications ── changes ───────────┘    object or error <─ response <────── response ────────┘
//! ```
//!
//! [`TenantClient`], [`RegistrationClient`] and [`CredentialsClient`] each speak one of Hono's APIs over a connection of
//! [`downstream`]. A look-up ends in an object or in a [`ServiceError`]: whatever keeps the service from answering is a 503,
//! never a verdict on the device.
//!
//! **Invariant.** Nothing a service sends makes this crate panic, and no key it sends is printed.

pub mod tenant;
pub mod registration;
pub mod credentials;
pub mod command_router;
pub mod notifications;
mod cache;
mod exchange;
mod response;
mod members;
mod timestamp;
mod error;

pub use self::{
    cache::CacheConfig,
    command_router::CommandRouterClient,
    credentials::{Credentials, CredentialsClient, CredentialsType},
    error::ServiceError,
    members::Malformed,
    notifications::Notifications,
    registration::{Assertion, RegistrationClient},
    tenant::{Tenant, TenantClient},
};

//! What the device registry knows, asked over AMQP 1.0 by request and response, and remembered for as long as it allows.
//!
//! ```text
//! look-up ─> tenant │ registration │ credentials ─> cache ─(miss)─> exchange ── request ──> the service
//!                                     ^                               │
//! notifications ── changes ───────────┘    object or error <─ response <────── response ────────┘
//! ```
//!
//! [`TenantClient`], [`RegistrationClient`] and [`CredentialsClient`] each speak one of Hono's APIs over a connection of
//! [`amqp_client`]. A look-up ends in an object or in a [`ServiceError`]: whatever keeps the service from answering is a 503,
//! never a verdict on the device.
//!
//! ```no_run
//! use std::time::SystemTime;
//!
//! use amqp_client::{Connection, ConnectionConfig};
//! use registry_client::{CacheConfig, CredentialsClient, CredentialsType, ServiceError};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = Connection::start("Credentials", ConnectionConfig::new("localhost", 5672))?;
//! let client = CredentialsClient::new(connection, CacheConfig::default());
//! match client.get("DEFAULT_TENANT", CredentialsType::Psk, "sensor1").await {
//!     Ok(credentials) => match credentials.psk(SystemTime::now()) {
//!         Some(_key) => println!("{} may prove who it is", credentials.device_id),
//!         None => println!("no key is valid now"),
//!     },
//!     Err(ServiceError { status: 404, .. }) => println!("nobody has that name"),
//!     Err(error) => println!("cannot tell: {error}"),
//! }
//! # Ok(()) }
//! ```
//!
//! What changes in the registry is forgotten when it says so, if [`Notifications`] are received. [`CommandRouterClient`] tells the
//! command router which device waits here.
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
mod base64;
mod timestamp;
mod error;

pub use self::{
    cache::CacheConfig,
    command_router::CommandRouterClient,
    credentials::{Credentials, CredentialsClient, CredentialsType},
    error::ServiceError,
    exchange::DeliveryObserver,
    members::Malformed,
    notifications::Notifications,
    registration::{Assertion, RegistrationClient},
    tenant::{Tenant, TenantClient},
};

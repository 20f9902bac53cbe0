//! What operators see of the adapter: metrics, spans and the reasons why devices are not served.
//!
//! This crate knows nothing of the adapter: its users pass in what they count or record.

pub mod reason;

pub mod metrics;

pub mod spans;

pub mod trace;

/// The name of this component in metrics and traces.
pub const COMPONENT: &str = "hono-coap";

//! What operators see: health checks, metrics and the places of messages in traces.

pub mod account;
pub mod checks;
pub mod health;
pub mod metrics;
pub mod trace;

//! What operators see: health checks, metrics and the places of messages in traces.

pub mod reason;
pub mod operator;
pub mod health;
mod http;
pub mod metrics;
pub mod spans;
pub mod trace;

//! What operators see: health checks, metrics and the places of messages in traces.

pub mod reason;
pub mod recent;
pub mod observer;
mod lines;
mod once;
pub mod operator;
pub mod account;
pub mod checks;
pub mod health;
mod http;
pub mod metrics;
pub mod spans;
pub mod trace;

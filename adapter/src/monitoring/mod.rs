//! What operators see: health checks and the places of messages in traces.

pub mod checks;
pub mod health;
pub mod trace;

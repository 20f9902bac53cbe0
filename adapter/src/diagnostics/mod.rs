//! What operators learn of devices and their requests: log lines, metrics, spans and the recent
//! events of each device, all with the same reasons.

pub mod account;
mod lines;
pub mod observer;
mod once;
pub mod recent;
pub(crate) mod request_span;

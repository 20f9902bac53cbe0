//! HTTP for operators: probes, the page of metrics, recent events of devices.

pub mod operator;
pub mod health;
mod http;

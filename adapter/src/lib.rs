//! The CoAP adapter.

pub mod config;
pub mod monitoring;

//! The CoAP adapter.

pub mod config;

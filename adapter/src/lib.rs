//! The CoAP adapter.

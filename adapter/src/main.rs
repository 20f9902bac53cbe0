//! The CoAP adapter binary.
fn main() {}

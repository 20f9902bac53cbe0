//! The server against independent clients, over real sockets on loopback.
//!
//! Skipped, loudly, where a client is missing. What works with each suite is in `tests/matrix`; here is what is refused, what no matrix
//! has a column for, and sessions that move.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "here the core meets a real peer, so somebody must own a socket and a clock"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod server;
mod peer;
mod openssl;
mod gnutls;
mod nat;
mod scandium;

//! Each hot operation by itself, so that its instructions can be counted: `cargo xtask counts` runs this package's program
//! under valgrind.
//!
//! Only what happens inside of [`Meter::count`] counts: how a state comes to be that an operation finds, and what peers do in
//! between, does not. Nothing depends on the time of day or on chance, but for the keys of hash tables and of TLS hellos.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever does not go as it should panics"
)]

mod meter;

mod dtls;

mod coap;

mod upload;

mod amqp;

pub use meter::Meter;

/// An operation that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// By what it is pinned.
    pub name: &'static str,
    /// What one operation is.
    pub what: &'static str,
    /// Does it many times.
    pub run: fn(&mut Meter<'_>),
}

/// All of them, in the order in which a datagram meets them.
#[must_use]
pub fn subjects() -> Vec<Subject> {
    [
        dtls::SUBJECTS.as_slice(),
        &coap::SUBJECTS,
        &upload::SUBJECTS,
        &amqp::SUBJECTS,
    ]
    .concat()
}

//! Tickets, and what is in them: `cargo +nightly fuzz run tickets` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::tickets(bytes));

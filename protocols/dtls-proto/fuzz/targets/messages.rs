//! The bodies of all handshake messages, and alerts: `cargo +nightly fuzz run messages` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::messages(bytes));

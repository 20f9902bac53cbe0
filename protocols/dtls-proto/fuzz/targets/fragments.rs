//! Handshake fragments, put together: `cargo +nightly fuzz run fragments` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::fragments(bytes));

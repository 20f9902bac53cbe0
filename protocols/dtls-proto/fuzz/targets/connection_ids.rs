//! The connection id of a datagram: `cargo +nightly fuzz run connection_ids` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::connection_ids(bytes));

//! The records of a datagram: `cargo +nightly fuzz run records` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::records(bytes));

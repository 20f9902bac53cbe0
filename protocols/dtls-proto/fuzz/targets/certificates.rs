//! Certificates and keys: `cargo +nightly fuzz run certificates` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::certificates(bytes));

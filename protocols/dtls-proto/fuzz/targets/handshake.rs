//! Datagrams of a client in handshake: `cargo +nightly fuzz run handshake` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::handshake(std::time::Instant::now(), bytes));

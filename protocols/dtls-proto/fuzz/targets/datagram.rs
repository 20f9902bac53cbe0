//! A stranger's datagram: `cargo +nightly fuzz run datagram` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dtls_proto::fuzzing::datagram(std::time::Instant::now(), bytes));

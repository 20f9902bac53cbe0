//! Bytes of a peer through a connection: `cargo +nightly fuzz run connection` in `protocols/amqp-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp_proto::fuzzing::connection(std::time::Instant::now(), bytes));

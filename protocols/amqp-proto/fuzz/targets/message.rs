//! The sections of a message: `cargo +nightly fuzz run message` in `protocols/amqp-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp_proto::fuzzing::message(bytes));

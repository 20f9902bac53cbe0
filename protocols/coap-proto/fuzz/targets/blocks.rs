//! Many transfers of blocks: `cargo +nightly fuzz run blocks` in `protocols/coap-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coap_proto::fuzzing::blocks(std::time::Instant::now(), bytes));

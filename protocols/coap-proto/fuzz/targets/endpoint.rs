//! Many datagrams through an endpoint: `cargo +nightly fuzz run endpoint` in `protocols/coap-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coap_proto::fuzzing::endpoint(std::time::Instant::now(), bytes));

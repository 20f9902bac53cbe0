//! One datagram through the codec: `cargo +nightly fuzz run decode` in `protocols/coap-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coap_proto::fuzzing::decode(bytes));

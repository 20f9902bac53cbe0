//! One datagram through the codec: `cargo +nightly fuzz run decode` in `adapter/coap-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coap_proto::fuzzing::decode(bytes));

//! Saved sessions: `cargo +nightly fuzz run saved_sessions` in `protocols/dtls-proto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let at = dtls_proto::Moment {
        now: std::time::Instant::now(),
        wall: std::time::SystemTime::UNIX_EPOCH,
    };
    dtls_proto::fuzzing::saved_sessions(at, bytes);
});

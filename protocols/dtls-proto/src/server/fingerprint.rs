//! Recognises copies of a ClientHello.

use ring::digest::{Context, SHA256};

use crate::codec::hello::ClientHello;

/// What two copies of one ClientHello have in common, and other hellos have not: a hash of all of it
/// but the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HelloFingerprint([u8; 16]);

impl HelloFingerprint {
    pub(crate) fn new(hello: &ClientHello<'_>) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&hello.version.0.to_be_bytes());
        for part in [
            hello.random.as_slice(),
            hello.session_id,
            hello.cipher_suites,
            hello.compression_methods,
            hello.extensions,
        ] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 16];
        for (byte, source) in fingerprint.iter_mut().zip(context.finish().as_ref()) {
            *byte = *source;
        }
        Self(fingerprint)
    }
}

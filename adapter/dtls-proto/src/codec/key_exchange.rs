//! Key exchange messages of the pre-shared key suites (RFC 4279 §2).

use crate::codec::{Malformed, Reader, put_vector16};

/// The body of a ServerKeyExchange: a hint which identity the client may use.
#[must_use]
pub fn encode_psk_identity_hint(hint: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_vector16(&mut out, hint);
    out
}

/// The hint in the body of a ServerKeyExchange.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_psk_identity_hint(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let hint = reader.vector16()?;
    reader.end()?;
    Ok(hint)
}

/// The body of a ClientKeyExchange: the identity whose key the client has.
#[must_use]
pub fn encode_psk_identity(identity: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_vector16(&mut out, identity);
    out
}

/// The identity in the body of a ClientKeyExchange.
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_psk_identity(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let identity = reader.vector16()?;
    reader.end()?;
    Ok(identity)
}

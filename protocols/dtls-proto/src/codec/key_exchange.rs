//! Key exchange messages (RFC 4279 §2, RFC 5489 §2, RFC 8422 §5.4, §5.7).

use crate::codec::{Malformed, Reader, put_vector8, put_vector16};

/// The server's half of an agreement on an elliptic curve (RFC 8422 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerEcdhParams<'a> {
    /// The code of the curve.
    pub group: u16,
    /// The server's point.
    pub public: &'a [u8],
}

impl<'a> ServerEcdhParams<'a> {
    /// Reads the parameters; a curve that is not named by its code is refused.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such parameters.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        if reader.u8()? != NAMED_CURVE {
            return Err(Malformed);
        }
        let group = reader.u16()?;
        let public = point(reader)?;
        Ok(Self { group, public })
    }

    /// Appends the parameters.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(NAMED_CURVE);
        out.extend_from_slice(&self.group.to_be_bytes());
        put_vector8(out, self.public);
    }
}

/// The body of a ServerKeyExchange with a pre-shared key: a hint which identity the client may use, and the server's half of an
/// agreement if there is one (RFC 4279 §2, RFC 5489 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PskServerKeyExchange<'a> {
    /// The hint; empty for none.
    pub hint: &'a [u8],
    /// The server's half of an agreement.
    pub ecdh: Option<ServerEcdhParams<'a>>,
}

impl<'a> PskServerKeyExchange<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let hint = reader.vector16()?;
        let ecdh = if reader.is_empty() {
            None
        } else {
            Some(ServerEcdhParams::decode(&mut reader)?)
        };
        reader.end()?;
        Ok(Self { hint, ecdh })
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vector16(&mut out, self.hint);
        if let Some(ecdh) = &self.ecdh {
            ecdh.encode(&mut out);
        }
        out
    }
}

/// The body of a ClientKeyExchange with a pre-shared key: the identity whose key the client has, and its half of an agreement if
/// there is one (RFC 4279 §2, RFC 5489 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PskClientKeyExchange<'a> {
    /// The identity.
    pub identity: &'a [u8],
    /// The client's point.
    pub public: Option<&'a [u8]>,
}

impl<'a> PskClientKeyExchange<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let identity = reader.vector16()?;
        let public = if reader.is_empty() {
            None
        } else {
            Some(point(&mut reader)?)
        };
        reader.end()?;
        Ok(Self { identity, public })
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vector16(&mut out, self.identity);
        if let Some(public) = self.public {
            put_vector8(&mut out, public);
        }
        out
    }
}

/// Reads the body of a ClientKeyExchange of an agreement without a pre-shared key: the client's point (RFC 8422 §5.7).
///
/// # Errors
/// [`Malformed`] for bytes that are no such message.
pub fn decode_client_point(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let point = point(&mut reader)?;
    reader.end()?;
    Ok(point)
}

/// The body of a ClientKeyExchange of an agreement without a pre-shared key.
#[must_use]
pub fn encode_client_point(point: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_vector8(&mut out, point);
    out
}

/// A point is never empty.
fn point<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let point = reader.vector8()?;
    if point.is_empty() {
        return Err(Malformed);
    }
    Ok(point)
}

/// The curve is one of the registry's (RFC 8422 §5.4); all other kinds are gone.
const NAMED_CURVE: u8 = 3;

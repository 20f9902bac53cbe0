//! ClientHello, HelloVerifyRequest and ServerHello (RFC 6347 §4.2.1, RFC 5246 §7.4.1).

use crate::codec::{Malformed, ProtocolVersion, Reader, put_vector8, put_vector16};

/// The 32 random bytes of a hello.
pub type Random = [u8; 32];

/// What a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The highest version the client speaks.
    pub version: ProtocolVersion,
    /// The client's random; the same in the hello with cookie as in the one without.
    pub random: Random,
    /// A session to resume; empty for a full handshake.
    pub session_id: &'a [u8],
    /// What the server demanded in its HelloVerifyRequest; empty at first.
    pub cookie: &'a [u8],
    /// Two bytes a suite, the client's favourite first.
    pub cipher_suites: &'a [u8],
    /// One byte a method.
    pub compression_methods: &'a [u8],
    /// The extensions block, without its length.
    pub extensions: &'a [u8],
}

/// The start of a ClientHello, up to the cookie: what its first fragment shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHelloStart<'a> {
    /// The highest version the client speaks.
    pub version: ProtocolVersion,
    /// The client's random.
    pub random: Random,
    /// A session to resume; empty for a full handshake.
    pub session_id: &'a [u8],
    /// What the server demanded in its HelloVerifyRequest; empty at first.
    pub cookie: &'a [u8],
}

impl<'a> ClientHelloStart<'a> {
    /// Reads the start of the message's body, of which more may follow.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that end before the cookie does, or are no ClientHello.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(body))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let start = Self {
            version: ProtocolVersion(reader.u16()?),
            random: reader.array()?,
            session_id: reader.vector8()?,
            cookie: reader.vector8()?,
        };
        if start.session_id.len() > MAX_SESSION_ID {
            return Err(Malformed);
        }
        Ok(start)
    }
}

impl<'a> ClientHello<'a> {
    /// What the first fragment shows of it.
    #[must_use]
    pub fn start(&self) -> ClientHelloStart<'a> {
        ClientHelloStart {
            version: self.version,
            random: self.random,
            session_id: self.session_id,
            cookie: self.cookie,
        }
    }

    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no ClientHello.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let ClientHelloStart {
            version,
            random,
            session_id,
            cookie,
        } = ClientHelloStart::read(&mut reader)?;
        let cipher_suites = reader.vector16()?;
        let compression_methods = reader.vector8()?;
        let extensions = if reader.is_empty() {
            &[]
        } else {
            reader.vector16()?
        };
        reader.end()?;
        let well_formed = !cipher_suites.is_empty()
            && cipher_suites.len().is_multiple_of(2)
            && !compression_methods.is_empty();
        if !well_formed {
            return Err(Malformed);
        }
        Ok(Self {
            version,
            random,
            session_id,
            cookie,
            cipher_suites,
            compression_methods,
            extensions,
        })
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.version.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        put_vector8(&mut out, self.session_id);
        put_vector8(&mut out, self.cookie);
        put_vector16(&mut out, self.cipher_suites);
        put_vector8(&mut out, self.compression_methods);
        if !self.extensions.is_empty() {
            put_vector16(&mut out, self.extensions);
        }
        out
    }

    /// The suites' codes in the client's order.
    pub fn suites(&self) -> impl Iterator<Item = u16> + 'a {
        self.cipher_suites
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(u16::from_be_bytes)
    }
}

/// What a server demands before it believes in the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloVerifyRequest<'a> {
    /// DTLS 1.0 as RFC 6347 §4.2.1 recommends, or the version that follows.
    pub version: ProtocolVersion,
    /// What the client must return.
    pub cookie: &'a [u8],
}

impl<'a> HelloVerifyRequest<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no HelloVerifyRequest.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let request = Self {
            version: ProtocolVersion(reader.u16()?),
            cookie: reader.vector8()?,
        };
        reader.end()?;
        Ok(request)
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.version.0.to_be_bytes());
        put_vector8(&mut out, self.cookie);
        out
    }
}

/// What a server chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello<'a> {
    /// The version both will speak.
    pub version: ProtocolVersion,
    /// The server's random.
    pub random: Random,
    /// Empty: the session can't be resumed.
    pub session_id: &'a [u8],
    /// The chosen suite's code.
    pub cipher_suite: u16,
    /// The chosen compression; only 0, none, is used.
    pub compression_method: u8,
    /// The extensions block, without its length.
    pub extensions: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no ServerHello.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let hello = Self {
            version: ProtocolVersion(reader.u16()?),
            random: reader.array()?,
            session_id: reader.vector8()?,
            cipher_suite: reader.u16()?,
            compression_method: reader.u8()?,
            extensions: if reader.is_empty() {
                &[]
            } else {
                reader.vector16()?
            },
        };
        reader.end()?;
        Ok(hello)
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.version.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        put_vector8(&mut out, self.session_id);
        out.extend_from_slice(&self.cipher_suite.to_be_bytes());
        out.push(self.compression_method);
        if !self.extensions.is_empty() {
            put_vector16(&mut out, self.extensions);
        }
        out
    }
}

/// RFC 5246 §7.4.1.2.
const MAX_SESSION_ID: usize = 32;

/// "Secure renegotiation is understood", said as a suite (RFC 5746 §3.3).
pub const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;

/// No compression, the only method that is safe.
pub const NULL_COMPRESSION: u8 = 0;

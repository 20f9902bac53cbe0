//! The handshake header with its fragment fields (RFC 6347 §4.2.2).

use crate::codec::{Malformed, Reader, put_u24};

/// Which handshake message it is (RFC 6347 §4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// The client's offer, with or without cookie.
    pub const CLIENT_HELLO: Self = Self(1);
    /// The server's choice.
    pub const SERVER_HELLO: Self = Self(2);
    /// The server's demand for a cookie.
    pub const HELLO_VERIFY_REQUEST: Self = Self(3);
    /// What the client may come back with (RFC 5077 §3.3).
    pub const NEW_SESSION_TICKET: Self = Self(4);
    /// The sender's certificate with those that vouch for it.
    pub const CERTIFICATE: Self = Self(11);
    /// The server's part of the key exchange; with a pre-shared key, a hint.
    pub const SERVER_KEY_EXCHANGE: Self = Self(12);
    /// The server's wish to see the client's certificate.
    pub const CERTIFICATE_REQUEST: Self = Self(13);
    /// The server has sent its flight.
    pub const SERVER_HELLO_DONE: Self = Self(14);
    /// The client's proof that it has the key of its certificate.
    pub const CERTIFICATE_VERIFY: Self = Self(15);
    /// The client's part of the key exchange; with a pre-shared key, its identity.
    pub const CLIENT_KEY_EXCHANGE: Self = Self(16);
    /// The proof that both saw the same handshake and have the same keys.
    pub const FINISHED: Self = Self(20);
}

/// The twelve bytes before each fragment of a handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeHeader {
    /// Which message.
    pub message_type: HandshakeType,
    /// Length of the whole message's body, 24 bits.
    pub length: u32,
    /// The message's number among those of its sender in this handshake.
    pub message_seq: u16,
    /// Where in the body the fragment begins.
    pub fragment_offset: u32,
    /// Length of this fragment.
    pub fragment_length: u32,
}

/// A fragment of a handshake message, possibly all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// What it is a fragment of.
    pub header: HandshakeHeader,
    /// The bytes.
    pub body: &'a [u8],
}

impl HandshakeHeader {
    /// Type, length, message number, fragment offset and length.
    pub const LENGTH: usize = 12;

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.message_type.0);
        put_u24(out, self.length);
        out.extend_from_slice(&self.message_seq.to_be_bytes());
        put_u24(out, self.fragment_offset);
        put_u24(out, self.fragment_length);
    }
}

impl<'a> Fragment<'a> {
    /// Takes the next fragment out of a record; a record may hold several.
    ///
    /// # Errors
    /// [`Malformed`] if the fragment is longer than what is left, or lies outside of its message.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let header = HandshakeHeader {
            message_type: HandshakeType(reader.u8()?),
            length: reader.u24()?,
            message_seq: reader.u16()?,
            fragment_offset: reader.u24()?,
            fragment_length: reader.u24()?,
        };
        let end = header
            .fragment_offset
            .checked_add(header.fragment_length)
            .ok_or(Malformed)?;
        if end > header.length {
            return Err(Malformed);
        }
        let length = usize::try_from(header.fragment_length).map_err(|_| Malformed)?;
        Ok(Self {
            header,
            body: reader.bytes(length)?,
        })
    }

    /// Whether this is the message in one piece.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.header.fragment_length == self.header.length
    }
}

/// The fragments in a handshake record, up to the first that can't be decoded.
pub fn read_fragments(record: &[u8]) -> impl Iterator<Item = Result<Fragment<'_>, Malformed>> {
    let mut reader = Reader::new(record);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let fragment = Fragment::decode(&mut reader);
        if fragment.is_err() {
            reader.remaining();
        }
        Some(fragment)
    })
}

/// A whole handshake message: header (as one fragment, as the transcript wants it, RFC 6347 §4.2.6) and body.
#[must_use]
pub fn message(message_type: HandshakeType, message_seq: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = HandshakeHeader {
        message_type,
        length,
        message_seq,
        fragment_offset: 0,
        fragment_length: length,
    };
    let mut out = Vec::with_capacity(HandshakeHeader::LENGTH.saturating_add(body.len()));
    header.encode(&mut out);
    out.extend_from_slice(body);
    out
}

/// Cuts a whole message (as [`message`] makes it) into fragments of at most `max_body` bytes, each with its header.
#[must_use]
pub fn fragments(whole: &[u8], max_body: usize) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(whole);
    let Ok(Fragment { header, body }) = Fragment::decode(&mut reader) else {
        return Vec::new();
    };
    if body.len() <= max_body {
        return vec![whole.to_vec()];
    }
    let mut offset = 0_u32;
    body.chunks(max_body.max(1))
        .map(|chunk| {
            let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let mut out = Vec::with_capacity(HandshakeHeader::LENGTH.saturating_add(chunk.len()));
            HandshakeHeader {
                fragment_offset: offset,
                fragment_length: length,
                ..header
            }
            .encode(&mut out);
            out.extend_from_slice(chunk);
            offset = offset.saturating_add(length);
            out
        })
        .collect()
}

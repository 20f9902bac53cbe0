//! NewSessionTicket (RFC 5077 §3.3).

use crate::codec::{Malformed, Reader, put_vector16};

/// What a client may come back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSessionTicket<'a> {
    /// For how many seconds it may be good; 0 if the server does not say.
    pub lifetime_hint: u32,
    /// The ticket, which only the server understands; empty if there is none after all.
    pub ticket: &'a [u8],
}

impl<'a> NewSessionTicket<'a> {
    /// Reads the body of the message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are no such message.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = Self {
            lifetime_hint: u32::from_be_bytes(reader.array()?),
            ticket: reader.vector16()?,
        };
        reader.end()?;
        Ok(message)
    }

    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.lifetime_hint.to_be_bytes().to_vec();
        put_vector16(&mut out, self.ticket);
        out
    }
}

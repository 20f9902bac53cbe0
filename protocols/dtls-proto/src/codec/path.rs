//! Messages by which a peer proves that it can be reached at an address (RFC 9853).

use crate::codec::{Malformed, Reader};

/// One message, the whole content of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathMessage {
    /// What it is about.
    pub kind: PathMessageType,
    /// What the answer must repeat.
    pub cookie: [u8; 8],
}

/// What a [`PathMessage`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathMessageType {
    /// Asks for an answer over the path it came by.
    Challenge,
    /// The answer: the path is good.
    Response,
    /// The answer: the path works, but another is preferred.
    Drop,
}

impl PathMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that are none, or of a type that isn't known; both are to be ignored.
    pub fn decode(content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let kind = match reader.u8()? {
            0 => PathMessageType::Challenge,
            1 => PathMessageType::Response,
            2 => PathMessageType::Drop,
            _ => return Err(Malformed),
        };
        let cookie = reader.array()?;
        reader.end()?;
        Ok(Self { kind, cookie })
    }

    /// The message as it stands on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; 9] {
        let kind = match self.kind {
            PathMessageType::Challenge => 0,
            PathMessageType::Response => 1,
            PathMessageType::Drop => 2,
        };
        let [a, b, c, d, e, f, g, h] = self.cookie;
        [kind, a, b, c, d, e, f, g, h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_a_type_and_eight_bytes() {
        for (number, kind) in [
            PathMessageType::Challenge,
            PathMessageType::Response,
            PathMessageType::Drop,
        ]
        .into_iter()
        .enumerate()
        {
            let cookie = [1, 2, 3, 4, 5, 6, 7, 8];
            let bytes = PathMessage { kind, cookie }.encode();
            assert_eq!(usize::from(bytes[0]), number);
            assert_eq!(bytes[1..], cookie);
            assert_eq!(
                PathMessage::decode(&bytes),
                Ok(PathMessage { kind, cookie })
            );
        }
        for wrong in [&[][..], &[0], &[0; 8], &[0; 10], &[3; 9]] {
            assert_eq!(PathMessage::decode(wrong), Err(Malformed));
        }
    }
}

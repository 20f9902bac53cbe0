//! The record header (RFC 6347 §4.1) and the splitting of a datagram into records.

use crate::codec::{Malformed, ProtocolVersion, Reader, put_u48};

/// What a record carries (RFC 5246 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType(pub u8);

impl ContentType {
    /// The switch to the keys just negotiated.
    pub const CHANGE_CIPHER_SPEC: Self = Self(20);
    /// A warning or the end.
    pub const ALERT: Self = Self(21);
    /// Handshake messages or fragments of them.
    pub const HANDSHAKE: Self = Self(22);
    /// What the association is for.
    pub const APPLICATION_DATA: Self = Self(23);
}

/// Everything of a record but its fragment and the fragment's length.
///
/// A connection id (RFC 9146) would be one more field here: all lengths are asked from this type, and the additional data of the
/// cipher is built by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the fragment is.
    pub content_type: ContentType,
    /// The version the sender believes in.
    pub version: ProtocolVersion,
    /// Counts the changes of keys; 0 is plaintext.
    pub epoch: u16,
    /// Counts records in one epoch; 48 bits.
    pub sequence: u64,
}

/// One record of a datagram, and what follows it.
#[derive(Debug)]
pub struct Split<'a> {
    /// The record's header.
    pub header: RecordHeader,
    /// The record's fragment: plaintext in epoch 0, else explicit nonce, ciphertext and tag.
    pub fragment: &'a mut [u8],
    /// The bytes behind the record: the next record, or nothing.
    pub rest: &'a mut [u8],
}

impl RecordHeader {
    /// The header of a DTLS 1.2 record.
    #[must_use]
    pub fn new(content_type: ContentType, epoch: u16, sequence: u64) -> Self {
        Self {
            content_type,
            version: ProtocolVersion::DTLS_1_2,
            epoch,
            sequence,
        }
    }

    /// How many bytes [`RecordHeader::encode`] appends.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        HEADER_LENGTH
    }

    /// Appends the header of a record whose fragment has `length` bytes.
    pub fn encode(&self, length: u16, out: &mut Vec<u8>) {
        out.push(self.content_type.0);
        out.extend_from_slice(&self.version.0.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        put_u48(out, self.sequence);
        out.extend_from_slice(&length.to_be_bytes());
    }

    /// Epoch and sequence number as the 64 bits that stand on the wire, in the nonce and in the additional data.
    #[must_use]
    pub fn epoch_and_sequence(&self) -> [u8; 8] {
        let [e0, e1] = self.epoch.to_be_bytes();
        let [_, _, s0, s1, s2, s3, s4, s5] = self.sequence.to_be_bytes();
        [e0, e1, s0, s1, s2, s3, s4, s5]
    }

    /// What the cipher authenticates beside the plaintext (RFC 5246 §6.2.3.3).
    #[must_use]
    pub fn additional_data(&self, plaintext_length: u16) -> [u8; 13] {
        let [a, b, c, d, e, f, g, h] = self.epoch_and_sequence();
        let [v0, v1] = self.version.0.to_be_bytes();
        let [l0, l1] = plaintext_length.to_be_bytes();
        [a, b, c, d, e, f, g, h, self.content_type.0, v0, v1, l0, l1]
    }
}

/// Takes the first record off `datagram`.
///
/// # Errors
/// [`Malformed`] if the datagram ends before the record does; then nothing behind it can be found either.
pub fn split_first(datagram: &mut [u8]) -> Result<Split<'_>, Malformed> {
    let (header, behind) = datagram
        .split_at_mut_checked(HEADER_LENGTH)
        .ok_or(Malformed)?;
    let mut reader = Reader::new(header);
    let header = RecordHeader {
        content_type: ContentType(reader.u8()?),
        version: ProtocolVersion(reader.u16()?),
        epoch: reader.u16()?,
        sequence: reader.u48()?,
    };
    let length = usize::from(reader.u16()?);
    let (fragment, rest) = behind.split_at_mut_checked(length).ok_or(Malformed)?;
    Ok(Split {
        header,
        fragment,
        rest,
    })
}

/// Appends a whole plaintext record; a fragment past 65,535 bytes is cut off.
pub fn put_plain_record(header: RecordHeader, fragment: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX);
    header.encode(length, out);
    out.extend(fragment.iter().take(usize::from(length)));
}

/// The highest sequence number a record can carry (48 bits).
pub const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// The most plaintext a record may carry (RFC 5246 §6.2.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// Type, version, epoch, sequence number and length.
pub const HEADER_LENGTH: usize = 13;

//! The record header (RFC 6347 §4.1, RFC 9146 §4) and the splitting of a datagram into records.

use crate::codec::connection_id::ConnectionId;
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
    /// Anything, protected, with a connection id; what it is stands behind the content (RFC 9146 §4).
    pub const TLS12_CID: Self = Self(25);
    /// Whether a path leads to the peer (RFC 9853).
    pub const RETURN_ROUTABILITY_CHECK: Self = Self(27);
}

/// Everything of a record but its fragment and the fragment's length.
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
    /// Whose record it is; empty but in records of type [`ContentType::TLS12_CID`].
    pub connection_id: ConnectionId,
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
            connection_id: ConnectionId::EMPTY,
        }
    }

    /// The header of a DTLS 1.2 record with a connection id.
    #[must_use]
    pub fn with_connection_id(connection_id: ConnectionId, epoch: u16, sequence: u64) -> Self {
        Self {
            connection_id,
            ..Self::new(ContentType::TLS12_CID, epoch, sequence)
        }
    }

    /// How many bytes [`RecordHeader::encode`] appends.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        HEADER_LENGTH.saturating_add(self.connection_id.len())
    }

    /// Appends the header of a record whose fragment has `length` bytes.
    pub fn encode(&self, length: u16, out: &mut Vec<u8>) {
        out.push(self.content_type.0);
        out.extend_from_slice(&self.version.0.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        put_u48(out, self.sequence);
        out.extend_from_slice(self.connection_id.as_ref());
        out.extend_from_slice(&length.to_be_bytes());
    }

    /// Epoch and sequence number as the 64 bits that stand on the wire, in the nonce and in the additional data.
    #[must_use]
    pub fn epoch_and_sequence(&self) -> [u8; 8] {
        let [e0, e1] = self.epoch.to_be_bytes();
        let [_, _, s0, s1, s2, s3, s4, s5] = self.sequence.to_be_bytes();
        [e0, e1, s0, s1, s2, s3, s4, s5]
    }

    /// What the cipher authenticates beside the plaintext (RFC 5246 §6.2.3.3; with a connection id RFC 9146 §5.3).
    #[must_use]
    pub fn additional_data(&self, plaintext_length: u16) -> AdditionalData {
        let mut data = AdditionalData {
            bytes: [0; MAX_ADDITIONAL_DATA],
            length: 0,
        };
        let (sequence, kind) = (self.epoch_and_sequence(), [self.content_type.0]);
        if self.content_type == ContentType::TLS12_CID {
            let id = self.connection_id.as_ref();
            // No sequence number can be this one, so no other record has the same additional data.
            data.put(&[0xff; 8]);
            data.put(&kind);
            data.put(&[self.connection_id.length()]);
            data.put(&kind);
            data.put(&self.version.0.to_be_bytes());
            data.put(&sequence);
            data.put(id);
        } else {
            data.put(&sequence);
            data.put(&kind);
            data.put(&self.version.0.to_be_bytes());
        }
        data.put(&plaintext_length.to_be_bytes());
        data
    }
}

/// What a cipher authenticates beside the plaintext.
#[derive(Debug, Clone, Copy)]
pub struct AdditionalData {
    bytes: [u8; MAX_ADDITIONAL_DATA],
    length: usize,
}

impl AdditionalData {
    fn put(&mut self, part: &[u8]) {
        let end = self.length.saturating_add(part.len());
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(part);
            self.length = end;
        }
    }
}

impl AsRef<[u8]> for AdditionalData {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Takes the first record off `datagram`. A connection id of `id_length` bytes is expected where the record's type says that it has
/// one (RFC 9146 §4: the length is the receiver's own affair).
///
/// # Errors
/// [`Malformed`] if the datagram ends before the record does; then nothing behind it can be found either.
pub fn split_first(datagram: &mut [u8], id_length: usize) -> Result<Split<'_>, Malformed> {
    let has_id = datagram.first() == Some(&ContentType::TLS12_CID.0);
    let id_length = if has_id { id_length } else { 0 };
    let (header, behind) = datagram
        .split_at_mut_checked(HEADER_LENGTH.saturating_add(id_length))
        .ok_or(Malformed)?;
    let mut reader = Reader::new(header);
    let header = RecordHeader {
        content_type: ContentType(reader.u8()?),
        version: ProtocolVersion(reader.u16()?),
        epoch: reader.u16()?,
        sequence: reader.u48()?,
        connection_id: ConnectionId::new(reader.bytes(id_length)?).ok_or(Malformed)?,
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

/// Type, version, epoch, sequence number and length; a connection id comes on top.
pub const HEADER_LENGTH: usize = 13;

/// Of a record with the longest connection id.
const MAX_ADDITIONAL_DATA: usize = 8 + 3 + 2 + 8 + ConnectionId::MAX_LENGTH + 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_data_stands_as_rfc_5246_has_it() {
        let header = RecordHeader::new(ContentType::APPLICATION_DATA, 1, 0x0203_0405_0607);
        assert_eq!(
            header.additional_data(0x1112).as_ref(),
            [0, 1, 2, 3, 4, 5, 6, 7, 23, 0xfe, 0xfd, 0x11, 0x12]
        );
    }

    #[test]
    fn additional_data_of_a_connection_id_stands_as_rfc_9146_has_it() {
        let id = ConnectionId::new(&[0xa, 0xb]).unwrap();
        let header = RecordHeader::with_connection_id(id, 1, 0x0203_0405_0607);
        let expected = [
            &[0xff; 8][..],      // seq_num_placeholder
            &[25, 2, 25],        // tls12_cid, cid_length, tls12_cid
            &[0xfe, 0xfd],       // version
            &[0, 1],             // epoch
            &[2, 3, 4, 5, 6, 7], // sequence_number, read with the epoch as 8 bytes
            &[0xa, 0xb],         // cid
            &[0x11, 0x12],       // length_of_DTLSInnerPlaintext
        ]
        .concat();
        assert_eq!(header.additional_data(0x1112).as_ref(), expected.as_slice());
    }
}

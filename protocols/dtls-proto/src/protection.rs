//! Protected records of one epoch: keys of both directions, our sequence numbers, the window against replay (RFC 6347 §4.1.2), and
//! connection ids (RFC 9146).

use thiserror::Error;

use crate::codec::connection_id::ConnectionId;
use crate::codec::record::{ContentType, HEADER_LENGTH, MAX_PLAINTEXT, MAX_SEQUENCE, RecordHeader};
use crate::codec::{Malformed, Reader, put_vector8};
use crate::crypto::{Aead, Keys, RecordKey, Side};

/// What is needed to send and receive in one epoch.
#[derive(Debug)]
pub struct Protection {
    epoch: u16,
    read: RecordKey,
    write: RecordKey,
    window: ReplayWindow,
    next_sequence: u64,
    /// Apart, because most associations have none.
    connection_ids: Option<Box<IdPair>>,
}

/// The connection ids of both directions; an empty one means that the records of its direction carry none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPair {
    /// What the peer's records carry.
    pub ours: ConnectionId,
    /// What our records carry.
    pub peers: ConnectionId,
}

/// The content of a record that was authentic.
#[derive(Debug)]
pub struct Opened<'a> {
    /// What it is; with a connection id, what stood behind the content.
    pub content_type: ContentType,
    /// The content.
    pub plaintext: &'a mut [u8],
    /// Whether no later record has been seen.
    pub is_newest: bool,
}

/// Why a record was not opened. The peer is told nothing (RFC 6347 §4.1.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It was opened before, or is so old that nobody can tell.
    #[error("seen before or too old")]
    Replayed,
    /// It was not sealed with the peer's key, or changed on the way.
    #[error("not authentic")]
    NotAuthentic,
    /// It carries more plaintext than the peer may send in one record.
    #[error("too long")]
    TooLong,
}

/// Why a record was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// All 2^48 sequence numbers of the epoch are used; the association must end (RFC 6347 §4.1).
    #[error("no sequence numbers left")]
    Exhausted,
    /// The plaintext doesn't fit into a record.
    #[error("too long for a record")]
    TooLong,
}

impl Protection {
    /// Epoch 1, as seen by `side`.
    #[must_use]
    pub fn new(side: Side, keys: Keys) -> Self {
        let (read, write) = match side {
            Side::Client => (keys.server, keys.client),
            Side::Server => (keys.client, keys.server),
        };
        Self {
            epoch: 1,
            read,
            write,
            window: ReplayWindow::default(),
            next_sequence: 0,
            connection_ids: None,
        }
    }

    /// The same, with connection ids in the records of the directions that have one.
    #[must_use]
    pub fn with_connection_ids(mut self, ids: Option<IdPair>) -> Self {
        self.connection_ids = ids
            .filter(|ids| !ids.ours.is_empty() || !ids.peers.is_empty())
            .map(Box::new);
        self
    }

    /// The id the peer's records carry; empty if they carry none.
    #[must_use]
    pub fn our_id(&self) -> ConnectionId {
        self.connection_ids
            .as_ref()
            .map_or(ConnectionId::EMPTY, |ids| ids.ours)
    }

    fn peers_id(&self) -> ConnectionId {
        self.connection_ids
            .as_ref()
            .map_or(ConnectionId::EMPTY, |ids| ids.peers)
    }

    /// How many bytes a record has beside its plaintext.
    #[must_use]
    pub fn record_overhead(&self) -> usize {
        let id = self.peers_id();
        // Behind the content stands what it is.
        let inner = usize::from(!id.is_empty());
        HEADER_LENGTH
            .saturating_add(id.len())
            .saturating_add(inner)
            .saturating_add(self.aead().overhead())
    }

    /// Whether there is a sequence number left.
    #[must_use]
    pub fn can_seal(&self) -> bool {
        self.next_sequence <= MAX_SEQUENCE
    }

    /// The epoch of the records it can open.
    #[must_use]
    pub fn epoch(&self) -> u16 {
        self.epoch
    }

    /// The cipher in use.
    #[must_use]
    pub fn aead(&self) -> Aead {
        self.write.aead()
    }

    /// Appends a whole protected record.
    ///
    /// # Errors
    /// [`SealError`] if the epoch is used up or the plaintext too long.
    pub fn seal(
        &mut self,
        content_type: ContentType,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if !self.can_seal() {
            return Err(SealError::Exhausted);
        }
        let (epoch, sequence, id) = (self.epoch, self.next_sequence, self.peers_id());
        let sealed = if id.is_empty() {
            let header = RecordHeader::new(content_type, epoch, sequence);
            self.write.seal(header, &[plaintext], out)
        } else {
            let header = RecordHeader::with_connection_id(id, epoch, sequence);
            self.write
                .seal(header, &[plaintext, &[content_type.0]], out)
        };
        sealed.ok_or(SealError::TooLong)?;
        self.next_sequence = self.next_sequence.saturating_add(1);
        Ok(())
    }

    /// Decrypts a record in place, once: a second copy is refused.
    ///
    /// # Errors
    /// [`OpenError`]; the record must then be dropped in silence.
    pub fn open<'a>(
        &mut self,
        header: RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<Opened<'a>, OpenError> {
        self.open_within(MAX_PLAINTEXT, header, fragment)
    }

    /// The same for a peer whose records may have no more than `limit` bytes of plaintext.
    ///
    /// # Errors
    /// [`OpenError`]; the record must then be dropped in silence.
    pub fn open_within<'a>(
        &mut self,
        limit: usize,
        header: RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<Opened<'a>, OpenError> {
        let inner_type = usize::from(header.content_type == ContentType::TLS12_CID);
        let beside = self.read.aead().overhead().saturating_add(inner_type);
        if fragment.len().saturating_sub(beside) > limit {
            return Err(OpenError::TooLong);
        }
        if !self.window.is_new(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let (content_type, plaintext) = self.decrypt(header, fragment)?;
        let is_newest = self.window.age(header.sequence).is_none();
        // Only what is authentic may move the window, else a forger could shut it for the true peer.
        self.window.insert(header.sequence);
        Ok(Opened {
            content_type,
            plaintext,
            is_newest,
        })
    }

    /// What a record carries. With a connection id that shows only when it is decrypted; `None` if
    /// it cannot be.
    #[must_use]
    pub fn content_type(&self, header: RecordHeader, fragment: &[u8]) -> Option<ContentType> {
        if header.content_type != ContentType::TLS12_CID {
            return Some(header.content_type);
        }
        let mut copy = fragment.to_vec();
        let decrypted = self.decrypt(header, &mut copy);
        decrypted.ok().map(|(content_type, _)| content_type)
    }

    fn decrypt<'a>(
        &self,
        header: RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<(ContentType, &'a mut [u8]), OpenError> {
        let (has_id, id) = (header.content_type == ContentType::TLS12_CID, self.our_id());
        // Whoever was told an id must use it, and nobody else may (RFC 9146 §4).
        if has_id == id.is_empty() || header.connection_id != id {
            return Err(OpenError::NotAuthentic);
        }
        let plaintext = self
            .read
            .open(header, fragment)
            .ok_or(OpenError::NotAuthentic)?;
        if has_id {
            inner(plaintext).ok_or(OpenError::NotAuthentic)
        } else {
            Ok((header.content_type, plaintext))
        }
    }

    /// Appends what is needed to go on.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for key in [&self.read, &self.write] {
            key.put(out);
        }
        for number in [self.window.end, self.window.seen, self.next_sequence] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for id in [self.our_id(), self.peers_id()] {
            put_vector8(out, id.as_ref());
        }
    }

    /// Reads what [`Protection::put`] wrote. Our sequence numbers go on `jump` later; past the end of the epoch nothing can be sent.
    pub(crate) fn read(aead: Aead, jump: u64, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let read = RecordKey::read(aead, reader)?;
        let write = RecordKey::read(aead, reader)?;
        let mut number = || reader.array().map(u64::from_be_bytes);
        let (end, seen, next_sequence) = (number()?, number()?, number()?);
        let ids = IdPair {
            ours: ConnectionId::new(reader.vector8()?).ok_or(Malformed)?,
            peers: ConnectionId::new(reader.vector8()?).ok_or(Malformed)?,
        };
        let protection = Self {
            epoch: 1,
            read,
            write,
            window: ReplayWindow { end, seen },
            next_sequence: next_sequence.saturating_add(jump),
            connection_ids: None,
        };
        Ok(protection.with_connection_ids(Some(ids)))
    }

    /// Goes on with this sequence number; for tests of the end of an epoch.
    #[doc(hidden)]
    pub fn skip_to_sequence(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }
}

/// Parts content and type, behind which there may be zeros (RFC 9146 §4); `None` if there is nothing else.
fn inner(plaintext: &mut [u8]) -> Option<(ContentType, &mut [u8])> {
    let at = plaintext.iter().rposition(|byte| *byte != 0)?;
    let (content, behind) = plaintext.split_at_mut_checked(at)?;
    Some((ContentType(*behind.first()?), content))
}

/// Which of the newest 64 sequence numbers were seen (RFC 6347 §4.1.2.6).
#[derive(Debug, Clone, Copy, Default)]
struct ReplayWindow {
    /// The number after the newest seen.
    end: u64,
    /// Bit 0 is `end - 1`, bit 63 the oldest number still told apart.
    seen: u64,
}

impl ReplayWindow {
    fn is_new(&self, sequence: u64) -> bool {
        match self.age(sequence) {
            None => true,
            Some(age) => age < u64::BITS.into() && self.seen & bit(age) == 0,
        }
    }

    fn insert(&mut self, sequence: u64) {
        match self.age(sequence) {
            None => {
                let end = sequence.saturating_add(1);
                let shift = u32::try_from(end.saturating_sub(self.end)).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
                self.end = end;
            }
            Some(age) => self.seen |= bit(age),
        }
    }

    /// How many numbers older than the newest seen; `None` if newer than all.
    fn age(&self, sequence: u64) -> Option<u64> {
        self.end.checked_sub(sequence)?.checked_sub(1)
    }
}

fn bit(age: u64) -> u64 {
    u32::try_from(age)
        .ok()
        .and_then(|age| 1_u64.checked_shl(age))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::record::split_first;

    fn pair(ids: Option<IdPair>) -> (Protection, Protection) {
        let keys = || Keys {
            client: RecordKey::new(Aead::Aes128Gcm, [1; 32], [2; 4]),
            server: RecordKey::new(Aead::Aes128Gcm, [3; 32], [4; 4]),
        };
        let mirrored = ids.map(|ids| IdPair {
            ours: ids.peers,
            peers: ids.ours,
        });
        (
            Protection::new(Side::Client, keys()).with_connection_ids(mirrored),
            Protection::new(Side::Server, keys()).with_connection_ids(ids),
        )
    }

    fn ids() -> IdPair {
        IdPair {
            ours: ConnectionId::new(b"server").unwrap(),
            peers: ConnectionId::EMPTY,
        }
    }

    /// What the server makes of a record.
    fn open(server: &mut Protection, record: &[u8]) -> Result<(ContentType, Vec<u8>), OpenError> {
        let mut record = record.to_vec();
        let split = split_first(&mut record, 6).unwrap();
        let opened = server.open(split.header, split.fragment)?;
        Ok((opened.content_type, opened.plaintext.to_vec()))
    }

    #[test]
    fn a_record_hides_what_it_carries_behind_an_id() {
        let (mut client, mut server) = pair(Some(ids()));
        let mut record = Vec::new();
        client.seal(ContentType::ALERT, b"ab", &mut record).unwrap();
        assert_eq!(record[0], ContentType::TLS12_CID.0);
        assert_eq!(record.len(), client.record_overhead() + 2);
        assert_eq!(record[11..17], *b"server");
        assert_eq!(
            open(&mut server, &record),
            Ok((ContentType::ALERT, b"ab".to_vec()))
        );
        assert_eq!(open(&mut server, &record), Err(OpenError::Replayed));
        // The other direction has none.
        let mut record = Vec::new();
        server.seal(ContentType::ALERT, b"ab", &mut record).unwrap();
        assert_eq!(record[0], ContentType::ALERT.0);
    }

    #[test]
    fn whoever_was_told_an_id_must_use_it_and_nobody_else_may() {
        let (mut with_id, _) = pair(Some(ids()));
        let (mut without, _) = pair(None);
        for (client, accepting) in [(&mut with_id, None), (&mut without, Some(ids()))] {
            let (_, mut server) = pair(accepting);
            let mut record = Vec::new();
            client.seal(ContentType::ALERT, b"ab", &mut record).unwrap();
            assert_eq!(open(&mut server, &record), Err(OpenError::NotAuthentic));
        }
        let (mut client, mut server) = pair(Some(ids()));
        let mut record = Vec::new();
        client.seal(ContentType::ALERT, b"ab", &mut record).unwrap();
        record[11] ^= 1;
        assert_eq!(open(&mut server, &record), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn zeros_behind_the_content_are_padding_and_nothing_else_is_nothing() {
        let (_, mut server) = pair(Some(ids()));
        let key = RecordKey::new(Aead::Aes128Gcm, [1; 32], [2; 4]);
        let mut sealed = |sequence, inner: &[u8]| {
            let id = ids().ours;
            let header = RecordHeader::with_connection_id(id, 1, sequence);
            let mut record = Vec::new();
            key.seal(header, &[inner], &mut record).unwrap();
            open(&mut server, &record)
        };
        let data = ContentType::APPLICATION_DATA;
        assert_eq!(sealed(0, b"\0a\0\x17\0\0\0"), Ok((data, b"\0a\0".to_vec())));
        assert_eq!(sealed(1, b"\x17"), Ok((data, Vec::new())));
        assert_eq!(sealed(2, b"\0\0\0"), Err(OpenError::NotAuthentic));
        assert_eq!(sealed(3, b""), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_number_is_new_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for sequence in [0, 5, 3, 4, 70, 69, 7, 8] {
            assert!(window.is_new(sequence), "{sequence}");
            window.insert(sequence);
            assert!(!window.is_new(sequence), "{sequence}");
        }
    }

    #[test]
    fn a_number_older_than_the_window_is_not_new() {
        let mut window = ReplayWindow::default();
        window.insert(100);
        assert!(window.is_new(37));
        assert!(!window.is_new(36));
        assert!(!window.is_new(0));
    }

    #[test]
    fn a_jump_past_the_window_forgets_nothing_it_must_know() {
        let mut window = ReplayWindow::default();
        window.insert(1);
        window.insert(MAX_SEQUENCE);
        assert!(!window.is_new(1));
        assert!(!window.is_new(MAX_SEQUENCE));
        assert!(window.is_new(MAX_SEQUENCE - 1));
    }
}

//! What a peer in handshake has sent and nobody has taken yet. Datagrams overtake each other: a ChangeCipherSpec or a Finished may
//! come before the message it must follow, or while the key is being looked up.

use std::collections::VecDeque;

use thiserror::Error;

use crate::codec::record::{ContentType, RecordHeader};
use crate::protection::Protection;
use crate::reassembly::{Limits, Reassembler};

/// A record of epoch 1 that can't be opened yet.
#[derive(Debug)]
pub struct SealedRecord {
    /// Its header.
    pub header: RecordHeader,
    /// Explicit nonce, ciphertext and tag.
    pub fragment: Vec<u8>,
}

/// A record that came early was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no room for an early record")]
pub struct NoRoom;

/// How much a peer can make an [`Inbox`] hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxLimits {
    /// Of handshake messages that are not whole, or not awaited yet.
    pub messages: Limits,
    /// How many records of epoch 1 that came early. A Finished and a few more; whoever sends more before it has our Finished gets it
    /// dropped.
    pub early_records: usize,
    /// How many bytes these may have together.
    pub early_bytes: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            messages: Limits::default(),
            early_records: 8,
            early_bytes: 4096,
        }
    }
}

/// Holds what comes early, within bounds.
#[derive(Debug)]
pub struct Inbox {
    /// The handshake messages of epoch 0.
    pub messages: Reassembler,
    /// Whether a ChangeCipherSpec has come.
    pub change_cipher_spec: bool,
    sealed: VecDeque<SealedRecord>,
    limits: InboxLimits,
}

impl Inbox {
    /// Empty; the handshake message with number `next_message_seq` is awaited first.
    #[must_use]
    pub fn new(next_message_seq: u16, limits: InboxLimits) -> Self {
        Self {
            messages: Reassembler::new(next_message_seq, limits.messages),
            change_cipher_spec: false,
            sealed: VecDeque::new(),
            limits,
        }
    }

    /// Holds a record of epoch 1. A handshake record always finds room, at the cost of what came before it: else anybody could
    /// shut out a Finished by sending rubbish in the peer's name.
    ///
    /// # Errors
    /// [`NoRoom`] if a record was thrown away, this one or an older one.
    pub fn put_sealed(&mut self, header: RecordHeader, fragment: &[u8]) -> Result<(), NoRoom> {
        let mut outcome = Ok(());
        while !self.has_room(fragment.len()) {
            outcome = Err(NoRoom);
            if !may_be_handshake(&header) || !self.drop_one() {
                return outcome;
            }
        }
        self.sealed.push_back(SealedRecord {
            header,
            fragment: fragment.to_vec(),
        });
        outcome
    }

    /// The first held record that should carry a handshake message.
    pub fn take_sealed_handshake(&mut self, protection: &Protection) -> Option<SealedRecord> {
        let index = self.sealed.iter().position(|record| {
            let kind = protection.content_type(record.header, &record.fragment);
            kind == Some(ContentType::HANDSHAKE)
        })?;
        self.sealed.remove(index)
    }

    /// A held alert, unless a handshake record with a lower number is held: that was sent before it.
    pub fn take_sealed_alert(&mut self, protection: &Protection) -> Option<SealedRecord> {
        let kinds = [ContentType::HANDSHAKE, ContentType::ALERT];
        let (index, _, kind) = (self.sealed.iter().enumerate())
            .filter_map(|(index, record)| {
                let kind = protection.content_type(record.header, &record.fragment)?;
                let number = record.header.sequence;
                kinds.contains(&kind).then_some((index, number, kind))
            })
            .min_by_key(|(_, number, _)| *number)?;
        (kind == ContentType::ALERT).then(|| self.sealed.remove(index))?
    }

    /// All that is left, for the association that is now established.
    #[must_use]
    pub fn into_sealed(self) -> VecDeque<SealedRecord> {
        self.sealed
    }

    fn has_room(&self, length: usize) -> bool {
        let held: usize = self.sealed.iter().map(|record| record.fragment.len()).sum();
        self.sealed.len() < self.limits.early_records
            && held.saturating_add(length) <= self.limits.early_bytes
    }

    /// Throws away the oldest record that is no handshake record, or else the oldest; `false` if there is none.
    fn drop_one(&mut self) -> bool {
        let index = self
            .sealed
            .iter()
            .position(|record| !may_be_handshake(&record.header))
            .unwrap_or(0);
        self.sealed.remove(index).is_some()
    }
}

/// A record with a connection id does not show what it carries.
fn may_be_handshake(header: &RecordHeader) -> bool {
    [ContentType::HANDSHAKE, ContentType::TLS12_CID].contains(&header.content_type)
}

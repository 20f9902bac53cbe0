//! What a peer in handshake has sent and nobody has taken yet. Datagrams overtake each other: a ChangeCipherSpec or a Finished may
//! come before the message it must follow, or while the key is being looked up.

use std::collections::VecDeque;

use thiserror::Error;

use crate::codec::record::{ContentType, RecordHeader};
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

/// Holds what comes early, within bounds.
#[derive(Debug)]
pub struct Inbox {
    /// The handshake messages of epoch 0.
    pub messages: Reassembler,
    /// Whether a ChangeCipherSpec has come.
    pub change_cipher_spec: bool,
    sealed: VecDeque<SealedRecord>,
}

impl Inbox {
    /// Empty; the handshake message with number `next_message_seq` is awaited first.
    #[must_use]
    pub fn new(next_message_seq: u16) -> Self {
        Self {
            messages: Reassembler::new(next_message_seq, Limits::default()),
            change_cipher_spec: false,
            sealed: VecDeque::new(),
        }
    }

    /// Holds a record of epoch 1.
    ///
    /// # Errors
    /// [`NoRoom`] if it is not kept: too much is held, or this very record is.
    pub fn put_sealed(&mut self, header: RecordHeader, fragment: &[u8]) -> Result<(), NoRoom> {
        let held: usize = self.sealed.iter().map(|record| record.fragment.len()).sum();
        let fits = self.sealed.len() < MAX_EARLY_RECORDS
            && held.saturating_add(fragment.len()) <= MAX_EARLY_BYTES;
        if !fits
            || self
                .sealed
                .iter()
                .any(|record| record.header.sequence == header.sequence)
        {
            return Err(NoRoom);
        }
        self.sealed.push_back(SealedRecord {
            header,
            fragment: fragment.to_vec(),
        });
        Ok(())
    }

    /// The first held record that should carry a handshake message.
    pub fn take_sealed_handshake(&mut self) -> Option<SealedRecord> {
        let index = self
            .sealed
            .iter()
            .position(|record| record.header.content_type == ContentType::HANDSHAKE)?;
        self.sealed.remove(index)
    }

    /// All that is left, for the association that is now established.
    #[must_use]
    pub fn into_sealed(self) -> VecDeque<SealedRecord> {
        self.sealed
    }
}

/// A Finished and a few more; whoever sends more before it has our Finished gets it dropped.
const MAX_EARLY_RECORDS: usize = 8;

const MAX_EARLY_BYTES: usize = 4096;

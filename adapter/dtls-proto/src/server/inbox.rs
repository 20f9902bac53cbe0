//! What a client in handshake has sent and nobody has taken yet. Datagrams overtake each other: a ChangeCipherSpec or a Finished may
//! come before the message it must follow, or while the key is being looked up.

use std::collections::VecDeque;

use crate::codec::Reader;
use crate::codec::handshake::Fragment;
use crate::codec::record::{ContentType, RecordHeader};
use crate::reassembly::{Limits, Reassembler};
use crate::statistics::{Statistics, count};

/// A record of epoch 1 that can't be opened yet.
#[derive(Debug)]
pub(crate) struct SealedRecord {
    pub(crate) header: RecordHeader,
    pub(crate) fragment: Vec<u8>,
}

/// Holds what comes early, within bounds.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The handshake messages of epoch 0.
    pub(crate) messages: Reassembler,
    /// Whether a ChangeCipherSpec has come.
    pub(crate) change_cipher_spec: bool,
    sealed: VecDeque<SealedRecord>,
}

impl Inbox {
    pub(crate) fn new(next_message_seq: u16) -> Self {
        Self {
            messages: Reassembler::new(next_message_seq, Limits::default()),
            change_cipher_spec: false,
            sealed: VecDeque::new(),
        }
    }

    /// Takes in a fragment of a handshake message of epoch 0.
    pub(crate) fn put_fragment(&mut self, fragment: &Fragment<'_>, statistics: &mut Statistics) {
        if self.messages.insert(fragment).is_err() {
            count(&mut statistics.refused_fragments);
        }
    }

    /// Holds a record of epoch 1, if there is room.
    pub(crate) fn put_sealed(
        &mut self,
        header: RecordHeader,
        fragment: &[u8],
        statistics: &mut Statistics,
    ) {
        let held: usize = self.sealed.iter().map(|record| record.fragment.len()).sum();
        let fits = self.sealed.len() < MAX_EARLY_RECORDS
            && held.saturating_add(fragment.len()) <= MAX_EARLY_BYTES;
        if !fits
            || self
                .sealed
                .iter()
                .any(|record| record.header.sequence == header.sequence)
        {
            count(&mut statistics.early_records_dropped);
            return;
        }
        self.sealed.push_back(SealedRecord {
            header,
            fragment: fragment.to_vec(),
        });
    }

    /// The first held record that should carry a handshake message.
    pub(crate) fn take_sealed_handshake(&mut self) -> Option<SealedRecord> {
        let index = self
            .sealed
            .iter()
            .position(|record| record.header.content_type == ContentType::HANDSHAKE)?;
        self.sealed.remove(index)
    }

    /// All that is left, for the association that is now established.
    pub(crate) fn into_sealed(self) -> VecDeque<SealedRecord> {
        self.sealed
    }
}

/// The fragments in a handshake record; what is malformed ends the list and is counted.
pub(crate) fn fragments<'a>(record: &'a [u8], statistics: &mut Statistics) -> Vec<Fragment<'a>> {
    let mut reader = Reader::new(record);
    let mut fragments = Vec::new();
    while !reader.is_empty() {
        match Fragment::decode(&mut reader) {
            Ok(fragment) => fragments.push(fragment),
            Err(_) => {
                count(&mut statistics.malformed_messages);
                break;
            }
        }
    }
    fragments
}

/// A Finished and a few more; whoever sends more before it has our Finished gets it dropped.
const MAX_EARLY_RECORDS: usize = 8;

const MAX_EARLY_BYTES: usize = 4096;

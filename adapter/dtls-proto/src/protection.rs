//! Protected records of one epoch: keys of both directions, our sequence numbers, the window against replay (RFC 6347 §4.1.2).

use thiserror::Error;

use crate::codec::record::{ContentType, MAX_SEQUENCE, RecordHeader};
use crate::crypto::{Aead, Keys, RecordKey, Side};

/// What is needed to send and receive in one epoch.
#[derive(Debug)]
pub struct Protection {
    epoch: u16,
    read: RecordKey,
    write: RecordKey,
    window: ReplayWindow,
    next_sequence: u64,
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
        }
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
        if self.next_sequence > MAX_SEQUENCE {
            return Err(SealError::Exhausted);
        }
        let header = RecordHeader::new(content_type, self.epoch, self.next_sequence);
        self.write
            .seal(header, plaintext, out)
            .ok_or(SealError::TooLong)?;
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
    ) -> Result<&'a mut [u8], OpenError> {
        if !self.window.is_new(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let plaintext = self
            .read
            .open(header, fragment)
            .ok_or(OpenError::NotAuthentic)?;
        // Only what is authentic may move the window, else a forger could shut it for the true peer.
        self.window.insert(header.sequence);
        Ok(plaintext)
    }

    /// Goes on with this sequence number; for tests of the end of an epoch.
    #[doc(hidden)]
    pub fn skip_to_sequence(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }
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

//! A flight: messages that are sent, and when nobody answers sent again, together (RFC 6347 §4.2.4).

use std::time::Duration;

use crate::codec::handshake::{HandshakeHeader, fragments};
use crate::codec::record::{
    ContentType, HEADER_LENGTH, MAX_SEQUENCE, RecordHeader, put_plain_record,
};
use crate::protection::{Protection, SealError};

/// One piece of a flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A whole handshake message in epoch 0.
    Plain(Vec<u8>),
    /// The switch of keys.
    ChangeCipherSpec,
    /// A whole handshake message in epoch 1.
    Protected(Vec<u8>),
}

/// How long to wait for an answer, and how often to send again (RFC 6347 §4.2.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait; each further one is twice as long.
    pub initial: Duration,
    /// No wait is longer.
    pub maximum: Duration,
    /// How often to send again.
    pub retransmissions: u32,
}

impl Backoff {
    /// The wait after sending for the `attempt`th time again; 0 is the first sending. `None` when it is time to give up.
    #[must_use]
    pub fn wait(&self, attempt: u32) -> Option<Duration> {
        (attempt <= self.retransmissions).then(|| {
            let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
            self.initial.saturating_mul(factor).min(self.maximum)
        })
    }

    /// All waits together: how long a flight nobody answers keeps a handshake alive.
    #[must_use]
    pub fn total(&self) -> Duration {
        (0..=self.retransmissions)
            .filter_map(|attempt| self.wait(attempt))
            .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// Turns parts into records and packs these into datagrams.
#[derive(Debug)]
pub struct Packer<'a> {
    mtu: usize,
    max_fragment: usize,
    sequence: &'a mut u64,
    datagrams: Vec<Vec<u8>>,
}

impl<'a> Packer<'a> {
    /// Packs datagrams of at most `mtu` bytes, with plaintext records of at most `max_fragment` bytes; `sequence` is the next
    /// sequence number of epoch 0 and is moved on.
    ///
    /// A datagram is no longer than one record of `max_fragment` bytes: the buffer of a peer that
    /// limits its records may have no room for more. `GnuTLS` drops longer datagrams.
    #[must_use]
    pub fn new(mtu: usize, max_fragment: usize, sequence: &'a mut u64) -> Self {
        let one_record = HEADER_LENGTH
            .saturating_add(max_fragment)
            .saturating_add(MAX_EXPANSION);
        Self {
            mtu: mtu.min(one_record).max(MIN_MTU),
            max_fragment,
            sequence,
            datagrams: Vec::new(),
        }
    }

    /// Packs one part.
    ///
    /// # Errors
    /// [`SealError`] if there are no sequence numbers left.
    pub fn pack(
        &mut self,
        part: &Part,
        protection: Option<&mut Protection>,
    ) -> Result<(), SealError> {
        match part {
            Part::Plain(message) => {
                let room = self
                    .mtu
                    .saturating_sub(HEADER_LENGTH)
                    .min(self.max_fragment);
                let max_body = room.saturating_sub(HandshakeHeader::LENGTH);
                for fragment in fragments(message, max_body) {
                    self.plain(ContentType::HANDSHAKE, &fragment)?;
                }
            }
            Part::ChangeCipherSpec => {
                self.plain(ContentType::CHANGE_CIPHER_SPEC, &CHANGE_CIPHER_SPEC)?;
            }
            Part::Protected(message) => {
                if let Some(protection) = protection {
                    let mut record = Vec::new();
                    protection.seal(ContentType::HANDSHAKE, message, &mut record)?;
                    self.append(record);
                }
            }
        }
        Ok(())
    }

    /// The datagrams, in the order of their parts.
    #[must_use]
    pub fn datagrams(self) -> Vec<Vec<u8>> {
        self.datagrams
    }

    fn plain(&mut self, content_type: ContentType, fragment: &[u8]) -> Result<(), SealError> {
        if *self.sequence > MAX_SEQUENCE {
            return Err(SealError::Exhausted);
        }
        let mut record = Vec::with_capacity(HEADER_LENGTH.saturating_add(fragment.len()));
        put_plain_record(
            RecordHeader::new(content_type, 0, *self.sequence),
            fragment,
            &mut record,
        );
        *self.sequence = self.sequence.saturating_add(1);
        self.append(record);
        Ok(())
    }

    fn append(&mut self, record: Vec<u8>) {
        match self.datagrams.last_mut() {
            Some(last) if last.len().saturating_add(record.len()) <= self.mtu => {
                last.extend(record);
            }
            _ => self.datagrams.push(record),
        }
    }
}

/// The only content a ChangeCipherSpec has (RFC 5246 §7.1).
pub const CHANGE_CIPHER_SPEC: [u8; 1] = [1];

/// By how much protection makes a record longer: an explicit nonce of 8 bytes and a tag of 16.
const MAX_EXPANSION: usize = 24;

/// The smallest datagram that holds a protected Finished of any suite: 13 + 8 + 12 + 12 + 16 bytes, rounded up. A connection id comes
/// on top of it.
pub const MIN_MTU: usize = 64;

//! Handshake messages from fragments that come in any order, twice, or overlapping (RFC 6347 §4.2.3).

use std::collections::BTreeMap;

use thiserror::Error;

use crate::codec::handshake::{Fragment, HandshakeType, message};

/// Puts one peer's handshake messages together and hands them out in their order.
#[derive(Debug)]
pub struct Reassembler {
    next: u16,
    limits: Limits,
    partial: BTreeMap<u16, Partial>,
    held: usize,
}

/// How much a peer can make a [`Reassembler`] hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many messages, from the next awaited on, may be begun.
    pub messages: u16,
    /// How many bytes all these may have together.
    pub bytes: usize,
}

/// A message that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which message.
    pub message_type: HandshakeType,
    /// Its number.
    pub message_seq: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why a fragment was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The message was handed out before: the peer sends again.
    #[error("message already complete")]
    Old,
    /// Too far ahead, or too much to hold.
    #[error("over the limits")]
    OverLimit,
    /// Type or length differ from those of the message's other fragments.
    #[error("contradicts an earlier fragment")]
    Contradiction,
}

impl Message {
    /// The message with its header, as the transcript wants it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        message(self.message_type, self.message_seq, &self.body)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: 8,
            bytes: 8192,
        }
    }
}

impl Reassembler {
    /// Awaits the message with number `next` first.
    #[must_use]
    pub fn new(next: u16, limits: Limits) -> Self {
        Self {
            next,
            limits,
            partial: BTreeMap::new(),
            held: 0,
        }
    }

    /// The number of the message awaited next.
    #[must_use]
    pub fn next_message_seq(&self) -> u16 {
        self.next
    }

    /// Takes in a fragment.
    ///
    /// # Errors
    /// [`Refused`] if nothing of it was kept.
    pub fn insert(&mut self, fragment: &Fragment<'_>) -> Result<(), Refused> {
        let header = fragment.header;
        let ahead = header
            .message_seq
            .checked_sub(self.next)
            .ok_or(Refused::Old)?;
        if ahead >= self.limits.messages {
            return Err(Refused::OverLimit);
        }
        let length = usize::try_from(header.length).map_err(|_| Refused::OverLimit)?;
        let offset = usize::try_from(header.fragment_offset).map_err(|_| Refused::OverLimit)?;
        if let Some(partial) = self.partial.get_mut(&header.message_seq) {
            if partial.message_type != header.message_type || partial.body.len() != length {
                return Err(Refused::Contradiction);
            }
            return partial.fill(offset, fragment.body);
        }
        let held = self.held.saturating_add(length);
        if held > self.limits.bytes {
            return Err(Refused::OverLimit);
        }
        let mut partial = Partial {
            message_type: header.message_type,
            body: vec![0; length],
            missing: vec![(0, length)],
        };
        partial.fill(offset, fragment.body)?;
        self.held = held;
        self.partial.insert(header.message_seq, partial);
        Ok(())
    }

    /// The next message in order, if it is complete; it stays until [`Reassembler::advance`].
    #[must_use]
    pub fn peek(&self) -> Option<Message> {
        let partial = self.partial.get(&self.next)?;
        partial.is_complete().then(|| Message {
            message_type: partial.message_type,
            message_seq: self.next,
            body: partial.body.clone(),
        })
    }

    /// Done with the message [`Reassembler::peek`] showed: the next one is awaited.
    pub fn advance(&mut self) {
        self.discard();
        self.next = self.next.saturating_add(1);
    }

    /// Throws the awaited message away because it can't be the right one; another may come under its number.
    pub fn discard(&mut self) {
        if let Some(partial) = self.partial.remove(&self.next) {
            self.held = self.held.saturating_sub(partial.body.len());
        }
    }
}

/// A message of which fragments have come.
#[derive(Debug)]
struct Partial {
    message_type: HandshakeType,
    body: Vec<u8>,
    /// What hasn't come, as (from, to), in order, without touching each other.
    missing: Vec<(usize, usize)>,
}

impl Partial {
    fn is_complete(&self) -> bool {
        self.missing.iter().all(|(from, to)| from == to)
    }

    /// Copies what is new; bytes that came before stay as they were.
    fn fill(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Refused> {
        let end = offset.checked_add(bytes.len()).ok_or(Refused::OverLimit)?;
        let mut missing = Vec::with_capacity(self.missing.len());
        for &(from, to) in &self.missing {
            let (start, stop) = (from.max(offset), to.min(end));
            if start >= stop {
                missing.push((from, to));
                continue;
            }
            let source = bytes.get(start.saturating_sub(offset)..stop.saturating_sub(offset));
            let target = self.body.get_mut(start..stop);
            let (Some(source), Some(target)) = (source, target) else {
                return Err(Refused::Contradiction);
            };
            target.copy_from_slice(source);
            missing.extend(
                [(from, start), (stop, to)]
                    .into_iter()
                    .filter(|(from, to)| from < to),
            );
        }
        if missing.len() > MAX_GAPS {
            return Err(Refused::OverLimit);
        }
        self.missing = missing;
        Ok(())
    }
}

/// How many holes a message may have; only a hostile peer sends in so strange an order that there are more.
const MAX_GAPS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Reader;
    use crate::codec::handshake::fragments;

    fn reassembler() -> Reassembler {
        Reassembler::new(3, Limits::default())
    }

    fn insert(to: &mut Reassembler, bytes: &[u8]) -> Result<(), Refused> {
        to.insert(&Fragment::decode(&mut Reader::new(bytes)).unwrap())
    }

    #[test]
    fn fragments_in_any_order_make_the_message() {
        let body: Vec<u8> = (0..=255).collect();
        let whole = message(HandshakeType::FINISHED, 3, &body);
        let mut pieces = fragments(&whole, 10);
        pieces.reverse();
        pieces.swap(3, 9);
        let mut reassembler = reassembler();
        for piece in &pieces {
            assert_eq!(reassembler.peek(), None);
            insert(&mut reassembler, piece).unwrap();
        }
        assert_eq!(reassembler.peek().unwrap().body, body);
        assert_eq!(reassembler.peek().unwrap().encode(), whole);
    }

    #[test]
    fn overlapping_fragments_make_the_message() {
        let body: Vec<u8> = (0..100).collect();
        let whole = message(HandshakeType::FINISHED, 3, &body);
        let mut reassembler = reassembler();
        for size in [70, 30, 33, 7] {
            for piece in fragments(&whole, size).into_iter().skip(1).chain([]) {
                insert(&mut reassembler, &piece).unwrap();
            }
        }
        assert_eq!(reassembler.peek(), None);
        for piece in fragments(&whole, 99) {
            insert(&mut reassembler, &piece).unwrap();
        }
        assert_eq!(reassembler.peek().unwrap().body, body);
    }

    #[test]
    fn an_empty_message_is_complete_at_once() {
        let mut reassembler = reassembler();
        insert(
            &mut reassembler,
            &message(HandshakeType::SERVER_HELLO_DONE, 3, &[]),
        )
        .unwrap();
        assert_eq!(reassembler.peek().unwrap().body, []);
    }

    #[test]
    fn messages_come_out_in_their_order() {
        let mut reassembler = reassembler();
        insert(
            &mut reassembler,
            &message(HandshakeType::FINISHED, 4, b"second"),
        )
        .unwrap();
        assert_eq!(reassembler.peek(), None);
        insert(
            &mut reassembler,
            &message(HandshakeType::FINISHED, 3, b"first"),
        )
        .unwrap();
        assert_eq!(reassembler.peek().unwrap().body, b"first");
        reassembler.advance();
        assert_eq!(reassembler.peek().unwrap().body, b"second");
        reassembler.advance();
        assert_eq!(
            insert(
                &mut reassembler,
                &message(HandshakeType::FINISHED, 3, b"first")
            ),
            Err(Refused::Old)
        );
    }

    #[test]
    fn no_more_is_held_than_the_limits_allow() {
        let mut reassembler = reassembler();
        let far = message(HandshakeType::FINISHED, 11, b"far");
        assert_eq!(insert(&mut reassembler, &far), Err(Refused::OverLimit));
        let long = message(HandshakeType::FINISHED, 3, &[0; 8193]);
        assert_eq!(
            insert(&mut reassembler, &fragments(&long, 1).remove(0)),
            Err(Refused::OverLimit)
        );
        assert_eq!(reassembler.held, 0);
    }

    #[test]
    fn a_fragment_that_contradicts_another_is_refused() {
        let mut reassembler = reassembler();
        insert(
            &mut reassembler,
            &fragments(&message(HandshakeType::FINISHED, 3, b"abcdef"), 3).remove(0),
        )
        .unwrap();
        assert_eq!(
            insert(
                &mut reassembler,
                &message(HandshakeType::FINISHED, 3, b"abcdefg")
            ),
            Err(Refused::Contradiction)
        );
        assert_eq!(
            insert(
                &mut reassembler,
                &message(HandshakeType::CLIENT_KEY_EXCHANGE, 3, b"abcdef")
            ),
            Err(Refused::Contradiction)
        );
    }
}

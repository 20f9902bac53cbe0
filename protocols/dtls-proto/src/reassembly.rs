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
    /// Another message has come whole under this number.
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

    /// Takes in a fragment. Anybody can send plaintext in the peer's name, so what came first is not
    /// believed more than what comes later: a message in one piece replaces fragments of it that
    /// came before, and a fragment replaces fragments that it contradicts in type, length or
    /// content, unless they have made a whole message.
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
        let mut earlier = 0;
        if let Some(partial) = self.partial.get_mut(&header.message_seq) {
            if partial.agrees(fragment) {
                return partial.fill(offset, fragment.body);
            }
            if partial.is_complete() && !fragment.is_whole() {
                return Err(Refused::Contradiction);
            }
            earlier = partial.body.len();
        }
        let held = self.held.saturating_sub(earlier).saturating_add(length);
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

    /// Whether a fragment is of a message of which fragments have come, and contradicts none of them.
    #[must_use]
    pub fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        let partial = self.partial.get(&fragment.header.message_seq);
        partial.is_some_and(|partial| partial.agrees(fragment))
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

    /// Whether a fragment has this message's type and length, and no byte that has come is another
    /// one in it.
    fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        let (header, bytes) = (fragment.header, fragment.body);
        let offset = usize::try_from(header.fragment_offset).unwrap_or(usize::MAX);
        if self.message_type != header.message_type
            || usize::try_from(header.length) != Ok(self.body.len())
        {
            return false;
        }
        let mut at = offset;
        for &(from, to) in self.missing.iter().chain([&(usize::MAX, usize::MAX)]) {
            // Up to `from`, everything has come.
            let end = from.min(offset.saturating_add(bytes.len()));
            if at < end {
                let known = self.body.get(at..end);
                let said = bytes.get(at.saturating_sub(offset)..end.saturating_sub(offset));
                if known != said {
                    return false;
                }
            }
            at = at.max(to);
        }
        true
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

    /// A forger's fragment keeps the right message out no longer than until that comes again.
    #[test]
    fn what_contradicts_a_partial_message_replaces_it() {
        let right = message(HandshakeType::FINISHED, 3, b"abcdef");
        let forgeries = [
            message(HandshakeType::FINISHED, 3, b"abcdefg"),
            message(HandshakeType::CLIENT_KEY_EXCHANGE, 3, b"abcdef"),
            message(HandshakeType::FINISHED, 3, b"xbcdef"),
        ];
        for forgery in forgeries {
            let mut reassembler = reassembler();
            insert(&mut reassembler, &fragments(&forgery, 3)[0]).unwrap();
            for piece in fragments(&right, 4) {
                insert(&mut reassembler, &piece).unwrap();
            }
            assert_eq!(reassembler.peek().unwrap().encode(), right);
            assert_eq!(reassembler.held, 6);
            // Whole, it gives way to nothing but another whole message.
            let refused = insert(&mut reassembler, &fragments(&forgery, 3)[0]);
            assert_eq!(refused, Err(Refused::Contradiction));
            insert(&mut reassembler, &forgery).unwrap();
            assert_eq!(reassembler.peek().unwrap().encode(), forgery);
        }
    }
}

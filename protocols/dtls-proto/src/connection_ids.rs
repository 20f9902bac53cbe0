//! The connection ids a server gives out (RFC 9146): who made them, and chance.
//!
//! ```text
//!   byte 0        byte 1   byte 2   the rest
//!   version 1|0   node     shard    random
//! ```
//!
//! Node and shard let a record that reached the wrong process or socket be passed on ([`ConnectionIds::route`]). Two ids of one
//! device have nothing else in common, so a watcher can't link them.

use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::codec::connection_id::ConnectionId;
use crate::codec::record::{ContentType, HEADER_LENGTH};

/// How ids are made and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionIds {
    length: u8,
    node: u8,
    shard: u8,
}

/// Where an id was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Which process.
    pub node: u8,
    /// Which socket of it.
    pub shard: u8,
}

/// Ids of this length can't be made: 0, or 6 to 20 bytes are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a connection id of {0} bytes is not possible; 0, or 6 to 20 are")]
pub struct UnusableLength(pub u8);

impl Route {
    /// Whence an id is; `None` if it isn't made our way.
    pub(crate) fn read(id: &[u8]) -> Option<Self> {
        match *id {
            [VERSION, node, shard, ..] => Some(Self { node, shard }),
            _ => None,
        }
    }

    /// Which of so many sockets serves the id: the one that made it, unless there are fewer now than there were then.
    #[must_use]
    pub fn shard_of(self, shards: usize) -> usize {
        usize::from(self.shard).checked_rem(shards).unwrap_or(0)
    }
}

impl ConnectionIds {
    /// Ids of `length` bytes for this process and socket. With length 0, clients get no id from us, but may want one in our records.
    ///
    /// # Errors
    /// [`UnusableLength`] for a length in which an id has no room, or that is longer than [`ConnectionId::MAX_LENGTH`].
    pub fn new(length: u8, node: u8, shard: u8) -> Result<Self, UnusableLength> {
        let usable = length == 0 || (MIN_LENGTH..=MAX_LENGTH).contains(&length);
        if !usable {
            return Err(UnusableLength(length));
        }
        Ok(Self {
            length,
            node,
            shard,
        })
    }

    /// Ids like these for another socket of this process.
    #[must_use]
    pub fn with_shard(self, shard: u8) -> Self {
        Self { shard, ..self }
    }

    /// How many bytes an id of ours has.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// Whence the id in the first record of a datagram is; `None` if the record has none, or one that isn't made this way.
    #[must_use]
    pub fn route(&self, datagram: &[u8]) -> Option<Route> {
        // It stands before the length of the fragment.
        let (header, behind) = datagram.split_at_checked(HEADER_LENGTH.saturating_sub(2))?;
        let (id, _) = behind.split_at_checked(self.length())?;
        let carries_id = header.first() == Some(&ContentType::TLS12_CID.0);
        carries_id.then(|| Route::read(id)).flatten()
    }

    /// A new id that `is_taken` does not know; `None` if there is no randomness to be had, or too little room.
    pub(crate) fn generate(
        &self,
        is_taken: impl Fn(&ConnectionId) -> bool,
    ) -> Option<ConnectionId> {
        if self.length == 0 {
            return Some(ConnectionId::EMPTY);
        }
        for _ in 0..ATTEMPTS {
            let mut bytes = [0; ConnectionId::MAX_LENGTH];
            SystemRandom::new().fill(&mut bytes).ok()?;
            let head = [VERSION, self.node, self.shard];
            for (byte, fixed) in bytes.iter_mut().zip(head) {
                *byte = fixed;
            }
            let id = ConnectionId::new(bytes.get(..self.length())?)?;
            if !is_taken(&id) {
                return Some(id);
            }
        }
        None
    }
}

/// The only way ids are made so far.
const VERSION: u8 = 0x10;

/// Version, node, shard, and three bytes of chance.
const MIN_LENGTH: u8 = 6;

const MAX_LENGTH: u8 = 20;

/// How often chance may hit an id that is taken.
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::record::{RecordHeader, put_plain_record};

    #[test]
    fn lengths_that_hold_an_id_are_taken() {
        let good: Vec<u8> = (0..=255)
            .filter(|length| ConnectionIds::new(*length, 0, 0).is_ok())
            .collect();
        assert_eq!(
            good,
            [0, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
        );
    }

    #[test]
    fn an_id_tells_where_it_was_made() {
        for length in 6..=20 {
            let ids = ConnectionIds::new(length, 3, 7).unwrap();
            let id = ids.generate(|_| false).unwrap();
            assert_eq!(id.len(), usize::from(length));
            let mut record = Vec::new();
            let header = RecordHeader::with_connection_id(id, 1, 5);
            put_plain_record(header, &[0; 30], &mut record);
            assert_eq!(ids.route(&record), Some(Route { node: 3, shard: 7 }));
            record[0] = ContentType::APPLICATION_DATA.0;
            assert_eq!(ids.route(&record), None);
            assert_eq!(ids.route(&record[..HEADER_LENGTH]), None);
        }
    }

    #[test]
    fn an_id_that_is_taken_is_not_given_again() {
        let ids = ConnectionIds::new(8, 0, 0).unwrap();
        let first = ids.generate(|_| false).unwrap();
        let second = ids.generate(|id| *id == first).unwrap();
        assert_ne!(first, second);
        assert_eq!(ids.generate(|_| true), None);
    }
}

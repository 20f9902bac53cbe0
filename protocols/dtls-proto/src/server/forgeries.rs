//! Limits the work that forged records cost, for each session and source address.
//!
//! A record that is not authentic is dropped in silence and ends nothing (RFC 6347 §4.1.2.7). To find
//! that out, it has to be opened. A source address from which too many forged records of a session
//! arrive in a second is not heard for that session until the next second. Records from the session's
//! own address are always opened, because anybody can forge that address, and a filter would drop the
//! client's own records with the forged ones.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::event::AssociationId;

/// Forged records of the current second, by session and source address.
#[derive(Debug, Default)]
pub(crate) struct Forgeries {
    counted: HashMap<(AssociationId, SocketAddr), Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    second: u32,
    forged: u32,
}

impl Forgeries {
    /// Whether records from this address are dropped unopened for the rest of the second.
    pub(crate) fn are_too_many(
        &self,
        association: AssociationId,
        from: SocketAddr,
        second: u32,
        limit: u32,
    ) -> bool {
        // Mostly there are none at all.
        !self.counted.is_empty()
            && self
                .counted
                .get(&(association, from))
                .is_some_and(|count| count.second == second && count.forged >= limit)
    }

    /// Counts a forged record.
    pub(crate) fn add(&mut self, association: AssociationId, from: SocketAddr, second: u32) {
        let key = (association, from);
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&key) {
            self.counted.retain(|_, count| count.second == second);
            if self.counted.len() >= MAX_COUNTED {
                return;
            }
        }
        let count = self
            .counted
            .entry(key)
            .or_insert(Count { second, forged: 0 });
        if count.second != second {
            *count = Count { second, forged: 0 };
        }
        count.forged = count.forged.saturating_add(1);
    }
}

/// Number of sessions and addresses counted at a time; forged records of others are opened.
const MAX_COUNTED: usize = 4096;

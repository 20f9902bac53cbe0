//! How much work forged records may make for one association.
//!
//! A record that is not authentic is dropped in silence and ends nothing (RFC 6347 §4.1.2.7), but to find that out costs work. An
//! association for which too many came in a second opens nothing until the next begins.

use std::collections::HashMap;

use crate::event::AssociationId;

/// The associations that somebody forges records for.
#[derive(Debug, Default)]
pub(crate) struct Forgeries {
    counted: HashMap<AssociationId, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    second: u32,
    forged: u32,
}

impl Forgeries {
    /// Whether records for this association are not worth opening in this second.
    pub(crate) fn are_too_many(&self, association: AssociationId, second: u32, limit: u32) -> bool {
        // Mostly there are none at all.
        !self.counted.is_empty()
            && self
                .counted
                .get(&association)
                .is_some_and(|count| count.second == second && count.forged >= limit)
    }

    /// One more came.
    pub(crate) fn add(&mut self, association: AssociationId, second: u32) {
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&association) {
            self.counted.retain(|_, count| count.second == second);
            if self.counted.len() >= MAX_COUNTED {
                return;
            }
        }
        let count = self
            .counted
            .entry(association)
            .or_insert(Count { second, forged: 0 });
        if count.second != second {
            *count = Count { second, forged: 0 };
        }
        count.forged = count.forged.saturating_add(1);
    }

    pub(crate) fn forget(&mut self, association: AssociationId) {
        self.counted.remove(&association);
    }
}

/// Associations that are watched at a time; for others, forged records are opened as they come.
const MAX_COUNTED: usize = 4096;

//! Which association has been silent longest, at next to no cost while there is room.
//!
//! Each association stands here under a time that is never later than its last use. It is corrected only when it has come to the
//! front, so a record costs nothing, and an association is moved at most once in each threshold of idleness.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::event::{AssociationId, AssociationMap};
use crate::server::session::Session;

/// Associations by a time at or before their last use.
#[derive(Debug, Default)]
pub(crate) struct IdleQueue {
    queue: BTreeSet<(u32, AssociationId)>,
}

impl IdleQueue {
    pub(crate) fn insert(&mut self, association: AssociationId, session: &mut Session) {
        session.queued = session.last_used;
        self.queue.insert((session.queued, association));
    }

    pub(crate) fn remove(&mut self, association: AssociationId, session: &Session) {
        self.queue.remove(&(session.queued, association));
    }

    /// Some of the associations whose last use was at or before `limit`, the one silent longest first.
    pub(crate) fn idle_since(
        &mut self,
        limit: u32,
        sessions: &mut AssociationMap<Session>,
    ) -> Vec<AssociationId> {
        let mut found = Vec::new();
        let mut after = Bound::Unbounded;
        while found.len() < MAX_CANDIDATES {
            let next = self.queue.range((after, Bound::Unbounded)).next();
            let Some(&(queued, association)) = next.filter(|(queued, _)| *queued <= limit) else {
                break;
            };
            match sessions.get_mut(&association) {
                Some(session) if session.last_used > queued => {
                    self.queue.remove(&(queued, association));
                    self.insert(association, session);
                }
                Some(_) => {
                    found.push(association);
                    after = Bound::Excluded((queued, association));
                }
                None => {
                    self.queue.remove(&(queued, association));
                }
            }
        }
        found
    }
}

/// How many idle associations are compared to choose one.
const MAX_CANDIDATES: usize = 32;

//! Sessions by their ids, the newest so many of them, for a while (RFC 5246 §7.4.1.2).

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::resumption::{Resumable, Resumption};

/// What a session is known by; the longest that is possible.
pub(crate) type SessionId = [u8; 32];

#[derive(Debug, Default)]
pub(crate) struct SessionCache {
    sessions: HashMap<SessionId, (Instant, Resumable)>,
    /// The oldest first; some may be gone.
    order: VecDeque<SessionId>,
}

impl SessionCache {
    /// Keeps a session, at the cost of the oldest if there are too many.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        id: SessionId,
        resumable: Resumable,
        config: &Resumption,
    ) {
        self.forget_old(now, config);
        while self.order.len() >= config.cached_sessions.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.sessions.remove(&oldest);
            }
        }
        if self.sessions.insert(id, (now, resumable)).is_none() {
            self.order.push_back(id);
        }
    }

    /// All that is kept, the oldest first, with the time since when.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SessionId, Instant, &Resumable)> {
        self.order.iter().filter_map(|id| {
            let (since, resumable) = self.sessions.get(id)?;
            Some((id, *since, resumable))
        })
    }

    /// The session with this id, if it isn't too old.
    pub(crate) fn get(
        &mut self,
        now: Instant,
        id: &[u8],
        config: &Resumption,
    ) -> Option<&Resumable> {
        self.forget_old(now, config);
        self.sessions.get(id).map(|(_, resumable)| resumable)
    }

    /// The session may not be resumed any more.
    pub(crate) fn remove(&mut self, id: &SessionId) {
        self.sessions.remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn forget_old(&mut self, now: Instant, config: &Resumption) {
        while let Some(oldest) = self.order.front() {
            let fresh = self.sessions.get(oldest).is_some_and(|(since, _)| {
                now.saturating_duration_since(*since) < config.cache_lifetime
            });
            if fresh {
                return;
            }
            self.sessions.remove(oldest);
            self.order.pop_front();
        }
    }
}

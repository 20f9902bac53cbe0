//! At most one session for each principal, where that is wanted.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dtls_proto::AssociationId;

/// Who has which session, on whichever shard of the port; nothing where a principal may have several. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Sole<P>(Option<Arc<Mutex<HashMap<P, Place>>>>);

/// A session of one of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: usize,
    pub(crate) association: AssociationId,
}

impl<P> Default for Sole<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: Eq + Hash + Clone> Sole<P> {
    pub(crate) fn wanted() -> Self {
        Self(Some(Arc::default()))
    }

    /// A principal has this session now; tells the one it had before, which must end.
    pub(crate) fn take(&self, principal: &P, place: Place) -> Option<Place> {
        let older = self.sessions()?.insert(principal.clone(), place);
        older.filter(|older| *older != place)
    }

    /// A session is over.
    pub(crate) fn forget(&self, principal: &P, place: Place) {
        if let Some(mut sessions) = self.sessions()
            && sessions.get(principal) == Some(&place)
        {
            sessions.remove(principal);
        }
    }

    fn sessions(&self) -> Option<MutexGuard<'_, HashMap<P, Place>>> {
        let sessions = self.0.as_ref()?;
        Some(sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! At most one session for each principal, where that is wanted.

use std::{collections::HashMap, hash::Hash};

use dtls_proto::AssociationId;

/// Who has which session; nothing where a principal may have several.
#[derive(Debug)]
pub(crate) struct Sole<P>(Option<HashMap<P, AssociationId>>);

impl<P> Default for Sole<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: Eq + Hash + Clone> Sole<P> {
    pub(crate) fn wanted() -> Self {
        Self(Some(HashMap::new()))
    }

    /// A principal has this session now; tells the one it had before, which must end.
    pub(crate) fn take(
        &mut self,
        principal: &P,
        association: AssociationId,
    ) -> Option<AssociationId> {
        let older = self.0.as_mut()?.insert(principal.clone(), association);
        older.filter(|older| *older != association)
    }

    /// A session is over.
    pub(crate) fn forget(&mut self, principal: &P, association: AssociationId) {
        if let Some(sessions) = &mut self.0
            && sessions.get(principal) == Some(&association)
        {
            sessions.remove(principal);
        }
    }
}

//! The sessions of a port from one process to the next.

use std::time::{Instant, SystemTime};

use dtls_proto::{AssociationId, LoadError, Moment, SavedSessions};

use crate::listener::{Holder, KeyStore, Listener, Standing};

impl<K: KeyStore> Listener<K> {
    /// Lets no new handshake begin, because the port is about to end; those under way go on. A device that wants to begin one hears
    /// nothing, and tries again.
    pub fn close_admission(&mut self) {
        self.server.close_admission();
    }

    /// Ends the port and takes out its sessions. Devices hear nothing of it. `encode` writes what is to be known of a session's owner.
    #[must_use]
    pub fn save(
        self,
        mut encode: impl FnMut(AssociationId, &K::Principal) -> Vec<u8>,
    ) -> SavedSessions {
        let Self {
            server, principals, ..
        } = self;
        server.save(moment(), |association| {
            let holder = principals.get(&association)?;
            Some(encode(association, &holder.principal))
        })
    }

    /// Goes on with saved sessions and tells how many there are. `decode` reads what was written of an owner; where it can't, the session
    /// is dropped in silence. There is no `Established` for them, and the first record of each is handed on only when
    /// [`KeyStore::confirm`] has answered.
    ///
    /// # Errors
    /// [`LoadError`], if nothing was loaded.
    pub fn load(
        &mut self,
        saved: &SavedSessions,
        mut decode: impl FnMut(AssociationId, &[u8]) -> Option<K::Principal>,
    ) -> Result<usize, LoadError> {
        let loaded = self.server.load(moment(), saved)?;
        let (mut taken, mut passed_over) = (0, loaded.passed_over);
        for session in loaded.sessions {
            let association = session.association;
            if let Some(principal) = decode(association, &session.owner) {
                if let Some(older) = self.sole.take(&principal, association) {
                    self.server.supersede(Instant::now(), older);
                }
                let standing = Standing::Loaded;
                let holder = Holder {
                    principal,
                    standing,
                };
                self.principals.insert(association, holder);
                taken += 1;
            } else {
                self.server.forget(association);
                passed_over += 1;
            }
        }
        tracing::info!(sessions = taken, passed_over, "DTLS sessions loaded");
        Ok(taken)
    }
}

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        wall: SystemTime::now(),
    }
}

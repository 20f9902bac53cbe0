//! Sessions by their ids, for a while (RFC 5246 §7.4.1.2). Each counts for the principal that made
//! it: a full cache gives up a session of the principal or tenant that holds much more than others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use fair_share::{FairShares, Holder, Victim};

use crate::resumption::{Resumable, Resumption};

/// What a session is known by; the longest that is possible.
pub(crate) type SessionId = [u8; 32];

#[derive(Debug, Default)]
pub(crate) struct SessionCache {
    sessions: HashMap<SessionId, Entry>,
    /// By serial number: the oldest first.
    order: BTreeMap<u64, SessionId>,
    /// Serial numbers of each holder's sessions.
    by_holder: BTreeSet<(Holder, u64)>,
    shares: FairShares,
    next_serial: u64,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    resumable: Resumable,
    holder: Holder,
    serial: u64,
}

impl SessionCache {
    /// Keeps a session of a holder. If there are too many, a session of the principal or tenant
    /// that holds much more than `holder` is dropped, else the oldest.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        id: SessionId,
        resumable: Resumable,
        holder: Holder,
        config: &Resumption,
    ) {
        self.forget_old(now, config);
        self.remove(&id);
        while self.sessions.len() >= config.cached_sessions.max(1) {
            let Some(victim) = self.victim(holder) else {
                break;
            };
            self.remove(&victim);
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        self.order.insert(serial, id);
        self.by_holder.insert((holder, serial));
        self.shares.add(holder);
        let entry = Entry {
            since: now,
            resumable,
            holder,
            serial,
        };
        self.sessions.insert(id, entry);
    }

    /// All that is kept, the oldest first, with the time since when.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SessionId, Instant, &Resumable)> {
        self.order.values().filter_map(|id| {
            let entry = self.sessions.get(id)?;
            Some((id, entry.since, &entry.resumable))
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
        self.sessions.get(id).map(|entry| &entry.resumable)
    }

    /// The session may not be resumed any more.
    pub(crate) fn remove(&mut self, id: &SessionId) {
        if let Some(entry) = self.sessions.remove(id) {
            self.order.remove(&entry.serial);
            self.by_holder.remove(&(entry.holder, entry.serial));
            self.shares.remove(entry.holder);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The session that makes room for one more of `newcomer`.
    fn victim(&self, newcomer: Holder) -> Option<SessionId> {
        let total = self.sessions.len();
        let holder = match Victim::choose(&self.shares, Some(newcomer), total, SPARED) {
            Victim::Member(member) => Some(member),
            Victim::Group(group) => self.shares.most_of_group(group),
            Victim::Oldest => None,
        };
        let serial = match holder {
            Some(holder) => self.by_holder.range((holder, 0)..).next()?.1,
            None => *self.order.first_key_value()?.0,
        };
        self.order.get(&serial).copied()
    }

    fn forget_old(&mut self, now: Instant, config: &Resumption) {
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let fresh = self.sessions.get(&oldest).is_some_and(|entry| {
                now.saturating_duration_since(entry.since) < config.cache_lifetime
            });
            if fresh {
                return;
            }
            self.remove(&oldest);
        }
    }
}

/// A principal with so many sessions makes room for no other one's.
const SPARED: usize = 1;

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs an instant to begin with"
)]
mod tests {
    use std::time::Duration;

    use fair_share::HolderHasher;

    use super::*;
    use crate::crypto::{CipherSuite, MasterSecret};
    use crate::resumption::Credential;

    fn resumable() -> Resumable {
        let suite = CipherSuite::PskAes128Ccm8;
        Resumable {
            suite,
            master_secret: MasterSecret::from_bytes(suite.hash(), [0; 48]),
            server_name: None,
            credential: Credential::Certificate(Vec::new()),
        }
    }

    fn id(number: usize) -> SessionId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn config() -> Resumption {
        Resumption {
            cached_sessions: 100,
            ..Resumption::default()
        }
    }

    /// One device that shakes hands again and again pushed the sessions of all others out of the
    /// cache, which then had to make full handshakes.
    #[test]
    fn sessions_of_one_principal_push_out_no_others() {
        let (hasher, config, now) = (HolderHasher::default(), config(), Instant::now());
        let mut cache = SessionCache::default();
        for device in 0..50 {
            let holder = hasher.holder(&"T", &device);
            cache.insert(now, id(device), resumable(), holder, &config);
        }
        let hog = hasher.holder(&"T", &"hog");
        for number in 1000..5000 {
            cache.insert(now, id(number), resumable(), hog, &config);
        }
        assert_eq!(cache.len(), 100);
        for device in 0..50 {
            assert!(cache.get(now, &id(device), &config).is_some(), "{device}");
        }
        assert!(cache.get(now, &id(4999), &config).is_some(), "its newest");
    }

    #[test]
    fn devices_of_one_tenant_leave_room_for_another() {
        let (hasher, config, now) = (HolderHasher::default(), config(), Instant::now());
        let mut cache = SessionCache::default();
        for device in 0..10 {
            let holder = hasher.holder(&"modest", &device);
            cache.insert(now, id(device), resumable(), holder, &config);
        }
        for device in 1000..5000 {
            let holder = hasher.holder(&"T", &device);
            cache.insert(now, id(device), resumable(), holder, &config);
        }
        let kept = (0..10).filter(|device| cache.get(now, &id(*device), &config).is_some());
        assert_eq!(kept.count(), 10);
    }

    #[test]
    fn removed_and_old_sessions_leave_nothing() {
        let (hasher, config, now) = (HolderHasher::default(), config(), Instant::now());
        let mut cache = SessionCache::default();
        for number in 0..40 {
            let holder = hasher.holder(&(number % 3), &(number % 7));
            cache.insert(now, id(number), resumable(), holder, &config);
        }
        // Again under the same id.
        cache.insert(now, id(5), resumable(), hasher.holder(&0, &0), &config);
        assert_eq!((cache.len(), cache.iter().count()), (40, 40));
        cache.remove(&id(7));
        assert_eq!((cache.len(), cache.iter().count()), (39, 39));
        let later = now + config.cache_lifetime + Duration::from_secs(1);
        assert!(cache.get(later, &id(1), &config).is_none());
        assert_eq!((cache.order.len(), cache.by_holder.len()), (0, 0));
        assert_eq!(cache.shares.groups(), 0);
    }
}

//! Who has used what, bounded: two halves, of which the older is forgotten when the younger is full.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::Account;

/// A device, or a tenant as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    tenant: Arc<str>,
    device: Option<Arc<str>>,
}

impl Key {
    pub(super) fn tenant(tenant: &Arc<str>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            device: None,
        }
    }

    pub(super) fn device(tenant: &Arc<str>, device: &Arc<str>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            device: Some(Arc::clone(device)),
        }
    }
}

/// The accounts that were used last. Whoever is forgotten has a full budget again.
#[derive(Debug)]
pub(super) struct Table {
    young: HashMap<Key, Account>,
    old: HashMap<Key, Account>,
    /// Entries of each half.
    half: usize,
}

impl Table {
    /// At most `entries`, and one.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: entries.div_ceil(2).max(1),
        }
    }

    pub(super) fn take(&mut self, key: &Key) -> Option<Account> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn put(&mut self, key: Key, account: Account) {
        if self.young.len() >= self.half {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, account);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

//! What is known about tenants, and for how long (spec: resource-limits §4). Pure: the time comes in.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::Usage;
use crate::config::ResourceLimitsConfig;

/// Usages by tenant; when full, the one learnt first makes room.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<String, Entry>,
    max_size: usize,
    /// After how long an entry counts no more.
    timeout: Duration,
    /// After how long an entry that still counts is to be learnt anew.
    refresh: Duration,
}

/// What is known about a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// `None` if it is unknown, or was known too long ago.
    pub(super) usage: Option<Usage>,
    /// Whether it should be learnt now.
    pub(super) is_due: bool,
}

impl Cache {
    /// Bounds and life times of `config`.
    pub(super) fn new(config: &ResourceLimitsConfig) -> Self {
        Self {
            entries: HashMap::new(),
            max_size: usize::try_from(config.cache_max_size).unwrap_or(usize::MAX),
            timeout: config.cache_timeout,
            refresh: config.cache_timeout / config.cache_refresh_divisor.max(1),
        }
    }

    pub(super) fn find(&self, now: Instant, tenant: &str) -> Found {
        let entry = self.entries.get(tenant);
        let age = |entry: &Entry| now.saturating_duration_since(entry.learnt);
        match entry {
            Some(entry) if age(entry) < self.timeout => Found {
                usage: Some(entry.usage),
                is_due: age(entry) >= self.refresh,
            },
            _ => Found {
                usage: None,
                is_due: true,
            },
        }
    }

    pub(super) fn keep(&mut self, now: Instant, tenant: &str, usage: Usage) {
        let entry = Entry { usage, learnt: now };
        if let Some(known) = self.entries.get_mut(tenant) {
            *known = entry;
            return;
        }
        if self.entries.len() >= self.max_size {
            self.make_room();
        }
        if self.entries.len() < self.max_size {
            self.entries.insert(tenant.to_owned(), entry);
        }
    }

    fn make_room(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.learnt);
        if let Some(tenant) = oldest.map(|(tenant, _)| tenant.clone()) {
            self.entries.remove(&tenant);
        }
    }
}

#[derive(Debug)]
struct Entry {
    usage: Usage,
    learnt: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Usage = Usage {
        consumed: 0,
        limit: 100,
    };
    const UNKNOWN: Found = Found {
        usage: None,
        is_due: true,
    };

    fn cache(max_size: usize) -> Cache {
        Cache {
            entries: HashMap::new(),
            max_size,
            timeout: Duration::from_secs(60),
            refresh: Duration::from_secs(30),
        }
    }

    #[test]
    fn an_entry_is_refreshed_after_half_its_life_and_forgotten_after_all_of_it() {
        let (mut cache, start) = (cache(20), Instant::now());
        assert_eq!(cache.find(start, "T"), UNKNOWN);
        cache.keep(start, "T", LIMIT);
        let known = |is_due| Found {
            usage: Some(LIMIT),
            is_due,
        };
        for (millis, found) in [
            (0, known(false)),
            (29_999, known(false)),
            (30_000, known(true)),
            (59_999, known(true)),
            (60_000, UNKNOWN),
        ] {
            let now = start + Duration::from_millis(millis);
            assert_eq!(cache.find(now, "T"), found, "{millis}");
        }
        cache.keep(start + Duration::from_secs(40), "T", LIMIT);
        let now = start + Duration::from_secs(69);
        assert_eq!(cache.find(now, "T"), known(false));
    }

    #[test]
    fn a_full_cache_forgets_what_it_learnt_first() {
        let (mut cache, start) = (cache(20), Instant::now());
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            cache.keep(now, &format!("T{second}"), LIMIT);
            assert!(cache.entries.len() <= 20);
        }
        let now = start + Duration::from_secs(30);
        assert_eq!(cache.find(now, "T9"), UNKNOWN);
        assert_eq!(cache.find(now, "T10").usage, Some(LIMIT));
    }

    #[test]
    fn a_cache_of_no_size_keeps_nothing() {
        let (mut cache, now) = (cache(0), Instant::now());
        cache.keep(now, "T", LIMIT);
        assert_eq!(cache.find(now, "T"), UNKNOWN);
    }
}

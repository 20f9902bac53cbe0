//! Answers kept for as long as the services allow, so that not every request of a device costs a look-up (spec: registry-apis A.2).

mod directive;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Equivalent, Expiry, future::Cache};

pub(crate) use self::directive::lifetime;
use crate::ServiceError;

/// How many answers are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many answers to make room for at the start (`responseCacheMinSize`).
    pub min_size: usize,
    /// How many answers are kept at most; 0 keeps none (`responseCacheMaxSize`).
    pub max_size: u64,
    /// How long answers are kept at most, and how long if the service says nothing about it; at most a day
    /// (`responseCacheDefaultTimeout`).
    pub default_timeout: Duration,
}

/// The defaults of spec: registry-apis A.2, configuration §2.
impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            min_size: 20,
            max_size: 1000,
            default_timeout: Duration::from_secs(600),
        }
    }
}

impl CacheConfig {
    /// How long an answer may be kept, from now.
    pub(crate) fn lifetime(&self, status: u16, cache_control: Option<&str>) -> Option<Duration> {
        if self.max_size == 0 {
            return None;
        }
        lifetime(status, cache_control, self.default_timeout.min(LONGEST))
    }
}

/// What a service said: the object, or an error that is an answer too.
pub(crate) type Outcome<T> = Result<Arc<T>, ServiceError>;

/// An answer, and how long it may be kept; `None` = not at all.
pub(crate) struct Answer<T> {
    pub(crate) outcome: Outcome<T>,
    pub(crate) lifetime: Option<Duration>,
}

impl<T> Answer<T> {
    /// No answer, which is not worth remembering.
    pub(crate) const fn not_kept(error: ServiceError) -> Self {
        Self {
            outcome: Err(error),
            lifetime: None,
        }
    }
}

/// The answers of one API for all tenants. Who asks for what somebody else is asking for at the moment shares that request.
pub(crate) struct Answers<K, T> {
    kept: Cache<K, Kept<T>>,
    /// Counts the calls of [`Answers::forget`]: an answer that was on its way meanwhile may be out of date and is not kept.
    forgotten: AtomicU64,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, T: Send + Sync + 'static> Answers<K, T> {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        let max_size = usize::try_from(config.max_size).unwrap_or(usize::MAX);
        Self {
            kept: Cache::builder()
                .max_capacity(config.max_size)
                .initial_capacity(config.min_size.min(max_size))
                .expire_after(Lifetime)
                .build(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The answer that is kept, or else the one that `ask` gets. No key is made for a look-up that finds one.
    pub(crate) async fn find<F: Future<Output = Answer<T>>>(
        &self,
        asked: impl Hash + Equivalent<K> + Into<K> + Sync,
        ask: impl FnOnce() -> F,
    ) -> Outcome<T> {
        if let Some(kept) = self.kept.get(&asked).await {
            return kept.outcome;
        }
        // Seldom needed, so that the futures of those who find an answer are not to hold its state.
        Box::pin(self.fetch(asked.into(), ask())).await
    }

    async fn fetch(&self, key: K, ask: impl Future<Output = Answer<T>>) -> Outcome<T> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let found = self.kept.try_get_with(key.clone(), keep(ask)).await;
        if self.forgotten.load(Ordering::SeqCst) != forgotten {
            self.kept.invalidate(&key).await;
        }
        match found {
            Ok(kept) => kept.outcome,
            Err(not_kept) => not_kept.0.clone(),
        }
    }

    /// How many answers are kept, more or less: those that just came or went may not be counted yet.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.kept.entry_count()).unwrap_or(usize::MAX)
    }

    /// Forgets the answers that meet the condition.
    pub(crate) async fn forget(&self, condition: impl Fn(&K, Option<&T>) -> bool) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        for (key, kept) in &self.kept {
            if condition(&key, kept.outcome.as_deref().ok()) {
                self.kept.invalidate(&*key).await;
            }
        }
    }
}

struct Kept<T> {
    outcome: Outcome<T>,
    lifetime: Duration,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            lifetime: self.lifetime,
        }
    }
}

struct NotKept<T>(Outcome<T>);

async fn keep<T>(ask: impl Future<Output = Answer<T>>) -> Result<Kept<T>, NotKept<T>> {
    let Answer { outcome, lifetime } = ask.await;
    match lifetime {
        Some(lifetime) => Ok(Kept { outcome, lifetime }),
        None => Err(NotKept(outcome)),
    }
}

/// Tells when an answer is too old: so long after it was written, however often it is read.
struct Lifetime;

impl<K, T> Expiry<K, Kept<T>> for Lifetime {
    fn expire_after_create(&self, _: &K, kept: &Kept<T>, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &K,
        kept: &Kept<T>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

/// No answer is kept longer, whatever is configured (spec: registry-apis A.2).
const LONGEST: Duration = Duration::from_secs(86_400);

//! Answers kept for as long as the services allow, so that not every request of a device costs a look-up (spec: registry-apis A.2).

mod directive;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use fair_share::Holder;
use fair_table::{Equivalent, FairTable};
use tokio::sync::watch;

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

/// The answers of one API for all tenants, each counted for a [`Holder`]. Equal look-ups at the same
/// time are coalesced.
pub(crate) struct Answers<K, T> {
    kept: RwLock<Kept<K, T>>,
    /// The look-ups that are under way.
    pending: Mutex<HashMap<K, Pending<T>>>,
}

struct Kept<K, T> {
    table: FairTable<K, Outcome<T>>,
    /// Counts the calls of [`Answers::forget`]: an answer that was on its way meanwhile may be out of
    /// date and is not kept.
    forgotten: u64,
}

type Pending<T> = watch::Receiver<Option<Outcome<T>>>;

impl<K: Hash + Eq + Clone, T> Answers<K, T> {
    pub(crate) fn new(config: &CacheConfig) -> Self {
        let max_size = usize::try_from(config.max_size).unwrap_or(usize::MAX);
        Self {
            kept: RwLock::new(Kept {
                table: FairTable::new(max_size).with_room_for(config.min_size),
                forgotten: 0,
            }),
            pending: Mutex::default(),
        }
    }

    /// The answer that is kept, if there is one. No key is made.
    pub(crate) fn get(&self, asked: &(impl Hash + Equivalent<K>)) -> Option<Outcome<T>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.table.get(asked, now()).cloned()
    }

    /// The answer that is kept, or else the one that `ask` gets, which counts for `holder` if it is
    /// kept. Neither key nor holder is made for a look-up that finds one.
    pub(crate) async fn find<F: Future<Output = Answer<T>>>(
        &self,
        asked: impl Hash + Equivalent<K> + Into<K>,
        holder: impl FnOnce() -> Holder,
        ask: impl FnOnce() -> F,
    ) -> Outcome<T> {
        if let Some(kept) = self.get(&asked) {
            return kept;
        }
        // Seldom needed, so that the futures of those who find an answer are not to hold its state.
        Box::pin(self.fetch(asked.into(), holder(), ask)).await
    }

    async fn fetch<F: Future<Output = Answer<T>>>(
        &self,
        key: K,
        holder: Holder,
        ask: impl FnOnce() -> F,
    ) -> Outcome<T> {
        let lead = loop {
            match self.join(&key) {
                Ok(lead) => break lead,
                Err(mut pending) => {
                    // An error means that the one that asked gave up: another has to ask.
                    if let Ok(answered) = pending.wait_for(Option::is_some).await
                        && let Some(outcome) = answered.clone()
                    {
                        return outcome;
                    }
                }
            }
        };
        let forgotten = self.kept_mut().forgotten;
        let Answer { outcome, lifetime } = ask().await;
        if let Some(lifetime) = lifetime {
            let mut kept = self.kept_mut();
            if kept.forgotten == forgotten {
                let now = now();
                let expires = now.checked_add(lifetime);
                kept.table
                    .insert(key, outcome.clone(), holder, now, expires);
            }
        }
        lead.answer(&outcome);
        outcome
    }

    /// The task to ask for `key`, or what others have asked already.
    fn join(&self, key: &K) -> Result<Lead<'_, K, T>, Pending<T>> {
        let mut pending = self.pending();
        if let Some(asked) = pending.get(key)
            && asked.has_changed().is_ok()
        {
            return Err(asked.clone());
        }
        let (answer, asked) = watch::channel(None);
        pending.insert(key.clone(), asked);
        Ok(Lead {
            answers: self,
            key: key.clone(),
            answer,
        })
    }

    /// Number of answers that are kept.
    pub(crate) fn len(&self) -> usize {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.table.fresh(now())
    }

    /// Forgets the answers that meet the condition.
    pub(crate) fn forget(&self, condition: impl Fn(&K, Option<&T>) -> bool) {
        let mut kept = self.kept_mut();
        kept.forgotten = kept.forgotten.wrapping_add(1);
        kept.table
            .remove_if(|key, outcome| condition(key, outcome.as_deref().ok()));
        drop(kept);
        // What is asked from now on gets an answer of its own.
        self.pending().clear();
    }

    fn kept_mut(&self) -> std::sync::RwLockWriteGuard<'_, Kept<K, T>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<K, Pending<T>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task to ask for a key on behalf of all. Dropped, it leaves the task to another.
struct Lead<'a, K: Hash + Eq + Clone, T> {
    answers: &'a Answers<K, T>,
    key: K,
    answer: watch::Sender<Option<Outcome<T>>>,
}

impl<K: Hash + Eq + Clone, T> Lead<'_, K, T> {
    fn answer(self, outcome: &Outcome<T>) {
        self.answer.send_replace(Some(outcome.clone()));
    }
}

impl<K: Hash + Eq + Clone, T> Drop for Lead<'_, K, T> {
    fn drop(&mut self) {
        let own = self.answer.subscribe();
        let mut pending = self.answers.pending();
        if pending
            .get(&self.key)
            .is_some_and(|asked| asked.same_channel(&own))
        {
            pending.remove(&self.key);
        }
    }
}

/// The time by tokio's clock, which tests may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// No answer is kept longer, whatever is configured (spec: registry-apis A.2).
const LONGEST: Duration = Duration::from_secs(86_400);

//! What responders said, for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fair_share::HolderHasher;
use fair_table::FairTable;
use registry_client::tenant::TrustAnchor;

use super::response::Answer;

/// Answers by the certificate that they are about, each counted for the authority.
#[derive(Debug)]
pub(super) struct Cache {
    longest: Duration,
    answers: Mutex<FairTable<Vec<u8>, (SystemTime, Answer)>>,
    hasher: HolderHasher,
}

impl Cache {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest,
            answers: Mutex::new(FairTable::new(MAX_ANSWERS)),
            hasher: HolderHasher::default(),
        }
    }

    pub(super) fn get(&self, id: &[u8], now: SystemTime) -> Option<Answer> {
        let answers = self.answers();
        let (until, answer) = answers.get(id, Instant::now())?;
        (now < *until).then_some(*answer)
    }

    /// Keeps an answer. When too many are kept, one of the authority with the most makes room.
    pub(super) fn put(&self, id: &[u8], anchor: &TrustAnchor, now: SystemTime, answer: Answer) {
        let until = answer.until.min(now + self.longest);
        let Ok(lifetime) = until.duration_since(now) else {
            return;
        };
        let holder = self.hasher.holder(&anchor.public_key, &());
        let (now, kept) = (Instant::now(), (until, answer));
        let expires = now.checked_add(lifetime);
        self.answers()
            .insert(id.to_owned(), kept, holder, now, expires);
    }

    fn answers(&self) -> MutexGuard<'_, FairTable<Vec<u8>, (SystemTime, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers that are kept at a time.
const MAX_ANSWERS: usize = 10_000;

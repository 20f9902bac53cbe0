//! What responders said, for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::response::Answer;

/// Answers by the certificate that they are about.
#[derive(Debug)]
pub(super) struct Cache {
    longest: Duration,
    answers: Mutex<HashMap<Vec<u8>, (SystemTime, Answer)>>,
}

impl Cache {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest,
            answers: Mutex::default(),
        }
    }

    pub(super) fn get(&self, id: &[u8], now: SystemTime) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = answers.get(id)?;
        (now < *until).then_some(*answer)
    }

    /// An answer whose time is over makes room; if there is none, this one is not kept.
    pub(super) fn put(&self, id: &[u8], now: SystemTime, answer: Answer) {
        let until = answer.until.min(now + self.longest);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_ANSWERS && !answers.contains_key(id) {
            answers.retain(|_, (until, _)| now < *until);
        }
        if until > now && answers.len() < MAX_ANSWERS {
            answers.insert(id.to_owned(), (until, answer));
        }
    }
}

/// Answers that are kept at a time.
const MAX_ANSWERS: usize = 10_000;

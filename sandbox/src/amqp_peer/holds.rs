//! A registry that is slow about some credentials: answers that are kept back until somebody lets them go.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::{connection::lock, requests::Service, router::Router};
use crate::registry;

/// Answers that wait, by the auth-id that was asked for.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<String, Vec<Answer>>);

#[derive(Debug)]
struct Answer {
    link: u64,
    message: Vec<u8>,
}

impl Holds {
    /// Takes an answer that somebody wants kept back; gives it back if nobody does.
    pub(super) fn keep(
        &mut self,
        service: &Service,
        request: &[u8],
        link: u64,
        message: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let held = match service {
            Service::Registry(registry::Service::Credentials { .. }) => {
                auth_id(request).and_then(|auth_id| self.0.get_mut(&auth_id))
            }
            _ => None,
        };
        match held {
            Some(held) if held.len() < MAX_HELD => {
                held.push(Answer { link, message });
                None
            }
            _ => Some(message),
        }
    }
}

/// The registry does not answer questions for the credentials with one auth-id as long as this lives; when it is dropped, they all
/// get their answers.
#[must_use = "the answers are let go when it is dropped"]
pub struct CredentialsHold {
    router: Arc<Mutex<Router>>,
    auth_id: String,
}

impl CredentialsHold {
    pub(super) fn new(router: Arc<Mutex<Router>>, auth_id: String) -> Self {
        lock(&router).holds.0.entry(auth_id.clone()).or_default();
        Self { router, auth_id }
    }

    /// How many questions wait for their answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let router = lock(&self.router);
        router.holds.0.get(&self.auth_id).map_or(0, Vec::len)
    }
}

impl Drop for CredentialsHold {
    fn drop(&mut self) {
        let mut router = lock(&self.router);
        for answer in router.holds.0.remove(&self.auth_id).unwrap_or_default() {
            router.push_own(answer.link, answer.message);
        }
    }
}

impl fmt::Debug for CredentialsHold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CredentialsHold")
            .field("auth_id", &self.auth_id)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

fn auth_id(request: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(request).ok()?;
    request.get("auth-id")?.as_str().map(str::to_owned)
}

/// Answers that are kept back for one auth-id; further ones are given at once.
const MAX_HELD: usize = 1000;

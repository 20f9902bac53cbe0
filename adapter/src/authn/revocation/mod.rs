//! Whether a certificate was revoked, as its authority's OCSP responder says (RFC 6960; spec: coap-adapter §9, "Client certificate").
//!
//! ```text
//! certificate ─> known for a while? ─no─> request ─HTTP─> responder ─> response: whose is it, of when, about what
//! ```
//!
//! Asked only where the tenant wants it, about the device's own certificate only. Without a clear "good" the certificate is refused: a
//! responder that is away keeps new devices out, as with Hono, and never lets a revoked one in.

mod cache;
mod http;
mod request;
mod response;

use std::time::{Duration, SystemTime};

use dtls_server::Certificate;
use fair_semaphore::FairSemaphore;
use fair_share::HolderHasher;
use registry_client::tenant::{Ocsp, TrustAnchor};
use tokio::time::timeout;

use self::cache::Cache;
use self::request::Question;
use self::response::Answer;

/// Asks responders, and remembers for a while what they said.
#[derive(Debug)]
pub struct Revocation {
    timeout: Duration,
    cache: Cache,
    /// Turns for requests, which no responder takes from all others.
    turns: FairSemaphore,
    hasher: HolderHasher,
}

impl Revocation {
    /// A responder must answer within `timeout`; an answer counts for `cache_timeout`, but never longer than it says itself.
    #[must_use]
    pub fn new(timeout: Duration, cache_timeout: Duration) -> Self {
        Self {
            timeout,
            cache: Cache::new(cache_timeout),
            turns: FairSemaphore::new(MAX_REQUESTS, MAX_WAITING),
            hasher: HolderHasher::default(),
        }
    }

    /// Permits for requests to responders.
    #[must_use]
    pub const fn requests(&self) -> &FairSemaphore {
        &self.turns
    }

    /// Makes sure that the certificate, which `anchor` has issued, was not revoked.
    pub(super) async fn check(
        &self,
        certificate: &Certificate,
        anchor: &TrustAnchor,
        ocsp: &Ocsp,
    ) -> Result<(), NotGood> {
        let question = Question::new(certificate, anchor, ocsp)?;
        let now = SystemTime::now();
        let id = question.id(ocsp);
        if let Some(known) = self.cache.get(&id, now) {
            return known.verdict();
        }
        let answer = timeout(self.timeout, self.ask(&question, certificate, anchor, ocsp));
        let answer = answer.await.map_err(|_| NotGood::TimedOut)??;
        self.cache.put(&id, anchor, now, answer);
        answer.verdict()
    }

    async fn ask(
        &self,
        question: &Question,
        certificate: &Certificate,
        anchor: &TrustAnchor,
        ocsp: &Ocsp,
    ) -> Result<Answer, NotGood> {
        let responder = ocsp.responder_uri.as_deref();
        let responder = responder
            .or(certificate.ocsp_responder())
            .ok_or(NotGood::NoResponder)?;
        let holder = self.hasher.holder(&responder, &anchor.public_key);
        let turn = self.turns.acquire(holder).await;
        let _turn = turn.map_err(|_overloaded| NotGood::TimedOut)?;
        let bytes = http::post(responder, question.encode()?).await?;
        response::read(&bytes, question, anchor, ocsp, SystemTime::now())
    }
}

/// Why a certificate is not known to be good; for the log, the device is refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotGood {
    #[error("it was revoked")]
    Revoked,
    #[error("the responder does not know it")]
    Unknown,
    #[error("neither the tenant nor the certificate tells where a responder is")]
    NoResponder,
    #[error("no request can be made about it")]
    Unaskable,
    #[error("the responder cannot be reached")]
    Unreachable,
    #[error("the responder does not answer in time")]
    TimedOut,
    #[error("the responder does not answer the request")]
    Refused,
    #[error("the response cannot be read")]
    Malformed,
    #[error("the response is not signed by who may do so")]
    Unsigned,
    #[error("the response is not about the request")]
    Unrelated,
    #[error("the response is not of now")]
    Stale,
}

/// Requests at a time, to all responders together. One responder has two thirds of them at most.
const MAX_REQUESTS: usize = 96;

/// Requests that wait for their turn; each waits no longer than a responder may take to answer.
const MAX_WAITING: usize = 4_096;

#[cfg(test)]
mod tests;

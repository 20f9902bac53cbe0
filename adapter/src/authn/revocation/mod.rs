//! Whether a certificate was revoked, as its authority's OCSP responder says (RFC 6960; spec: coap-adapter §9, "Client certificate").
//!
//! ```text
//! certificate ─> known for a while? ─no─> request ─HTTP─> responder ─> response: whose is it, of when, about what
//! ```
//!
//! Asked only where the tenant wants it, about the device's own certificate only. Without a clear "good" the certificate is refused: a
//! responder that is away keeps new devices out, as it does with the reference, and never lets a revoked one in.

mod cache;
mod http;
mod request;
mod response;

use std::time::{Duration, SystemTime};

use dtls_server::Certificate;
use registry_client::tenant::{Ocsp, TrustAnchor};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::cache::Cache;
use self::request::Question;
use self::response::Answer;

/// Asks responders, and remembers for a while what they said.
#[derive(Debug)]
pub struct Revocation {
    timeout: Duration,
    cache: Cache,
    /// How many responders are asked at a time.
    turns: Semaphore,
}

impl Revocation {
    /// A responder must answer within `timeout`; an answer counts for `cache_timeout`, but never longer than it says itself.
    #[must_use]
    pub fn new(timeout: Duration, cache_timeout: Duration) -> Self {
        Self {
            timeout,
            cache: Cache::new(cache_timeout),
            turns: Semaphore::new(MAX_REQUESTS),
        }
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
        self.cache.put(&id, now, answer);
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
        let _turn = self.turns.acquire().await.map_err(|_| NotGood::TimedOut)?;
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

/// Responders that are asked at a time, all tenants together.
const MAX_REQUESTS: usize = 64;

#[cfg(test)]
mod tests;

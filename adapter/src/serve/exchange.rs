//! One request in the works: what the pipeline sees of it, and how its answer gets back to the port it came from.

use std::future::Future;
use std::pin::pin;

use coap_proto::{Code, ExchangeId, Request, Response};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::authn::Principal;
use crate::tenant::AckTimeout;

/// A request and the way back to its peer. Dropped unanswered, it is answered 5.00.
#[derive(Debug)]
pub struct Exchange {
    id: ExchangeId,
    request: Request,
    principal: Option<Principal>,
    replies: mpsc::Sender<Reply>,
    answered: bool,
}

/// What a port is to do about an exchange.
#[derive(Debug)]
pub(super) enum Reply {
    /// Tell the peer that its request arrived.
    Acknowledge(ExchangeId),
    /// Cancel this when the peer's session is over.
    Watch(ExchangeId, CancellationToken),
    /// Answer it.
    Respond(ExchangeId, Response),
}

impl Exchange {
    pub(super) const fn new(
        id: ExchangeId,
        request: Request,
        principal: Option<Principal>,
        replies: mpsc::Sender<Reply>,
    ) -> Self {
        Self {
            id,
            request,
            principal,
            replies,
            answered: false,
        }
    }

    /// What is asked.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Who asks; `None` outside a DTLS session.
    #[must_use]
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Waits for `work`, and acknowledges the request when that takes longer than `timeout` (RFC 7252 §5.2.2).
    pub async fn acknowledging<T>(&self, timeout: AckTimeout, work: impl Future<Output = T>) -> T {
        let AckTimeout::After(timeout) = timeout else {
            return work.await;
        };
        let mut work = pin!(work);
        if timeout.is_zero() {
            self.acknowledge().await;
            return work.await;
        }
        tokio::select! {
            biased;
            done = &mut work => done,
            () = tokio::time::sleep(timeout) => {
                self.acknowledge().await;
                work.await
            }
        }
    }

    /// Waits for `work`, but only as long as the peer's session lives; `None` if that was not long enough.
    pub async fn unless_gone<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let gone = CancellationToken::new();
        self.reply(Reply::Watch(self.id, gone.clone())).await;
        gone.run_until_cancelled_owned(work).await
    }

    async fn acknowledge(&self) {
        self.reply(Reply::Acknowledge(self.id)).await;
    }

    pub(super) async fn respond(mut self, response: Response) {
        self.answered = true;
        self.reply(Reply::Respond(self.id, response)).await;
    }

    /// The port takes replies as long as it lives; after that nobody waits for them.
    async fn reply(&self, reply: Reply) {
        if self.replies.send(reply).await.is_err() {
            tracing::debug!("the port is gone before the answer");
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            let response = Response::new(Code::INTERNAL_SERVER_ERROR);
            if self
                .replies
                .try_send(Reply::Respond(self.id, response))
                .is_err()
            {
                tracing::debug!("a request stays without answer");
            }
        }
    }
}

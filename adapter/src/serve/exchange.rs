//! One request in the works: what the pipeline sees of it, and how its answer gets back to the port it came from.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use coap_proto::{Code, ExchangeId, Request, Response};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::authn::{Origin, Principal};
use crate::respond::Answer;
use crate::tenant::AckTimeout;

/// A request and the way back to its peer. Dropped unanswered, it is answered 5.00.
#[derive(Debug)]
pub struct Exchange {
    id: ExchangeId,
    request: Request,
    principal: Option<Principal>,
    /// Whom it is from, once that is known.
    origin: OnceLock<Origin>,
    replies: mpsc::Sender<Reply>,
    trace: Span,
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
    Respond(ExchangeId, Answer),
}

impl Exchange {
    pub(super) const fn new(
        id: ExchangeId,
        request: Request,
        principal: Option<Principal>,
        replies: mpsc::Sender<Reply>,
        trace: Span,
    ) -> Self {
        Self {
            id,
            request,
            principal,
            origin: OnceLock::new(),
            replies,
            trace,
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

    /// Lets others know whom the request is from; said again it changes nothing.
    pub fn is_from(&self, origin: &Origin) {
        self.origin.get_or_init(|| origin.clone());
    }

    /// Whom it is from, if that is known.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.get()
    }

    /// The first span of its trace.
    #[must_use]
    pub const fn trace(&self) -> &Span {
        &self.trace
    }

    /// Waits for `work`, and acknowledges the request when that takes longer than `timeout` (RFC 7252 §5.2.2).
    pub async fn acknowledging<F: Future>(
        &self,
        timeout: AckTimeout,
        mut work: Pin<&mut F>,
    ) -> F::Output {
        let AckTimeout::After(timeout) = timeout else {
            return work.await;
        };
        if !timeout.is_zero()
            && let Ok(done) = tokio::time::timeout(timeout, work.as_mut()).await
        {
            return done;
        }
        self.acknowledge().await;
        work.await
    }

    /// Waits for `work`, but only as long as the peer's session lives; `None` if that was not long enough.
    pub async fn unless_gone<F: Future>(&self, work: Pin<&mut F>) -> Option<F::Output> {
        let gone = CancellationToken::new();
        self.reply(Reply::Watch(self.id, gone.clone())).await;
        gone.run_until_cancelled_owned(work).await
    }

    async fn acknowledge(&self) {
        self.reply(Reply::Acknowledge(self.id)).await;
    }

    pub(super) async fn respond(&mut self, answer: Answer) {
        self.answered = true;
        self.reply(Reply::Respond(self.id, answer)).await;
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
                .try_send(Reply::Respond(self.id, response.into()))
                .is_err()
            {
                tracing::debug!("a request stays without answer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use coap_proto::{Config, Endpoint, Event};
    use tokio::sync::mpsc;

    use super::*;

    fn exchange() -> (Exchange, mpsc::Receiver<Reply>) {
        let mut endpoint = Endpoint::new(Config::default(), 0);
        let post = [0x40, 2, 0, 1, 0xb1, b't'];
        endpoint.handle_datagram(std::time::Instant::now(), &(), &post);
        let Some(Event::Request {
            exchange, request, ..
        }) = endpoint.poll_event()
        else {
            panic!("that is a request");
        };
        let (replies, taken) = mpsc::channel(4);
        (
            Exchange::new(exchange, request, None, replies, Span::none()),
            taken,
        )
    }

    /// Whatever keeps a request from being answered, its device gets an answer.
    #[test]
    fn a_request_whose_task_fails_is_answered_5_00() {
        let (exchange, mut replies) = exchange();
        let failed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let _exchange = exchange;
            panic!("a step failed");
        }));
        assert!(failed.is_err());
        let Ok(Reply::Respond(_, answer)) = replies.try_recv() else {
            panic!("there is no answer");
        };
        assert_eq!(answer.go_out().code, Code::INTERNAL_SERVER_ERROR);
        assert!(replies.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_request_is_answered_once() {
        let (mut exchange, mut replies) = exchange();
        exchange.respond(Response::new(Code::CHANGED).into()).await;
        let Ok(Reply::Respond(_, answer)) = replies.try_recv() else {
            panic!("there is no answer");
        };
        assert_eq!(answer.go_out().code, Code::CHANGED);
        drop(exchange);
        assert!(replies.try_recv().is_err());
    }
}

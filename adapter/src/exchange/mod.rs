//! One request in progress: what the pipeline sees of it, and how its response gets back to the port.

mod admission;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use coap_proto::{Code, ExchangeId, Response};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

pub use self::admission::{
    AdmissionControl, AdmissionLimits, RequestPermit, RequestSource, Reserve, WaitPermit,
};
use crate::authn::{Origin, Principal};
use crate::respond::Answer;
use crate::tenant::AckTimeout;

/// A request in progress without its content, and the way back to its peer. Dropped unanswered, it is answered 5.00.
#[derive(Debug)]
pub struct Exchange {
    id: ExchangeId,
    principal: Option<Principal>,
    source: RequestSource,
    /// Whom it is from, once that is known.
    origin: OnceLock<Origin>,
    replies: mpsc::Sender<Reply>,
    trace: Span,
    answered: bool,
}

/// What a port is to do about an exchange.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Tell the peer that its request arrived.
    Acknowledge(ExchangeId),
    /// Drop this when the peer's session is over.
    Watch(ExchangeId, oneshot::Sender<Infallible>),
    /// Answer it.
    Respond(ExchangeId, Answer),
}

/// When the request is to be acknowledged ahead of its answer, if it still is.
#[derive(Debug, Clone, Copy)]
pub struct AckDue(Option<Instant>);

impl AckDue {
    /// Counts the time from now on.
    #[must_use]
    pub fn after(timeout: AckTimeout) -> Self {
        Self(match timeout {
            AckTimeout::Never => None,
            AckTimeout::After(timeout) => Instant::now().checked_add(timeout),
        })
    }

    /// The moment.
    #[must_use]
    pub const fn at(self) -> Option<Instant> {
        self.0
    }
}

impl Exchange {
    pub(crate) const fn new(
        id: ExchangeId,
        principal: Option<Principal>,
        source: RequestSource,
        replies: mpsc::Sender<Reply>,
        trace: Span,
    ) -> Self {
        Self {
            id,
            principal,
            source,
            origin: OnceLock::new(),
            replies,
            trace,
            answered: false,
        }
    }

    /// Who asks; `None` outside a DTLS session.
    #[must_use]
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Who pays for it.
    #[must_use]
    pub const fn source(&self) -> RequestSource {
        self.source
    }

    /// Lets others know whom the request is from; said again it changes nothing.
    pub fn is_from(&self, origin: Origin) -> &Origin {
        self.origin.get_or_init(|| origin)
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

    /// Waits for `work`, and acknowledges the request when that is `due` before (RFC 7252 §5.2.2).
    pub async fn acknowledging<F: Future>(
        &self,
        due: &mut AckDue,
        mut work: Pin<&mut F>,
    ) -> F::Output {
        if let Some(at) = due.0 {
            if at > Instant::now()
                && let Ok(done) = timeout_at(at, work.as_mut()).await
            {
                return done;
            }
            self.acknowledge(due).await;
        }
        work.await
    }

    /// Tells the peer that its request arrived; from then on that is not due any more.
    pub async fn acknowledge(&self, due: &mut AckDue) {
        due.0 = None;
        self.reply(Reply::Acknowledge(self.id)).await;
    }

    /// What is ready, with an error, as soon as the peer's session is over.
    pub async fn gone(&self) -> oneshot::Receiver<Infallible> {
        let (while_there, gone) = oneshot::channel();
        self.reply(Reply::Watch(self.id, while_there)).await;
        gone
    }

    /// Answers it, as soon as the port has room for that.
    pub(crate) fn respond(&mut self, answer: Answer) -> impl Future<Output = ()> {
        self.answered = true;
        self.reply(Reply::Respond(self.id, answer))
    }

    /// The port takes replies as long as it lives; after that nobody waits for them. There is almost always room at once, so that what is
    /// needed to wait for it is no part of the thousands of requests that wait for something else.
    fn reply(&self, reply: Reply) -> impl Future<Output = ()> {
        let waiting = match self.replies.try_send(reply) {
            Ok(()) => None,
            // Where the port is gone, to wait for it says so at once.
            Err(TrySendError::Full(reply) | TrySendError::Closed(reply)) => {
                Some(Box::pin(self.replies.send(reply)))
            }
        };
        async move {
            if let Some(waiting) = waiting
                && waiting.await.is_err()
            {
                tracing::debug!("the port ended before the response");
            }
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
                tracing::debug!("a request was dropped without a response");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::panic::AssertUnwindSafe;

    use coap_proto::{Config, Endpoint, Event};
    use tokio::sync::mpsc;

    use super::*;

    fn exchange() -> (Exchange, mpsc::Receiver<Reply>) {
        let mut endpoint = Endpoint::new(Config::default(), 0);
        let post = [0x40, 2, 0, 1, 0xb1, b't'];
        endpoint.handle_datagram(std::time::Instant::now(), &(), &post);
        let Some(Event::Request { exchange, .. }) = endpoint.poll_event() else {
            panic!("that is a request");
        };
        let (replies, taken) = mpsc::channel(4);
        let admission = AdmissionControl::new(AdmissionLimits {
            requests: 1,
            bytes: 1,
            waiting: 1,
            reserve: Reserve::Nothing,
        });
        let source = admission.source(None, IpAddr::from([127, 0, 0, 1]));
        let exchange = Exchange::new(exchange, None, source, replies, Span::none());
        (exchange, taken)
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

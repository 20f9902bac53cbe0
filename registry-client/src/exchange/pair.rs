//! A request link and its reply link (spec: registry-apis A.1).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use downstream::{Connection, Delivery, LinkError, Message, Outcome, Receiver, SendError, Sender};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{Request, pending::Pending, reply};
use crate::{ServiceError, response::Response};

/// Two links that are open, and a task that takes the responses.
pub(super) struct Pair {
    endpoint: &'static str,
    requests: Sender,
    to: String,
    reply_to: String,
    pending: Arc<Pending>,
    replies: JoinHandle<()>,
    /// Who may send next.
    turn: Mutex<()>,
    /// The requests that the service has got and not answered.
    under_way: AtomicUsize,
}

impl Pair {
    /// Opens the reply link, then the request link: a service has to find the reply link when a request comes.
    pub(super) async fn open(
        connection: &Connection,
        endpoint: &'static str,
        to: String,
    ) -> Result<Self, ServiceError> {
        let reply_to = format!("{to}/{}", Uuid::new_v4());
        let credit = connection.config().initial_credits;
        let replies = connection
            .receiver(&reply_to, credit)
            .await
            .map_err(|error| no_link(&error))?;
        let requests = connection
            .sender(&to)
            .await
            .map_err(|error| no_link(&error))?;
        let pending = Arc::new(Pending::default());
        Ok(Self {
            endpoint,
            requests,
            to,
            reply_to,
            replies: tokio::spawn(take_responses(replies, pending.clone())),
            pending,
            turn: Mutex::default(),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Whether requests can be sent and responses can come.
    pub(super) fn is_open(&self) -> bool {
        self.requests.is_attached() && !self.pending.is_closed()
    }

    /// Sends a request and waits for its response, whatever else is under way. `tell` hears what became of the message.
    pub(super) async fn ask(
        &self,
        request: Request,
        within: Duration,
        tell: impl Fn(Result<&Outcome, &SendError>),
    ) -> Result<Response, ServiceError> {
        let id = format!("{}-client-{}", self.endpoint, Uuid::new_v4());
        let mut place = self.pending.enter(&id)?;
        let message = request.into_message(&self.to, &self.reply_to, &id);
        let answered = async {
            let failed = |error: SendError| {
                tell(Err(&error));
                not_sent(error)
            };
            let delivery = self.send(&message).await.map_err(failed)?;
            let _under_way = UnderWay::count(&self.under_way);
            // The response may overtake the disposition.
            tokio::select! {
                biased;
                response = place.response() => {
                    // Who answers has taken the request.
                    if response.is_ok() {
                        tell(Ok(&Outcome::Accepted));
                    }
                    return response;
                }
                outcome = delivery.outcome(None) => {
                    let outcome = outcome.map_err(failed)?;
                    tell(Ok(&outcome));
                    accepted(outcome)?;
                }
            }
            place.response().await
        };
        timeout(within, answered).await.unwrap_or_else(|_| {
            tell(Err(&SendError::TimedOut));
            let milliseconds = within.as_millis();
            Err(ServiceError::unavailable(format!(
                "request timed out after {milliseconds}ms"
            )))
        })
    }

    /// Sends in turn. Without credit it fails at once, unless that is only because the service is busy with others: with each
    /// response it grants credit anew.
    async fn send(&self, message: &Message) -> Result<Delivery, SendError> {
        let (_turn, queued) = match self.turn.try_lock() {
            Ok(turn) => (turn, false),
            Err(_) => (self.turn.lock().await, true),
        };
        let mut sent = self.requests.send(message).await;
        if queued || self.under_way.load(Ordering::Relaxed) > 0 {
            while matches!(sent, Err(SendError::NoCredit)) {
                sleep(CREDIT_PAUSE).await;
                sent = self.requests.send(message).await;
            }
        }
        sent
    }
}

/// One of the requests that the service has got and not answered.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Which drops the reply link with it.
        self.replies.abort();
    }
}

/// Ends with the reply link, and tells all who wait.
async fn take_responses(mut replies: Receiver, pending: Arc<Pending>) {
    while let Some(mut incoming) = replies.next().await {
        // Taken, not copied: it may hold a key.
        let outcome = match std::mem::replace(&mut incoming.message, Ok(Message::default())) {
            Ok(message) => reply::deliver(&pending, message),
            Err(_) => Outcome::rejected("amqp:decode-error", "no message"),
        };
        incoming.settle(outcome);
    }
    pending.close();
}

/// What the service says to a request before it answers (spec: registry-apis A.1, client rules).
fn accepted(outcome: Outcome) -> Result<(), ServiceError> {
    let (status, text) = match outcome {
        Outcome::Accepted => return Ok(()),
        Outcome::Rejected {
            condition,
            description,
        } => (status_of(condition.as_deref()), description),
        Outcome::Modified {
            undeliverable_here: true,
            ..
        } => (404, None),
        _ => (503, None),
    };
    Err(ServiceError { status, text })
}

fn status_of(condition: Option<&str>) -> u16 {
    match condition {
        Some("amqp:resource-limit-exceeded") => 503,
        Some("amqp:unauthorized-access") => 403,
        Some("amqp:internal-error") => 500,
        _ => 400,
    }
}

fn not_sent(error: SendError) -> ServiceError {
    match error {
        SendError::NoCredit => ServiceError::unavailable("no credit available for sending request"),
        SendError::Link(error) => no_link(&error),
        SendError::TooLarge { .. } => ServiceError::unusable(error.to_string()),
        _ => ServiceError::unavailable(error.to_string()),
    }
}

/// Whatever the peer says when it refuses a link: that is about us, not about the device.
fn no_link(error: &LinkError) -> ServiceError {
    ServiceError::unavailable(error.to_string())
}

/// How long the one whose turn it is waits before it looks for credit again.
const CREDIT_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use downstream::{LinkError, Outcome, SendError};

    use super::{accepted, no_link, not_sent};

    #[test]
    fn each_outcome_of_a_request_has_the_status_of_a_1() {
        let rejected = |condition| Outcome::rejected(condition, "why");
        let modified = |undeliverable_here| Outcome::Modified {
            delivery_failed: true,
            undeliverable_here,
        };
        let bare = Outcome::Rejected {
            condition: None,
            description: None,
        };
        for (line, outcome, status, text) in [
            (
                "limit",
                rejected("amqp:resource-limit-exceeded"),
                503,
                Some("why"),
            ),
            (
                "unauthorized",
                rejected("amqp:unauthorized-access"),
                403,
                Some("why"),
            ),
            (
                "internal",
                rejected("amqp:internal-error"),
                500,
                Some("why"),
            ),
            ("otherwise", rejected("hono:bad-request"), 400, Some("why")),
            ("no condition", bare, 400, None),
            ("released", Outcome::Released, 503, None),
            ("undeliverable here", modified(true), 404, None),
            ("modified", modified(false), 503, None),
        ] {
            let error = accepted(outcome).unwrap_err();
            assert_eq!(
                (error.status, error.text.as_deref()),
                (status, text),
                "{line}"
            );
        }
        assert_eq!(accepted(Outcome::Accepted), Ok(()));
    }

    #[test]
    fn whatever_keeps_a_request_from_being_sent_is_no_verdict_on_the_device() {
        let refused = LinkError::Refused {
            condition: Some("amqp:unauthorized-access".to_owned()),
            description: None,
        };
        for (error, status) in [
            (SendError::NoCredit, 503),
            (SendError::TimedOut, 503),
            (SendError::LinkLost, 503),
            (SendError::Unsettled, 503),
            (SendError::Congested, 503),
            (SendError::Link(LinkError::NotConnected), 503),
            (SendError::Link(refused.clone()), 503),
            (SendError::TooLarge { limit: 1 }, 500),
        ] {
            assert_eq!(not_sent(error.clone()).status, status, "{error}");
        }
        assert_eq!(no_link(&refused).status, 503);
        let text = not_sent(SendError::NoCredit).text;
        assert_eq!(
            text.as_deref(),
            Some("no credit available for sending request")
        );
    }
}

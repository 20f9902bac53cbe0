//! A request link and its reply link (spec: registry-apis A.1).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use downstream::{Connection, Delivery, LinkError, Message, Outcome, Receiver, SendError, Sender};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    Request,
    pending::{MOST, Pending},
    reply,
};
use crate::{ServiceError, response::Response};

/// Two links that are open, a task that sends the requests, and a task that takes the responses.
pub(super) struct Pair {
    endpoint: &'static str,
    requests: Sender,
    to: String,
    reply_to: String,
    queue: mpsc::Sender<Queued>,
    pending: Arc<Pending>,
    sending: JoinHandle<()>,
    replies: JoinHandle<()>,
}

/// A request that is to be sent, and who wants to know how that went.
struct Queued {
    message: Message,
    sent: oneshot::Sender<Result<Sent, SendError>>,
}

/// A request that the service has got.
struct Sent {
    delivery: Delivery,
    under_way: UnderWay,
}

impl Pair {
    /// Opens the reply link, then the request link: a service has to find the reply link when a request comes.
    pub(super) async fn open(
        connection: &Connection,
        endpoint: &'static str,
        to: String,
    ) -> Result<Self, ServiceError> {
        let reply_to = format!("{to}/{}", Uuid::new_v4());
        let config = connection.config();
        let replies = connection
            .receiver(&reply_to, config.initial_credits)
            .await
            .map_err(|error| no_link(&error))?;
        let requests = connection
            .sender(&to)
            .await
            .map_err(|error| no_link(&error))?;
        let pending = Arc::new(Pending::default());
        let (queue, queued) = mpsc::channel(MOST);
        Ok(Self {
            endpoint,
            to,
            reply_to,
            queue,
            sending: tokio::spawn(send_in_turn(requests.clone(), queued, config.flow_latency)),
            replies: tokio::spawn(take_responses(replies, pending.clone())),
            requests,
            pending,
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
        let (sent, outcome) = oneshot::channel();
        let message = request.into_message(&self.to, &self.reply_to, &id);
        self.queue
            .try_send(Queued { message, sent })
            .map_err(|_| ServiceError::unavailable("too many requests wait to be sent"))?;
        let answered = async {
            let failed = |error: SendError| {
                tell(Err(&error));
                not_sent(error)
            };
            let sent = outcome.await.unwrap_or_else(|_gone| {
                let lost = LinkError::NotConnected;
                Err(lost.into())
            });
            let Sent {
                delivery,
                under_way: _under_way,
            } = sent.map_err(failed)?;
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
}

/// Sends requests in the order in which they were asked. One task does it for all: if each request waited for its own turn, a
/// busy adapter would pass the turn on once in a round of all its tasks, and thousands that ask at once would come to a crawl.
async fn send_in_turn(requests: Sender, mut queue: mpsc::Receiver<Queued>, flow_latency: Duration) {
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut last_sent = None;
    while let Some(Queued { message, sent }) = queue.recv().await {
        // Without credit it fails at once, unless that is only because the service is busy with others: with each response it
        // grants credit anew, and that takes a moment to come.
        let is_busy = |last_sent: Option<Instant>| {
            under_way.load(Ordering::Relaxed) > 0
                || last_sent.is_some_and(|at| at.elapsed() < flow_latency)
        };
        while !sent.is_closed() {
            let result = requests.send(&message).await;
            if matches!(result, Err(SendError::NoCredit)) && is_busy(last_sent) {
                sleep(CREDIT_PAUSE).await;
                continue;
            }
            if result.is_ok() {
                last_sent = Some(Instant::now());
            }
            // Who has given up meanwhile wants no outcome.
            drop(sent.send(result.map(|delivery| Sent {
                delivery,
                under_way: UnderWay::count(&under_way),
            })));
            break;
        }
    }
}

/// One of the requests that the service has got and not answered.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Which drops both links with them.
        self.sending.abort();
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

/// How long the next request waits before it is looked for credit again.
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

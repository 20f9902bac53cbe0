//! A request link and its reply link (spec: registry-apis A.1).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amqp_client::{Connection, Delivery, LinkError, Message, Outcome, Receiver, SendError, Sender};
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

/// Two links that are open, a task that sends the requests for which there is no credit at once, and a task that takes the
/// responses.
pub(super) struct Pair {
    endpoint: &'static str,
    requests: Sender,
    to: String,
    reply_to: String,
    /// By what this pair's requests differ from all others.
    identity: u128,
    asked: AtomicU64,
    queue: mpsc::Sender<Queued>,
    traffic: Arc<Traffic>,
    pending: Arc<Pending>,
    sending: JoinHandle<()>,
    replies: JoinHandle<()>,
    standing: AtomicU8,
}

/// What is under way on the request link.
#[derive(Default)]
struct Traffic {
    /// Requests that wait for credit.
    queued: AtomicUsize,
    /// Requests that the service has got and not answered.
    unanswered: AtomicUsize,
    last_sent: Mutex<Option<Instant>>,
}

/// A request that is to be sent, and who wants to know how that went.
struct Queued {
    message: Message,
    sent: oneshot::Sender<Result<Sent, SendError>>,
}

/// A request that the service has got.
struct Sent {
    delivery: Delivery,
    unanswered: Unanswered,
}

impl Pair {
    /// Opens the reply link, then the request link: a service has to find the reply link when a request comes.
    pub(super) async fn open(
        connection: &Connection,
        endpoint: &'static str,
        to: String,
    ) -> Result<Self, LinkError> {
        let reply_to = format!("{to}/{}", Uuid::new_v4());
        let config = connection.config();
        let replies = connection
            .receiver(&reply_to, config.initial_credits)
            .await?;
        let requests = connection.sender(&to).await?;
        let pending = Arc::new(Pending::default());
        let traffic = Arc::new(Traffic::default());
        let (queue, queued) = mpsc::channel(MOST);
        let sending = send_in_turn(
            requests.clone(),
            queued,
            Arc::clone(&traffic),
            config.flow_latency,
        );
        Ok(Self {
            endpoint,
            to,
            reply_to,
            identity: Uuid::new_v4().as_u128(),
            asked: AtomicU64::new(0),
            queue,
            traffic,
            sending: tokio::spawn(sending),
            replies: tokio::spawn(take_responses(replies, pending.clone())),
            requests,
            pending,
            standing: AtomicU8::new(NEW),
        })
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Number of requests so far.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Notes an answer other than 404. True for the first one.
    pub(super) fn prove(&self) -> bool {
        !self.is_proved() && self.standing.swap(PROVED, Ordering::Relaxed) != PROVED
    }

    /// Whether there was an answer other than 404.
    pub(super) fn is_proved(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == PROVED
    }

    /// Notes an answer 404. True if it is the first answer of all.
    pub(super) fn doubt(&self) -> bool {
        let doubted =
            self.standing
                .compare_exchange(NEW, DOUBTED, Ordering::Relaxed, Ordering::Relaxed);
        doubted.is_ok()
    }

    /// Whether requests can be sent and responses can come.
    pub(super) fn is_open(&self) -> bool {
        self.requests.is_attached() && !self.pending.is_closed()
    }

    fn next_id(&self) -> String {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let bytes = (self.identity ^ u128::from(number)).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        format!("{}-client-{id}", self.endpoint)
    }

    /// Sends a message at once, or after those that wait for credit. The outer error is ours, the inner one is the link's.
    async fn send(&self, message: Message) -> Result<Result<Sent, SendError>, ServiceError> {
        let traffic = &self.traffic;
        if traffic.queued.load(Ordering::Relaxed) == 0 {
            match self.requests.send(&message).await {
                Err(SendError::NoCredit) => {}
                other => return Ok(other.map(|delivery| Sent::count(delivery, traffic))),
            }
        }
        let (sent, reported) = oneshot::channel();
        traffic.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Queued { message, sent }).is_err() {
            traffic.queued.fetch_sub(1, Ordering::Relaxed);
            let text = "too many requests wait to be sent";
            return Err(ServiceError::unavailable(text));
        }
        Ok(reported
            .await
            .unwrap_or_else(|_gone| Err(LinkError::NotConnected.into())))
    }

    /// Sends a request and waits for its response, whatever else is under way. `tell` hears what became of the message.
    pub(super) async fn ask(
        &self,
        request: Request,
        within: Duration,
        tell: impl Fn(Result<&Outcome, &SendError>),
    ) -> Result<Response, ServiceError> {
        let id = self.next_id();
        let mut place = self.pending.enter(&id)?;
        let message = request.into_message(&self.to, &self.reply_to, &id);
        let answered = async {
            let failed = |error: SendError| {
                tell(Err(&error));
                not_sent(error)
            };
            let Sent {
                delivery,
                unanswered: _unanswered,
            } = self.send(message).await?.map_err(failed)?;
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

/// Sends the requests for which there was no credit, in the order in which they were asked. One task does it for all: if each
/// request waited for its own turn, a busy adapter would pass the turn on once in a round of all its tasks, and thousands that ask
/// at once would come to a crawl.
async fn send_in_turn(
    requests: Sender,
    mut queue: mpsc::Receiver<Queued>,
    traffic: Arc<Traffic>,
    flow_latency: Duration,
) {
    while let Some(Queued { message, sent }) = queue.recv().await {
        while !sent.is_closed() {
            let result = requests.send(&message).await;
            // Without credit it fails at once, unless that is only because the service is busy with others: with each response it
            // grants new credit, which takes a moment to arrive.
            if matches!(result, Err(SendError::NoCredit)) && traffic.is_busy(flow_latency) {
                sleep(CREDIT_PAUSE).await;
                continue;
            }
            // Who has given up meanwhile wants no outcome.
            drop(sent.send(result.map(|delivery| Sent::count(delivery, &traffic))));
            break;
        }
        traffic.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    fn is_busy(&self, flow_latency: Duration) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0
            || (self.last_sent()).is_some_and(|at| at.elapsed() < flow_latency)
    }

    fn last_sent(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sent {
    fn count(delivery: Delivery, traffic: &Arc<Traffic>) -> Self {
        *traffic.last_sent() = Some(Instant::now());
        traffic.unanswered.fetch_add(1, Ordering::Relaxed);
        Self {
            delivery,
            unanswered: Unanswered(Arc::clone(traffic)),
        }
    }
}

/// One of the requests that the service has got and not answered.
struct Unanswered(Arc<Traffic>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
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
pub(super) fn no_link(error: &LinkError) -> ServiceError {
    ServiceError::unavailable(error.to_string())
}

/// No answer yet.
const NEW: u8 = 0;
/// Only answers 404.
const DOUBTED: u8 = 1;
/// The service has known something.
const PROVED: u8 = 2;

/// How long the next request waits before it is looked for credit again.
const CREDIT_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use amqp_client::{LinkError, Outcome, SendError};

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

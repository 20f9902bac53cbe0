//! One port: the loop between a transport, the CoAP endpoint and the tasks of its requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::hash::BuildHasherDefault;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use amqp_client::after_the_ready;
use coap_proto::{Endpoint, Event, ExchangeId, GaveUpReason, Request};
use dtls_server::CloseReason;
use fair_share::SequenceHasher;
use registry_client::notifications::{Event as Change, Events};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::pulse::Pulse;
use super::transport::{Arrival, Renewal, Transport};
use crate::authn::{Principal, Revoked};
use crate::diagnostics::observer::Ended;
use crate::diagnostics::request_span;
use crate::exchange::{Exchange, Reply, RequestPermit, RequestSource};
use crate::pipeline::{Arrived, Pipeline};
use crate::rejection::Rejection;
use crate::respond::{self, Answer};
use crate::route;
use observability::metrics::{Gauge, Metrics, Transport as Kind, count_of};

/// How a port is ended, in two steps.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// From now on requests are refused, and those in progress are finished.
    pub drain: CancellationToken,
    /// From now on nothing is received or sent.
    pub halt: CancellationToken,
}

/// What a port works with, beside the network.
#[derive(Debug)]
pub struct Serving {
    /// What is done with requests.
    pub pipeline: Arc<Pipeline>,
    /// Where requests run, each as a task.
    pub requests: TaskTracker,
    /// When it ends.
    pub stop: Stop,
    /// What the registry tells of its changes.
    pub changes: Events,
    /// What is to be taken in use.
    pub renewals: mpsc::Receiver<Renewal>,
    /// How long handshakes under way may take to end when the port does.
    pub grace: Duration,
    /// Which of the shards of its port it is, for metrics.
    pub shard: usize,
}

/// A port, or one of the shards of a port, with all its peers and exchanges.
#[derive(Debug)]
pub struct Port<T: Transport> {
    transport: T,
    endpoint: Endpoint<T::Peer>,
    pipeline: Arc<Pipeline>,
    requests: TaskTracker,
    stop: Stop,
    /// What the registry tells of its changes.
    changes: Events,
    renewals: mpsc::Receiver<Renewal>,
    answer: mpsc::Sender<Reply>,
    answers: mpsc::Receiver<Reply>,
    /// Exchanges that end early when their peer is gone: they see that this is dropped.
    watched: HashMap<ExchangeId, oneshot::Sender<Infallible>, BuildHasherDefault<SequenceHasher>>,
    pulse: Arc<Pulse>,
    grace: Duration,
    /// What is told as this shard's.
    metrics: Metrics,
}

impl<T: Transport> Port<T> {
    /// A port on `transport`.
    #[must_use]
    pub fn new(transport: T, endpoint: Endpoint<T::Peer>, serving: Serving) -> Self {
        let Serving {
            pipeline,
            requests,
            stop,
            changes,
            renewals,
            grace,
            shard,
        } = serving;
        let metrics = pipeline.observer.metrics().of_shard(shard);
        let (answer, answers) = mpsc::channel(ANSWERS);
        Self {
            transport,
            endpoint,
            pipeline,
            requests,
            stop,
            changes,
            renewals,
            answer,
            answers,
            watched: HashMap::default(),
            pulse: Arc::default(),
            grace,
            metrics,
        }
    }

    /// Its signs of life.
    #[must_use]
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Serves until halted, and gives back what may be gone on with.
    ///
    /// # Errors
    /// Only if the socket itself fails.
    pub async fn run(mut self) -> io::Result<(T, Endpoint<T::Peer>)> {
        let Stop { drain, halt } = self.stop.clone();
        // Registered once, not anew in each turn.
        let (mut draining, mut halted) = (pin!(drain.cancelled()), pin!(halt.cancelled()));
        let mut admission = Admission::Open;
        let mut beat = tokio::time::interval(Pulse::PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.endpoint.poll_timeout();
            tokio::select! {
                () = &mut halted => break,
                () = &mut draining, if admission == Admission::Open => {
                    admission = Admission::Closed;
                    self.transport.close_admission();
                }
                Some(reply) = self.answers.recv() => {
                    // Requests that end at the same moment answer first, so that one system call sends all answers.
                    after_the_ready().await;
                    let now = Instant::now();
                    self.reply(now, reply);
                    self.reply_to_all(now);
                }
                arrival = self.transport.next() => {
                    let now = Instant::now();
                    self.arrive(now, arrival?);
                    self.take_arrivals(now);
                }
                Some(change) = self.changes.next() => match change {
                    Change::Changed(notification) => {
                        if let Some(revoked) = Revoked::by(notification.subject) {
                            self.transport.expel(&revoked);
                        }
                    }
                    Change::Missed => self.transport.reconfirm(),
                },
                Some(renewal) = self.renewals.recv() => self.transport.renew(renewal),
                _ = beat.tick() => self.beat(),
                () = until(due) => self.endpoint.handle_timeout(Instant::now()),
            }
            self.transmit();
        }
        // Answers to the last requests: their tasks have ended, but the port may not have got to them yet.
        let now = Instant::now();
        while let Ok(reply) = self.answers.try_recv() {
            self.reply(now, reply);
        }
        self.transmit();
        self.end_handshakes().await?;
        Ok((self.transport, self.endpoint))
    }

    /// Gives handshakes under way a moment to end: one that is cut off costs its device a minute.
    async fn end_handshakes(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.grace;
        while self.transport.handshakes() > 0 && Instant::now() < deadline {
            let arrival = timeout(LOOK_AGAIN, self.transport.next());
            if let Ok(arrival) = arrival.await {
                self.arrive(Instant::now(), arrival?);
            }
            self.transmit();
        }
        Ok(())
    }

    fn beat(&self) {
        self.pulse.beat();
        let metrics = &self.metrics;
        self.transport.observe(metrics);
        metrics.observe_coap(T::KIND, self.endpoint.statistics());
        let [exchanges, peers, transfers, replies] = match T::KIND {
            Kind::Dtls => DTLS_TABLES,
            Kind::Udp => UDP_TABLES,
        };
        let endpoint = &self.endpoint;
        metrics.observe_table(exchanges, endpoint.exchanges(), None);
        metrics.observe_table(peers, endpoint.peers(), None);
        let bytes = Some(endpoint.transfer_bytes());
        metrics.observe_table(transfers, endpoint.transfers(), bytes);
        metrics.set(Gauge::QueueDepth, replies, count_of(self.answers.len()));
    }

    fn reply(&mut self, now: Instant, reply: Reply) {
        match reply {
            Reply::Acknowledge(exchange) => self.endpoint.acknowledge(now, exchange),
            Reply::Watch(exchange, while_there) => {
                if self.endpoint.is_open(exchange) {
                    self.watched.insert(exchange, while_there);
                }
            }
            Reply::Respond(exchange, answer) => {
                self.watched.remove(&exchange);
                let response = if !self.endpoint.is_open(exchange) {
                    answer.come_too_late()
                } else if answer.has_command() && !self.can_deliver(now, exchange, &answer) {
                    tracing::debug!("released a command that cannot be sent to its device");
                    answer.without_command()
                } else {
                    answer.go_out()
                };
                self.endpoint.respond(now, exchange, response);
            }
        }
    }

    /// Whether an answer will leave for a device that is still there. Asked before the command in it
    /// is settled, as that cannot be taken back.
    fn can_deliver(&self, now: Instant, exchange: ExchangeId, answer: &Answer) -> bool {
        let peer = self.endpoint.peer_of(exchange);
        let is_there = peer.is_some_and(|peer| self.transport.can_send(peer));
        is_there && self.endpoint.can_send(now, exchange, answer.response())
    }

    /// Takes the further replies that are there, up to a bound, so that arrivals get their turn.
    fn reply_to_all(&mut self, now: Instant) {
        for _ in 0..AT_A_TIME {
            let Ok(reply) = self.answers.try_recv() else {
                return;
            };
            self.reply(now, reply);
        }
    }

    /// Takes what else came with the same batch of datagrams.
    fn take_arrivals(&mut self, now: Instant) {
        while let Some(arrival) = self.transport.take_waiting() {
            self.arrive(now, arrival);
        }
    }

    fn arrive(&mut self, now: Instant, arrival: Arrival<T::Peer>) {
        match arrival {
            Arrival::Message {
                peer,
                principal,
                address,
                max_message,
                bytes,
            } => {
                let admission = &self.pipeline.admission;
                let source = admission.source(principal.as_ref(), address.ip());
                let holder = Some(source.holder());
                let endpoint = &mut self.endpoint;
                endpoint.handle_datagram_of(now, &peer, holder, max_message, &bytes);
                self.take_events(principal.as_ref(), source, address);
            }
            Arrival::Established {
                principal,
                address,
                suite,
            } => {
                let budgets = &self.pipeline.budgets;
                budgets.shook_hands(now, (&principal).into());
                let observer = &self.pipeline.observer;
                observer.session_opened(address, &principal, suite);
            }
            Arrival::HandshakeFailed { address, refusal } => {
                self.pipeline.observer.handshake_failed(address, *refusal);
            }
            Arrival::Gone {
                peer,
                principal,
                reason,
            } => {
                let observer = &self.pipeline.observer;
                observer.session_closed(&principal, ending(reason));
                for exchange in self.endpoint.forget_peer(&peer) {
                    self.watched.remove(&exchange);
                }
            }
        }
    }

    /// Hands on what a message set off; requests are of the peer it came from.
    fn take_events(
        &mut self,
        principal: Option<&Principal>,
        source: RequestSource,
        address: SocketAddr,
    ) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request {
                    exchange, request, ..
                } => {
                    self.start(exchange, request, principal.cloned(), source, address);
                }
                Event::GaveUp { reason, .. } => {
                    let reason = match reason {
                        GaveUpReason::Reset => "the peer sent a reset",
                        GaveUpReason::TimedOut => "no acknowledgement came",
                    };
                    tracing::debug!(reason, "a separate response was not delivered");
                }
                _ => {}
            }
        }
    }

    fn start(
        &mut self,
        id: ExchangeId,
        request: Request,
        principal: Option<Principal>,
        source: RequestSource,
        address: SocketAddr,
    ) {
        if self.stop.drain.is_cancelled() {
            return self.refuse(
                id,
                &request,
                principal.as_ref(),
                address,
                Rejection::Stopping,
            );
        }
        let bytes = request.payload().len();
        let Some(permit) = self.pipeline.admission.try_admit(source, bytes) else {
            return self.refuse(
                id,
                &request,
                principal.as_ref(),
                address,
                Rejection::Overloaded,
            );
        };
        // Here requests still are in the order of their arrival.
        let order = &self.pipeline.order;
        let ticket = order.ticket(source.holder(), principal.as_ref(), &request);
        let span = tracing::debug_span!(
            "coap.exchange",
            peer = %address,
            token = %request.token(),
            code = %request.code(),
            path = %route::Path(request.uri_path()),
            reason = tracing::field::Empty,
        );
        let trace = request_span::open(&request);
        let exchange = Exchange::new(id, principal, source, self.answer.clone(), trace.clone());
        let pipeline = Arc::clone(&self.pipeline);
        let arrived = Box::new(Arrived { request, ticket });
        let serving = serve(pipeline, exchange, arrived, address, permit);
        let serving = serving.instrument(span);
        self.requests.spawn(serving.instrument(trace));
    }

    /// Answers a request that does not come into the works.
    fn refuse(
        &mut self,
        id: ExchangeId,
        request: &Request,
        principal: Option<&Principal>,
        peer: SocketAddr,
        why: Rejection,
    ) {
        let result = Err(why);
        self.pipeline.observer.request_ended(&Ended {
            peer,
            principal,
            origin: None,
            operation: route::name(request),
            bytes: request.payload().len(),
            duration: Duration::ZERO,
            result: &result,
        });
        let answer = respond::answer(result, SystemTime::now());
        self.endpoint.respond(Instant::now(), id, answer.go_out());
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.transport.send(&transmit.peer, transmit.payload);
        }
        self.transport.flush();
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice"
)]
fn serve(
    pipeline: Arc<Pipeline>,
    mut exchange: Exchange,
    arrived: Box<Arrived>,
    peer: SocketAddr,
    mut permit: RequestPermit,
) -> impl Future<Output = ()> + Send {
    async move {
        // What is worked with ends before the answer may have to wait for the port.
        let responding = {
            let started = Instant::now();
            let request = &arrived.request;
            let (operation, bytes) = (route::name(request), request.payload().len());
            let result = pipeline.handle(&exchange, arrived, &mut permit).await;
            if result.is_ok() {
                tracing::debug!("served");
            }
            pipeline.observer.request_ended(&Ended {
                peer,
                principal: exchange.principal(),
                origin: exchange.origin(),
                operation,
                bytes,
                duration: started.elapsed(),
                result: &result,
            });
            let reason = result.as_ref().err().map(Rejection::reason);
            let answer = respond::answer(result, SystemTime::now());
            request_span::answered(exchange.trace(), answer.code(), reason);
            exchange.respond(answer)
        };
        responding.await;
    }
}

/// Why a session is over, in words.
const fn ending(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::PeerClosed => "the device closed it",
        CloseReason::PeerAlert(_) => "the device sent a fatal alert",
        CloseReason::Local => "the adapter closed it, as the device was disabled or deleted",
        CloseReason::Replaced => "the device began another one",
        CloseReason::Evicted => {
            "its place was needed, as it was idle or its device has most sessions"
        }
        CloseReason::SequenceExhausted => "all its sequence numbers were used",
        _ => "it ended",
    }
}

/// Waits until `deadline`, or for ever where there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The most replies that are taken before something else has its turn.
const AT_A_TIME: usize = 64;
/// Exchanges, peers, block transfers and replies, as metrics call them.
const DTLS_TABLES: [&str; 4] = [
    "coap_exchanges_dtls",
    "coap_peers_dtls",
    "coap_transfers_dtls",
    "replies_dtls",
];
const UDP_TABLES: [&str; 4] = [
    "coap_exchanges_udp",
    "coap_peers_udp",
    "coap_transfers_udp",
    "replies_udp",
];

/// Whether peers that are not known yet may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    Closed,
}

/// How soon it is seen that handshakes have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Replies that a port has not taken yet; tasks of requests wait while there are more.
const ANSWERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// Thousands of requests wait for a command at a time; what they do before and after is not kept meanwhile.
    #[test]
    fn a_request_in_the_works_takes_little_memory() {
        let bytes = size_of_future(serve);
        // The handles of spans for traces are among them.
        assert!(bytes <= 432, "{bytes}");
    }
}

//! One port: the loop between a transport, the CoAP endpoint and the tasks of its requests.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use coap_proto::{Endpoint, Event, ExchangeId, Request};
use registry_client::notifications::Events;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::exchange::{Exchange, Reply};
use super::transport::{Arrival, Renewal, Transport};
use crate::authn::{Principal, Revoked};
use crate::monitoring::checks::Pulse;
use crate::pipeline::Pipeline;
use crate::respond::{self, Rejection};

/// How a port is ended, in two steps.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// From now on requests are refused, and those in the works are finished.
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
}

/// A port with all its peers and exchanges.
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
    /// Exchanges that end early when their peer is gone.
    watched: HashMap<ExchangeId, CancellationToken>,
    pulse: Arc<Pulse>,
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
        } = serving;
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
            watched: HashMap::new(),
            pulse: Arc::default(),
        }
    }

    /// Its signs of life.
    #[must_use]
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Serves until halted.
    ///
    /// # Errors
    /// Only if the socket itself fails.
    pub async fn run(mut self) -> io::Result<()> {
        let halt = self.stop.halt.clone();
        let mut beat = tokio::time::interval(Pulse::PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timeout = self.endpoint.poll_timeout();
            tokio::select! {
                () = halt.cancelled() => break,
                Some(reply) = self.answers.recv() => {
                    self.reply(reply);
                    self.reply_to_all();
                }
                arrival = self.transport.next() => {
                    self.arrive(arrival?);
                    self.take_arrivals();
                }
                Some(change) = self.changes.next() => {
                    if let Some(revoked) = Revoked::by(change.subject) {
                        self.transport.expel(&revoked);
                    }
                }
                Some(renewal) = self.renewals.recv() => self.transport.renew(renewal),
                _ = beat.tick() => self.beat(),
                () = until(timeout) => self.endpoint.handle_timeout(Instant::now()),
            }
            self.transmit();
        }
        // Answers to the last requests: their tasks have ended, but the port may not have got to them yet.
        while let Ok(reply) = self.answers.try_recv() {
            self.reply(reply);
        }
        self.transmit();
        Ok(())
    }

    fn beat(&self) {
        self.pulse.beat();
        self.transport.observe(&self.pipeline.metrics);
        let metrics = &self.pipeline.metrics;
        metrics.observe_coap(T::KIND, self.endpoint.statistics());
    }

    fn reply(&mut self, reply: Reply) {
        let now = Instant::now();
        match reply {
            Reply::Acknowledge(exchange) => self.endpoint.acknowledge(now, exchange),
            Reply::Watch(exchange, gone) if self.endpoint.is_open(exchange) => {
                self.watched.insert(exchange, gone);
            }
            Reply::Watch(_, gone) => gone.cancel(),
            Reply::Respond(exchange, answer) => {
                self.watched.remove(&exchange);
                if let Some(command) = answer.command
                    && self.endpoint.is_open(exchange)
                {
                    command.accept();
                }
                self.endpoint.respond(now, exchange, answer.response);
            }
        }
    }

    /// Takes the further replies that are there, up to a bound, so that arrivals get their turn.
    fn reply_to_all(&mut self) {
        for _ in 0..AT_A_TIME {
            let Ok(reply) = self.answers.try_recv() else {
                return;
            };
            self.reply(reply);
        }
    }

    /// Takes what else came with the same batch of datagrams.
    fn take_arrivals(&mut self) {
        while let Some(arrival) = self.transport.take_waiting() {
            self.arrive(arrival);
        }
    }

    fn arrive(&mut self, arrival: Arrival<T::Peer>) {
        match arrival {
            Arrival::Message {
                peer,
                principal,
                address,
                bytes,
            } => {
                self.endpoint.handle_datagram(Instant::now(), &peer, &bytes);
                self.take_events(principal.as_ref(), address);
            }
            Arrival::Established { principal } => {
                let budgets = &self.pipeline.budgets;
                budgets.shook_hands(Instant::now(), &principal);
            }
            Arrival::Gone { peer } => {
                for exchange in self.endpoint.forget_peer(&peer) {
                    if let Some(gone) = self.watched.remove(&exchange) {
                        gone.cancel();
                    }
                }
            }
        }
    }

    /// Hands on what a message set off; requests are of the peer it came from.
    fn take_events(&mut self, principal: Option<&Principal>, address: SocketAddr) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request {
                    exchange, request, ..
                } => {
                    self.start(exchange, request, principal.cloned(), address);
                }
                Event::GaveUp { peer, reason, .. } => {
                    tracing::debug!(?peer, ?reason, "a separate response did not arrive");
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
        address: SocketAddr,
    ) {
        if self.stop.drain.is_cancelled() {
            let answer = respond::answer(Err(Rejection::Stopping), SystemTime::now());
            return self.endpoint.respond(Instant::now(), id, answer.response);
        }
        let span = tracing::debug_span!(
            "coap.exchange",
            peer = %address,
            token = ?request.token(),
            code = %request.code(),
            path = ?request.uri_path(),
        );
        let exchange = Exchange::new(id, request, principal, self.answer.clone());
        let pipeline = Arc::clone(&self.pipeline);
        self.requests
            .spawn(serve(pipeline, exchange).instrument(span));
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.transport.send(&transmit.peer, &transmit.payload);
        }
    }
}

async fn serve(pipeline: Arc<Pipeline>, exchange: Exchange) {
    let result = pipeline.handle(&exchange).await;
    match &result {
        Ok(_) => tracing::debug!("served"),
        Err(rejection) => tracing::debug!(code = %rejection.code(), reason = %rejection, "refused"),
    }
    exchange
        .respond(respond::answer(result, SystemTime::now()))
        .await;
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
/// Replies that a port has not taken yet; tasks of requests wait while there are more.
const ANSWERS: usize = 1024;

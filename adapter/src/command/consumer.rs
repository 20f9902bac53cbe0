//! The way of commands to this adapter instance: registered at the command router for the time that a device waits, received over
//! one link, handed to the request that waits (spec: command-routing, amqp-messages §6).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use amqp_client::{Connection, Incoming, Message, Receiver};
use fair_semaphore::FairSemaphore;
use fair_share::HolderHasher;
use registry_client::{Assertion, CommandRouterClient};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::count;
use super::inbox::{Closed, Delivery, Fate, Inbox, Inboxes, Received, Told};
use super::message::Malformed;
use crate::authn::Origin;
use crate::rejection::Rejection;
use observability::metrics::{Metrics, Status};

/// The commands for all devices that wait at this adapter instance.
#[derive(Debug)]
pub struct Commands {
    inboxes: Arc<Inboxes>,
    router: CommandRouterClient,
    instance: Arc<str>,
    metrics: Metrics,
    /// Turns at the router to end the registrations of requests that ended early.
    unregistrations: FairSemaphore,
    hasher: HolderHasher,
    /// From then on nobody waits any longer.
    drain: CancellationToken,
}

impl Commands {
    /// Commands that the router sends to the adapter instance of this id. When `drain` is cancelled, all waits end.
    #[must_use]
    pub fn new(
        router: CommandRouterClient,
        instance: Arc<str>,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> Self {
        Self {
            inboxes: Arc::default(),
            router,
            instance,
            metrics,
            unregistrations: FairSemaphore::new(MAX_UNREGISTRATIONS, MAX_PENDING_UNREGISTRATIONS),
            hasher: HolderHasher::default(),
            drain,
        }
    }

    /// The requests that wait.
    #[must_use]
    pub const fn inboxes(&self) -> &Arc<Inboxes> {
        &self.inboxes
    }

    /// Lets a request wait for a command for `ttd` seconds from now on.
    ///
    /// # Errors
    /// [`Rejection::CommandRouter`] if the router does not take the registration.
    pub async fn open(self: &Arc<Self>, origin: &Origin, ttd: i32) -> Result<Wait, Rejection> {
        let inbox = self.inboxes.open(origin);
        let mut wait = Wait {
            commands: Arc::clone(self),
            inbox: Some(inbox),
            until: Instant::now(),
        };
        let lifespan = Duration::from_secs(ttd.try_into().unwrap_or_default());
        let registered = self
            .router
            .register_consumer(
                &origin.tenant,
                &origin.device,
                &self.instance,
                Some(lifespan),
            )
            .await;
        if let Err(error) = registered {
            // The router may have taken it all the same.
            wait.close().await;
            return Err(Rejection::CommandRouter(error));
        }
        wait.until = Instant::now() + lifespan;
        Ok(wait)
    }

    /// Lets the router know through which gateway a device that has several was last heard of, or that it spoke itself.
    pub fn heard_of(&self, origin: &Origin, assertion: &Assertion) {
        if assertion.via.len() > 1 {
            let gateway = origin.gateway.as_ref().unwrap_or(&origin.device);
            self.router
                .set_last_known_gateway(&origin.tenant, &origin.device, gateway);
        }
    }

    /// Keeps the router receiving commands for the tenants of all waiting devices, over whatever outages of its connection.
    pub async fn keep_routing(&self) {
        let tenants = || {
            self.inboxes
                .tenants()
                .iter()
                .map(|tenant| tenant.as_ref().to_owned())
                .collect()
        };
        self.router.keep_routing(tenants).await;
    }

    async fn unregister(&self, inbox: &Inbox) {
        let (tenant, device) = inbox.waiting();
        // 412 where the lifespan is over, and an outage does no harm: the registration ends by itself.
        if let Err(error) = self
            .router
            .unregister_consumer(tenant, device, &self.instance)
            .await
        {
            tracing::debug!(%error, "the command router did not end a registration");
        }
    }

    /// Receives commands over `connection` for ever; the link is made anew whenever it is lost.
    pub async fn receive(
        self: Arc<Self>,
        connection: Connection,
        credit: u32,
        state: Arc<ConsumerState>,
    ) {
        let address = format!("command_internal/{}", self.instance);
        loop {
            // It is no request, and makes the connection try no sooner.
            if !connection.connected(LONG_PAUSE).await {
                sleep(PAUSE).await;
                continue;
            }
            match connection.receiver(&address, credit).await {
                Ok(receiver) => {
                    state.set(true);
                    self.hand_out(receiver).await;
                    state.set(false);
                    tracing::debug!(address, "lost the link for commands");
                }
                Err(error) => tracing::debug!(address, %error, "no link for commands yet"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn hand_out(&self, mut receiver: Receiver) {
        while let Some(incoming) = receiver.next().await {
            match &incoming.message {
                Ok(message) => {
                    let message = message.clone();
                    let fate = self.inboxes.deliver(&message, delivery(incoming));
                    self.count(&message, fate);
                }
                Err(error) => {
                    tracing::debug!(%error, "rejected a command that is not a valid AMQP message");
                    delivery(incoming).reject(Malformed.to_string());
                }
            }
        }
    }

    /// Counts what no request will count (spec: metrics-health §2).
    fn count(&self, message: &Message, fate: Fate) {
        let status = match fate {
            Fate::Malformed => Status::Unprocessable,
            Fate::Second => Status::Undeliverable,
            Fate::HandedOver | Fate::Nobody => return,
        };
        count::count(&self.metrics, message, status);
    }
}

fn delivery(incoming: Incoming) -> Delivery {
    Delivery::new(move |outcome| {
        // Where the router settled at once, nobody waits for an outcome.
        let nobody_waits = incoming.settled_by_peer;
        if incoming.settle(outcome) || nobody_waits {
            return Told::InTime;
        }
        tracing::debug!("the outcome of a command was reported too late");
        Told::TooLate
    })
}

/// A request that waits for a command. Dropped, it gives up its place here and at the router.
#[derive(Debug)]
pub struct Wait {
    commands: Arc<Commands>,
    /// There until it is closed.
    inbox: Option<Inbox>,
    until: Instant,
}

impl Wait {
    /// Waits for the command, at most until `at_most` if that is given. Called again, it goes on waiting.
    pub fn command<'a>(
        &'a mut self,
        gone: &'a mut oneshot::Receiver<Infallible>,
        at_most: Option<Instant>,
    ) -> impl Future<Output = Waited> + Send + 'a {
        let until = at_most.map_or(self.until, |at_most| at_most.min(self.until));
        // An async fn keeps its arguments twice.
        async move {
            let Some(inbox) = &mut self.inbox else {
                return Waited::Over;
            };
            let command = async {
                match inbox.command().await {
                    Some(received) => received,
                    // A later request of the device waits; this one ends when its own time is over (spec: coap-adapter §10 K).
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = command => Waited::For(received),
                _ = gone => Waited::Over,
                () = self.commands.drain.cancelled() => Waited::Over,
                () = sleep_until(until) => {
                    if until < self.until { Waited::NotYet } else { Waited::Over }
                }
            }
        }
    }

    /// Gives up the place and waits until the router knows, so that the device's next request cannot overtake this.
    pub async fn close(mut self) {
        if let Some(mut inbox) = self.inbox.take()
            && inbox.close() == Closed::Last
        {
            self.commands.unregister(&inbox).await;
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(mut inbox) = self.inbox.take()
            && inbox.close() == Closed::Last
        {
            let commands = Arc::clone(&self.commands);
            tokio::spawn(async move {
                let (tenant, device) = inbox.waiting();
                let holder = commands.hasher.holder(&tenant, &());
                // Without a turn, the registration ends by itself.
                let Ok(_turn) = commands.unregistrations.acquire(holder).await else {
                    return;
                };
                // The device's next request may have registered meanwhile; the router tells only adapters apart, not requests.
                if !commands.inboxes.has(tenant, device) {
                    commands.unregister(&inbox).await;
                }
            });
        }
    }
}

/// What waiting for a command came to.
#[derive(Debug)]
pub enum Waited {
    /// It is there.
    For(Box<Received>),
    /// There will be none: the time is over, the device's session is, or the adapter is stopping.
    Over,
    /// There may be one later.
    NotYet,
}

/// Whether commands can come, for health checks.
#[derive(Debug, Default)]
pub struct ConsumerState(std::sync::atomic::AtomicBool);

impl ConsumerState {
    /// Whether the link for commands is there.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn set(&self, attached: bool) {
        self.0.store(attached, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Requests at a time that end registrations of requests that ended early.
const MAX_UNREGISTRATIONS: usize = 1_024;

/// Such requests that wait for their turn; those of the tenant with the most are left to their lifespan
/// beyond that.
const MAX_PENDING_UNREGISTRATIONS: usize = 10_000;

/// Between two attempts to attach the link for commands (spec: amqp-messages §6).
const PAUSE: Duration = Duration::from_millis(20);

/// How long the connection is waited for at a time.
const LONG_PAUSE: Duration = Duration::from_secs(60);

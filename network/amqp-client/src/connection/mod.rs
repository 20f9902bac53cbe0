//! A connection that is kept: one task connects, speaks, and connects again (spec: amqp-messages §8).
//!
//! Sending and settling access the core under a short lock; then the task is woken to write. So a
//! message passes through no queue but the bytes to be written, and many go out in one write.

mod drive;

mod reconnect;

mod tls;

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use amqp_proto::{CannotAttach, DeliveryId, Event, IncomingId, LinkId, PeerError, Settlement};
use fair_share::{Holder, SequenceHasher};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use zeroize::Zeroizing;

pub use self::tls::{Connector, Stream};
use crate::credit_reserve::CreditReserve;
use crate::{ConfigError, ConnectionConfig, LinkError, Service};

/// A handle of a connection. The connection is closed when the last one is dropped, those that senders and receivers hold
/// included.
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Tells the task to say goodbye when the last handle goes.
    _stop: Arc<DropGuard>,
}

/// What handles and task have in common.
pub(crate) struct Shared {
    role: String,
    service: Service,
    container_id: String,
    pub(crate) config: ConnectionConfig,
    connector: Connector,
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    /// A request waits for the next attempt to connect.
    wanted: Notify,
    /// There is something to write, the next deadline is sooner, or the end has come.
    transmit: Notify,
    /// Something was written: a message may be taken again.
    pub(crate) room: Notify,
    /// Whether nothing is read from the stream for now.
    paused: AtomicBool,
    /// The reader is to look whether it may read again.
    resumed: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the lock protects.
#[derive(Default)]
struct State {
    /// The core, while there is a stream.
    core: Option<amqp_proto::Connection>,
    books: Books,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Books {
    /// How many streams there were. Names of links and deliveries are of one stream only.
    epoch: u64,
    ports: IdMap<LinkId, Port>,
    waiting: IdMap<DeliveryId, oneshot::Sender<Settlement>>,
    /// Bytes of all messages that no receiver has taken yet.
    message_bytes: usize,
    /// Why the stream ended.
    closed: Option<amqp_proto::CloseReason>,
}

/// A map by an id that this process counts up.
type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<SequenceHasher>>;

/// A message that came: what to settle it by, whether the peer has settled it, and its sections.
pub(crate) type Message = (IncomingId, bool, Zeroizing<Vec<u8>>);

/// Our side of a link: who waits for what.
#[derive(Default)]
pub(crate) struct Port {
    pub(crate) attaching: Option<oneshot::Sender<Result<Option<u64>, Option<PeerError>>>>,
    /// Credit or a message came, or the link went.
    pub(crate) wake: Arc<Notify>,
    /// Never more than the credit that was granted.
    pub(crate) messages: VecDeque<Message>,
    /// Who has used the last of the link's credit.
    reserve: CreditReserve,
}

/// A link, or the end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) epoch: u64,
    pub(crate) id: LinkId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// An attempt is under way.
    Connecting,
    Connected,
    /// No attempt is under way; the next comes after a while, or soon if a request waits for it.
    Waiting {
        /// When the last attempt began.
        tried: Instant,
    },
    /// For good.
    Ended,
}

impl Connection {
    /// Starts to connect, and retries as the settings permit. `role` is its purpose (`Downstream`,
    /// `Tenant`, ...);
    /// it becomes part of the container id.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting cannot work. A peer that is down is no error.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(role: &str, config: ConnectionConfig) -> Result<Self, ConfigError> {
        Self::start_to(&Service::new(role), role, config)
    }

    /// As [`Connection::start`], as one of several connections to `service`, whose state is logged once for all of them.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting cannot work. A peer that is down is no error.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_to(
        service: &Service,
        role: &str,
        config: ConnectionConfig,
    ) -> Result<Self, ConfigError> {
        let connector = Connector::new(&config.host, config.port, config.tls.as_ref())?;
        let container_id = format!("{}-{role}-{}", config.name, uuid::Uuid::new_v4());
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            role: role.to_owned(),
            service: service.clone(),
            container_id,
            config,
            connector,
            state: Mutex::default(),
            phase: watch::Sender::new(Phase::Connecting),
            wanted: Notify::new(),
            transmit: Notify::new(),
            room: Notify::new(),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        service.join();
        shared.tasks.spawn(reconnect::keep(Arc::clone(&shared)));
        shared.tasks.close();
        Ok(Self {
            shared,
            _stop: Arc::new(stop.drop_guard()),
        })
    }

    /// Whether links can be attached now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.shared.phase.borrow() == Phase::Connected
    }

    /// Waits until the connection is up. False if it is not within that time, or never will be.
    pub async fn connected(&self, within: Duration) -> bool {
        let mut phase = self.shared.phase.subscribe();
        let up = phase.wait_for(|phase| matches!(phase, Phase::Connected | Phase::Ended));
        matches!(timeout(within, up).await, Ok(Ok(phase)) if *phase == Phase::Connected)
    }

    /// Waits until a connection that is up is up no more.
    pub async fn disconnected(&self) {
        let mut phase = self.shared.phase.subscribe();
        // An error would tell that the connection is gone altogether.
        drop(phase.wait_for(|phase| *phase != Phase::Connected).await);
    }

    /// How many messages were sent and are not settled yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.lock().books.waiting.len()
    }

    /// Number of links that can be attached at a time; none without a connection.
    #[must_use]
    pub fn max_links(&self) -> Option<usize> {
        let state = self.shared.lock();
        let core = state.core.as_ref().filter(|core| core.is_open());
        core.map(amqp_proto::Connection::max_links)
    }

    /// Purpose of the connection.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.shared.role
    }

    /// `container-id` of the open, the same for all attempts.
    #[must_use]
    pub fn container_id(&self) -> &str {
        &self.shared.container_id
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &ConnectionConfig {
        &self.shared.config
    }

    /// How it reaches its server; what it reloads is for the next connection, not for the present one.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Says goodbye: waits a little for what is under way, closes, and connects no more.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        let patience = drive::PATIENCE + drive::CLOSE_TIMEOUT * 2;
        if timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(role = self.role(), "the connection did not end in time");
        }
    }

    /// Waits for a connection as long as a new link may. Who has asked for it since the last attempt began gets one more, soon;
    /// who asked before has had a chance and is refused.
    pub(crate) async fn ready(&self, asked: Instant) -> Result<(), LinkError> {
        let mut phase = self.shared.phase.subscribe();
        let settled = phase.wait_for(|phase| match phase {
            Phase::Connected | Phase::Ended => true,
            Phase::Connecting => false,
            Phase::Waiting { tried } if *tried >= asked => true,
            Phase::Waiting { .. } => {
                self.shared.wanted.notify_one();
                false
            }
        });
        match timeout(self.shared.config.link_establishment_timeout, settled).await {
            Ok(Ok(phase)) if *phase == Phase::Connected => Ok(()),
            _ => Err(LinkError::NotConnected),
        }
    }

    /// Attaches a link by `attach`, and waits for the answer. What the peer takes at most comes with the link.
    pub(crate) async fn attach(
        &self,
        asked: Instant,
        attach: impl FnOnce(&mut amqp_proto::Connection) -> Result<LinkId, CannotAttach>,
    ) -> Result<(AttachedLink, Option<u64>), LinkError> {
        self.ready(asked).await?;
        let (attaching, answer) = oneshot::channel();
        let wake = Arc::new(Notify::new());
        let port = Port {
            attaching: Some(attaching),
            wake: Arc::clone(&wake),
            messages: VecDeque::new(),
            reserve: CreditReserve::default(),
        };
        let link = self.shared.with_core(|books, core| {
            let id = attach(core).map_err(|error| match error {
                CannotAttach::TooMany => LinkError::TooManyLinks,
                _ => LinkError::NotConnected,
            })?;
            books.ports.insert(id, port);
            let epoch = books.epoch;
            Ok(Link { epoch, id })
        });
        let link = AttachedLink {
            connection: self.clone(),
            link: link.ok_or(LinkError::NotConnected)??,
            wake,
        };
        match timeout(self.shared.config.link_establishment_timeout, answer).await {
            Ok(Ok(Ok(max_message_size))) => Ok((link, max_message_size)),
            Ok(Ok(Err(error))) => {
                let (condition, description) = error
                    .map(|error| (error.condition, error.description))
                    .unzip();
                Err(LinkError::Refused {
                    condition,
                    description: description.flatten(),
                })
            }
            Ok(Err(_)) => Err(LinkError::NotConnected),
            Err(_) => Err(LinkError::TimedOut),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("role", &self.role())
            .field("phase", &*self.shared.phase.borrow())
            .finish_non_exhaustive()
    }
}

/// A link, detached when it is dropped, however far its attaching got.
pub(crate) struct AttachedLink {
    pub(crate) connection: Connection,
    pub(crate) link: Link,
    pub(crate) wake: Arc<Notify>,
}

impl AttachedLink {
    pub(crate) fn is_attached(&self) -> bool {
        let state = self.connection.shared.lock();
        let attached = |core: &amqp_proto::Connection| core.is_attached(self.link.id);
        state.books.epoch == self.link.epoch && state.core.as_ref().is_some_and(attached)
    }
}

impl Drop for AttachedLink {
    fn drop(&mut self) {
        let id = self.link.id;
        let shared = &self.connection.shared;
        shared.with_link(self.link, |books, core| {
            books.remove(id);
            core.detach(id);
        });
        shared.resume_reading();
    }
}

impl Shared {
    /// Lets `act` speak to the core, tells those concerned what came of it, and has what is to be written written. `None` without a
    /// core.
    pub(crate) fn with_core<T>(
        &self,
        act: impl FnOnce(&mut Books, &mut amqp_proto::Connection) -> T,
    ) -> Option<T> {
        let mut state = self.lock();
        let State { core, books } = &mut *state;
        let core = core.as_mut()?;
        let before = core.poll_timeout();
        let result = act(books, core);
        self.dispatch(books, core);
        let is_sooner = |timeout| before.is_none_or(|before| timeout < before);
        let has_news =
            core.has_transmit() || core.is_closed() || core.poll_timeout().is_some_and(is_sooner);
        drop(state);
        if has_news {
            self.transmit.notify_one();
        }
        Some(result)
    }

    /// The same, if the link is one of the present stream's.
    pub(crate) fn with_link<T>(
        &self,
        link: Link,
        act: impl FnOnce(&mut Books, &mut amqp_proto::Connection) -> T,
    ) -> Option<T> {
        self.with_core(|books, core| (books.epoch == link.epoch).then(|| act(books, core)))
            .flatten()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream, a new core.
    fn install(&self, now: Instant, config: amqp_proto::Config) {
        let mut state = self.lock();
        state.books.epoch += 1;
        state.books.closed = None;
        state.core = Some(amqp_proto::Connection::new(now, config));
    }

    /// The stream is gone: so is all that depended on it.
    fn uninstall(&self) -> Option<amqp_proto::CloseReason> {
        let mut state = self.lock();
        state.core = None;
        state.books.waiting.clear();
        state.books.message_bytes = 0;
        for (_, port) in state.books.ports.drain() {
            port.wake.notify_one();
        }
        let reason = state.books.closed.take();
        drop(state);
        self.room.notify_waiters();
        reason
    }

    /// Tells everybody what happened.
    fn dispatch(&self, books: &mut Books, core: &mut amqp_proto::Connection) {
        while let Some(event) = core.poll_event() {
            match event {
                Event::Settled {
                    delivery,
                    settlement,
                } => {
                    if let Some(waiting) = books.waiting.remove(&delivery) {
                        // Who gave up waiting needs no answer.
                        drop(waiting.send(settlement));
                    }
                }
                Event::Message {
                    link,
                    delivery,
                    settled,
                    message,
                } => {
                    if let Some(port) = books.ports.get_mut(&link) {
                        books.message_bytes = books.message_bytes.saturating_add(message.len());
                        port.messages.push_back((delivery, settled, message));
                        port.wake.notify_one();
                    }
                }
                Event::Credit { link } => {
                    if let Some(port) = books.ports.get(&link) {
                        port.wake.notify_one();
                    }
                }
                Event::Attached {
                    link,
                    max_message_size,
                } => answer(books.ports.get_mut(&link), Ok(max_message_size)),
                Event::Detached { link, error } => {
                    let mut port = books.remove(link);
                    answer(port.as_mut(), Err(error));
                    if let Some(port) = port {
                        port.wake.notify_one();
                    }
                }
                Event::Room => self.room.notify_waiters(),
                Event::Opened => {
                    tracing::debug!(role = self.role, "the connection is open");
                    self.service.connected();
                    self.phase.send_replace(Phase::Connected);
                }
                Event::Closed { reason } => books.closed = Some(reason),
                _ => {}
            }
        }
    }
}

impl Books {
    /// Whether a holder may use one of a link's `credit`, and counts it if so.
    pub(crate) fn may_use_credit(&mut self, link: LinkId, credit: u32, holder: Holder) -> bool {
        let port = self.ports.get_mut(&link);
        credit == 0 || port.is_none_or(|port| port.reserve.try_use(credit, holder))
    }

    /// Notes who waits for the outcome of a delivery.
    pub(crate) fn wait_for(&mut self, delivery: DeliveryId) -> oneshot::Receiver<Settlement> {
        let (waiting, settlement) = oneshot::channel();
        self.waiting.insert(delivery, waiting);
        settlement
    }

    /// Forgets who waited.
    pub(crate) fn forget(&mut self, delivery: DeliveryId) {
        self.waiting.remove(&delivery);
    }

    /// Takes the next message of a link: `None` if the link is gone, `Some(None)` if there is no message.
    pub(crate) fn next_message(&mut self, link: LinkId) -> Option<Option<Message>> {
        let message = self.ports.get_mut(&link)?.messages.pop_front();
        let bytes = message.as_ref().map_or(0, |(.., message)| message.len());
        self.message_bytes = self.message_bytes.saturating_sub(bytes);
        Some(message)
    }

    /// Forgets a link, with the messages that nobody has taken.
    fn remove(&mut self, link: LinkId) -> Option<Port> {
        let port = self.ports.remove(&link)?;
        let messages = port.messages.iter().map(|(.., message)| message.len());
        self.message_bytes = self.message_bytes.saturating_sub(messages.sum());
        Some(port)
    }
}

fn answer(port: Option<&mut Port>, answer: Result<Option<u64>, Option<PeerError>>) {
    if let Some(attaching) = port.and_then(|port| port.attaching.take()) {
        // Who gave up waiting has detached the link.
        drop(attaching.send(answer));
    }
}

//! One DTLS port: drives [`dtls_proto::Server`] with a socket, a clock and key look-ups (RFC 6347).

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dtls_proto::{AssociationId, Config, Event as CoreEvent, Psk, Server, Statistics};
use tokio::task::JoinSet;

use crate::udp::{Batch, UdpSocket};

/// Where the keys of devices are kept, and what a device is known as once its key has proved right.
pub trait KeyStore: Send + Sync + 'static {
    /// Who a session belongs to.
    type Principal: Clone + Send + Sync + fmt::Debug + 'static;

    /// The key of a PSK identity (RFC 4279 §5.1) and the principal it stands for; `None` leaves the peer without an answer.
    ///
    /// May take its time: it runs in a task of its own and is dropped when the handshake's deadline has passed.
    fn key(&self, identity: Vec<u8>)
    -> impl Future<Output = Option<(Psk, Self::Principal)>> + Send;
}

/// What [`Listener::next`] tells.
#[derive(Debug)]
pub enum Event<P> {
    /// A record of an authenticated peer.
    ApplicationData {
        /// The session it belongs to.
        association: AssociationId,
        /// Whose session it is.
        principal: P,
        /// The opened content.
        data: Vec<u8>,
    },
    /// A session is over; nothing can be sent on it any more.
    Closed {
        /// The session that is over.
        association: AssociationId,
    },
}

/// A DTLS server on one UDP socket.
#[derive(Debug)]
pub struct Listener<K: KeyStore> {
    socket: UdpSocket,
    batch: Batch,
    server: Server,
    keys: Arc<K>,
    lookups: JoinSet<(AssociationId, Found<K>)>,
    /// How long a look-up may take, the same as the handshake waits for it.
    lookup_deadline: Duration,
    principals: HashMap<AssociationId, K::Principal>,
    events: VecDeque<Event<K::Principal>>,
    unsent: u64,
}

impl<K: KeyStore> Listener<K> {
    /// Serves DTLS on `socket` with the keys of `keys`; `seed` must be random, cookies are made with it.
    pub fn new(socket: UdpSocket, config: Config, seed: [u8; 32], keys: Arc<K>) -> Self {
        let lookup_deadline = config.psk_deadline;
        Self {
            socket,
            batch: Batch::new(),
            server: Server::new(config, seed),
            keys,
            lookups: JoinSet::new(),
            lookup_deadline,
            principals: HashMap::new(),
            events: VecDeque::new(),
            unsent: 0,
        }
    }

    /// The next thing the caller must know. Cancel safe.
    ///
    /// # Errors
    /// Only if the socket itself fails; nothing a peer sends is an error.
    pub async fn next(&mut self) -> io::Result<Event<K::Principal>> {
        loop {
            self.drain();
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let timeout = self.server.poll_timeout();
            tokio::select! {
                received = self.socket.receive(&mut self.batch) => {
                    received?;
                    let (now, server) = (Instant::now(), &mut self.server);
                    self.batch.for_each(|peer, datagram| server.handle_datagram(now, peer, datagram));
                }
                Some(answered) = self.lookups.join_next() => {
                    // A look-up that panicked has no answer; its handshake ends at its own deadline.
                    if let Ok((association, found)) = answered {
                        self.answer(association, found);
                    }
                }
                () = until(timeout) => self.server.handle_timeout(Instant::now()),
            }
        }
    }

    /// Sends `data` as one record and tells whether the session was there to take it.
    pub fn send(&mut self, association: AssociationId, data: &[u8]) -> bool {
        let sent = self.server.send(Instant::now(), association, data).is_ok();
        self.flush();
        sent
    }

    /// Says `close_notify` to a session and forgets it.
    pub fn close(&mut self, association: AssociationId) {
        self.server.close(Instant::now(), association);
        self.drain();
    }

    /// What happened so far on this port, by reason.
    pub fn statistics(&self) -> &Statistics {
        self.server.statistics()
    }

    /// Sessions that are open now.
    pub fn established(&self) -> usize {
        self.server.established()
    }

    /// Datagrams the kernel had no room for.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    fn answer(&mut self, association: AssociationId, found: Found<K>) {
        let key = found.map(|(key, principal)| {
            self.principals.insert(association, principal);
            key
        });
        self.server.provide_psk(Instant::now(), association, key);
    }

    /// Sends what the core has to send and turns its events into ours.
    fn drain(&mut self) {
        self.flush();
        while let Some(event) = self.server.poll_event() {
            match event {
                CoreEvent::PskRequested {
                    association,
                    identity,
                    ..
                } => self.look_up(association, identity),
                CoreEvent::Established {
                    association,
                    peer,
                    suite,
                } => {
                    tracing::debug!(%peer, suite = suite.name(), ?association, "DTLS session established");
                }
                CoreEvent::ApplicationData { association, data } => {
                    if let Some(principal) = self.principals.get(&association) {
                        let principal = principal.clone();
                        self.events.push_back(Event::ApplicationData {
                            association,
                            principal,
                            data,
                        });
                    }
                }
                CoreEvent::Closed {
                    association,
                    reason,
                } => {
                    tracing::debug!(?association, ?reason, "DTLS session closed");
                    self.principals.remove(&association);
                    self.events.push_back(Event::Closed { association });
                }
                _ => {}
            }
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            if !self.socket.send(transmit.peer, &transmit.payload) {
                self.unsent += 1;
            }
        }
    }

    /// Starts a look-up; there are never more of them than half-open handshakes, which the core bounds.
    fn look_up(&mut self, association: AssociationId, identity: Vec<u8>) {
        let (keys, deadline) = (Arc::clone(&self.keys), self.lookup_deadline);
        self.lookups.spawn(async move {
            let found = tokio::time::timeout(deadline, keys.key(identity)).await;
            (association, found.ok().flatten())
        });
    }
}

/// What a look-up brought: the key, and whom it stands for.
type Found<K> = Option<(Psk, <K as KeyStore>::Principal)>;

/// Waits until `deadline`, or for ever where there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

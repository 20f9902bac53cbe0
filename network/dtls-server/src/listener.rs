//! One DTLS port: drives [`dtls_proto::Server`] with a socket, a clock and key look-ups (RFC 6347).

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    hash::Hash,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use dtls_proto::{
    AssociationId, AssociationMap, CipherSuite, CloseReason, Config, Event as CoreEvent,
    HandshakeFailure, Identity, Path, Psk, SendError, Server, Statistics, TicketKeys, Verdict,
};

use crate::lookup::{Answer, Deadlines, Lookups, Question};
use crate::outbox::Outbox;
use crate::shards::{self, Neighbours, Parcel, PassedOn};
use crate::sole::{Place, Sole};
use crate::udp::{Batch, SocketStatistics, UdpSocket};

/// Who devices are: where their keys are kept, what is thought of their certificates, and what a device is known as once it has
/// proved itself.
pub trait KeyStore: Send + Sync + 'static {
    /// Who a session belongs to.
    type Principal: Clone + Eq + Hash + Send + Sync + fmt::Debug + 'static;

    /// Why there is no key, or a certificate is refused; for [`Event::HandshakeFailed`] only, no peer learns it.
    type Refusal: Send + fmt::Debug + 'static;

    /// The key of a PSK identity (RFC 4279 §5.1) and the principal it stands for; an error leaves the peer without an answer.
    ///
    /// May take its time: it runs in a task of its own and is dropped when the handshake's deadline has passed. Where sessions may be
    /// resumed ([`dtls_proto::Resumption`]) it is asked again before one is, and the key must still be the same.
    ///
    /// `peer` is the address of the peer, proved by the cookie; so it is below.
    fn key(
        &self,
        peer: SocketAddr,
        identity: Vec<u8>,
    ) -> impl Future<Output = Result<(Psk, Self::Principal), Self::Refusal>> + Send;

    /// The principal a client certificate stands for; an error refuses it, and the peer is told so (`bad_certificate`).
    ///
    /// The chain is in DER, the client's own certificate first; that the client has its key is proved. Everything else, who vouches for
    /// it before all, is to be judged here ([`crate::Certificate`] helps). `server_name` is the host the client wants to talk to. May
    /// take its time as [`KeyStore::key`] may.
    fn verdict(
        &self,
        peer: SocketAddr,
        chain: Vec<Vec<u8>>,
        server_name: Option<String>,
    ) -> impl Future<Output = Result<Self::Principal, Self::Refusal>> + Send;

    /// The principal a bare key stands for (RFC 7250), a `SubjectPublicKeyInfo` in DER; as [`KeyStore::verdict`] in all else. Asked only
    /// if [`Config::raw_public_keys`] is on.
    fn raw_key(
        &self,
        peer: SocketAddr,
        public_key: Vec<u8>,
        server_name: Option<String>,
    ) -> impl Future<Output = Result<Self::Principal, Self::Refusal>> + Send;

    /// What separates the look-ups of one address when they wait for their turn, such as a
    /// hash of the tenant that the identity names. Unless this is overridden, they are not.
    fn lookup_class(&self, identity: &[u8]) -> u64 {
        let _ = identity;
        0
    }

    /// The tenant of a principal. When places for sessions are short, those of the tenant and of the
    /// principal with most make room. Unless this is overridden, all are of one tenant.
    fn tenant(principal: &Self::Principal) -> &str {
        let _ = principal;
        ""
    }

    /// Whether the owner of a session that was loaded ([`crate::Shards::load`]) may still speak: what the registry told while there was no
    /// process, nobody has heard. Asked once for each session, with its first record. May take its time as [`KeyStore::key`] may. Unless
    /// this is overridden, nobody's rights change.
    fn confirm(&self, principal: Self::Principal) -> impl Future<Output = Confirmation> + Send {
        drop(principal);
        std::future::ready(Confirmation::Unchanged)
    }
}

/// What became of the owner of a loaded session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It may speak as before.
    Unchanged,
    /// Its credentials or itself are gone or disabled: the session is closed.
    Revoked,
    /// Nobody can tell now: its records pass, as those of a session that was never away would, and the next one asks again.
    Unknown,
}

/// What [`Listener::next`] tells. Each `Established` is followed, in the end, by exactly one `Closed`, unless the port is saved; so is
/// each loaded session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<P, R> {
    /// A peer has proved who it is; data may flow.
    Established {
        /// The new session.
        association: AssociationId,
        /// Whose session it is.
        principal: P,
        /// The address the peer has now.
        peer: SocketAddr,
        /// What protects the records.
        suite: CipherSuite,
    },
    /// A record of an authenticated peer.
    ApplicationData {
        /// The session it belongs to.
        association: AssociationId,
        /// Whose session it is.
        principal: P,
        /// Whence the record came.
        peer: SocketAddr,
        /// Most data that one record in answer to it may carry.
        max_payload: usize,
        /// The opened content.
        data: Vec<u8>,
    },
    /// A handshake came to nothing; told at most once of each, as soon as it is known.
    HandshakeFailed {
        /// The address of the peer, proved by the cookie.
        peer: SocketAddr,
        /// The PSK identity, if the peer has named one.
        identity: Option<Vec<u8>>,
        /// Whose key the peer was to prove to have, if it was found.
        principal: Option<P>,
        /// What went wrong.
        failure: HandshakeFailure,
        /// Why the key store refused, if it did.
        refusal: Option<R>,
    },
    /// A session is over; nothing can be sent on it any more.
    Closed {
        /// The session that is over.
        association: AssociationId,
        /// Whose session it was.
        principal: P,
        /// Why it is over.
        reason: CloseReason,
    },
}

/// How much of everything there is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Established sessions.
    pub sessions: usize,
    /// Handshakes under way, those that wait for a key among them.
    pub handshakes: usize,
    /// Look-ups of keys and judgements of certificates that run or wait for their turn.
    pub lookups: usize,
    /// Handshakes and sessions with a connection id.
    pub connection_ids: usize,
    /// Sessions that may be resumed by their ids, with any listener of the port; told by the first of them only.
    pub resumable: usize,
    /// Bytes that the sessions take, beside their places in tables.
    pub session_bytes: usize,
}

/// A DTLS server on one UDP socket.
#[derive(Debug)]
pub struct Listener<K: KeyStore> {
    socket: UdpSocket,
    batch: Batch,
    pub(crate) server: Server,
    pub(crate) lookups: Lookups<K>,
    pub(crate) principals: AssociationMap<Holder<K::Principal>>,
    /// Who has which session, if nobody may have two.
    pub(crate) sole: Sole<K::Principal>,
    /// The other listeners of the port, if there are any.
    pub(crate) neighbours: Option<Neighbours>,
    /// Records of loaded sessions whose owners are in question.
    held: AssociationMap<Vec<Held>>,
    /// What is known of handshakes that a key store was asked about.
    hints: AssociationMap<Hint<K::Refusal>>,
    events: VecDeque<Event<K::Principal, K::Refusal>>,
    outbox: Outbox,
}

impl<K: KeyStore> Listener<K> {
    /// Serves DTLS on `socket` with the keys of `keys`; `seed` must be random, cookies are made with it.
    pub fn new(socket: UdpSocket, config: Config, seed: [u8; 32], keys: Arc<K>) -> Self {
        let deadlines = Deadlines::of(&config);
        Self::with_server(socket, Server::new(config, seed), keys, deadlines)
    }

    pub(crate) fn with_server(
        socket: UdpSocket,
        server: Server,
        keys: Arc<K>,
        deadlines: Deadlines,
    ) -> Self {
        Self {
            lookups: Lookups::new(keys, deadlines),
            socket,
            batch: Batch::new(),
            server,
            principals: AssociationMap::default(),
            sole: Sole::default(),
            neighbours: None,
            held: AssociationMap::default(),
            hints: AssociationMap::default(),
            events: VecDeque::new(),
            outbox: Outbox::default(),
        }
    }

    /// Asks the key store for at most `limit` keys at a time (at least one); further look-ups wait for their turn as long as their
    /// handshake does. Before this is called, the limit is 1,024.
    #[must_use]
    pub fn with_max_lookups(mut self, limit: usize) -> Self {
        self.lookups.limit(limit);
        self
    }

    /// The next thing the caller must know. Cancel safe.
    ///
    /// # Errors
    /// Only if the socket itself fails; nothing a peer sends is an error.
    pub async fn next(&mut self) -> io::Result<Event<K::Principal, K::Refusal>> {
        loop {
            self.drain();
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let timeout = self.server.poll_timeout();
            let timeout = timeout.into_iter().chain(self.outbox.retry_at()).min();
            tokio::select! {
                received = self.socket.receive(&mut self.batch) => {
                    received?;
                    self.take_batch();
                }
                parcel = shards::next(&mut self.neighbours) => self.take_parcels(parcel),
                Some((association, answer)) = self.lookups.next() => {
                    self.answer(association, answer);
                    self.take_answers();
                }
                () = until(timeout) => self.server.handle_timeout(Instant::now()),
            }
        }
    }

    /// Takes what came from the network, and passes on what is another listener's.
    fn take_batch(&mut self) {
        let (now, server) = (Instant::now(), &mut self.server);
        let neighbours = &mut self.neighbours;
        let mut handshakes = false;
        self.batch.for_each(|path, datagram| {
            if Server::is_handshake(datagram) {
                handshakes = true;
                server.set_wall_clock(SystemTime::now());
            }
            let passed = neighbours
                .as_mut()
                .is_some_and(|neighbours| neighbours.pass_on(path, datagram));
            if !passed {
                server.handle_datagram(now, path, datagram);
            }
        });
        if handshakes {
            // A handshake takes several flights, and thousands that begin at once are to be over soon.
            self.socket.hurry();
        }
    }

    /// Takes what other listeners passed on, up to a bound, so that the network gets its turn.
    fn take_parcels(&mut self, first: Parcel) {
        self.take_parcel(first);
        for _ in 1..AT_A_TIME {
            let neighbours = self.neighbours.as_mut();
            let Some(parcel) = neighbours.and_then(Neighbours::take_waiting) else {
                return;
            };
            self.take_parcel(parcel);
        }
    }

    /// Takes what else the key store has answered, up to a bound, so that one system call sends what follows from all of it.
    fn take_answers(&mut self) {
        for _ in 1..AT_A_TIME {
            let Some((association, answer)) = self.lookups.take_ready() else {
                return;
            };
            self.answer(association, answer);
        }
    }

    fn take_parcel(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Datagram(path, mut datagram, _waiting) => {
                let now = Instant::now();
                self.server.handle_datagram(now, path, &mut datagram);
            }
            Parcel::Superseded(association) => self.supersede(association),
            Parcel::Wake => self.server.handle_timeout(Instant::now()),
        }
    }

    /// What [`Listener::next`] would tell without waiting for anything.
    pub fn take_waiting(&mut self) -> Option<Event<K::Principal, K::Refusal>> {
        self.events.pop_front()
    }

    /// Makes one record of `data`. Records are sent together by [`Listener::flush`], or when
    /// [`Listener::next`] is called.
    ///
    /// # Errors
    /// [`SendError`] if the session is gone, or its records may not carry so much.
    pub fn send(&mut self, association: AssociationId, data: &[u8]) -> Result<(), SendError> {
        self.server.send(Instant::now(), association, data)
    }

    /// Most data that one record to this session may carry now; `None` if the session is gone.
    pub fn max_payload(&self, association: AssociationId) -> Option<usize> {
        self.server.max_payload(association)
    }

    /// Sends the records that were made, those of sessions first. What the kernel has no room for is
    /// tried again later if it belongs to a session.
    pub fn flush(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            let path = Path {
                remote: transmit.peer,
                local: transmit.local,
            };
            self.outbox.push(path, transmit.payload);
        }
        self.outbox.flush(&self.socket);
        for (peer, bytes) in self.outbox.take_too_large() {
            self.server.set_path_mtu(peer, bytes);
        }
    }

    /// Lets no new handshake begin, because the port is about to end; those under way go on. A device that wants to begin one hears
    /// nothing, and tries again.
    pub fn close_admission(&mut self) {
        self.server.close_admission();
    }

    /// Says `close_notify` to a session and forgets it.
    pub fn close(&mut self, association: AssociationId) {
        self.server.close(Instant::now(), association);
        self.drain();
    }

    /// Says `close_notify` to every session of those principals, drops their handshakes in silence, and tells how many there were of
    /// both. Whatever a look-up under way will find is looked up once more, as it may be true no longer. It looks at all sessions.
    pub fn close_where(&mut self, mut whose: impl FnMut(&K::Principal) -> bool) -> usize {
        let holders = self.principals.iter();
        let closed: Vec<_> = holders
            .filter(|(_, holder)| whose(&holder.principal))
            .map(|(association, _)| *association)
            .collect();
        for association in &closed {
            self.server.close(Instant::now(), *association);
        }
        self.lookups.doubt_all();
        self.drain();
        closed.len()
    }

    /// Asks the key store about the owner of each session with its next record, as for a loaded session:
    /// nobody may have heard of a change. Whatever a look-up under way will find is looked up once
    /// more. It looks at all sessions.
    pub fn reconfirm_all(&mut self) {
        for holder in self.principals.values_mut() {
            if holder.standing == Standing::Confirmed {
                holder.standing = Standing::Loaded;
            }
        }
        self.lookups.doubt_all();
    }

    /// Proves itself to clients with another identity from now on, for instance a renewed certificate.
    pub fn set_identity(&mut self, identity: Option<Arc<Identity>>) {
        self.server.set_identity(identity);
    }

    /// Seals tickets with other keys from now on (RFC 5077); see [`dtls_proto::TicketKeys`] for how long old ones stay good.
    pub fn set_ticket_keys(&mut self, keys: Option<TicketKeys>) {
        self.server.set_ticket_keys(keys);
    }

    /// Who knows the devices.
    pub fn keys(&self) -> &K {
        self.lookups.keys()
    }

    /// What happened so far on this port, by reason.
    pub fn statistics(&self) -> &Statistics {
        self.server.statistics()
    }

    /// Sessions that are open now.
    pub fn established(&self) -> usize {
        self.server.established()
    }

    /// What there is on this port at the moment.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            sessions: self.server.established(),
            handshakes: self.server.handshaking(),
            lookups: self.lookups.len(),
            connection_ids: self.server.connection_ids(),
            // All listeners of a port have the same, so one of them tells it.
            resumable: match self.shard() {
                0 => self.server.resumable(),
                _ => 0,
            },
            session_bytes: self.server.established() * Server::association_size(),
        }
    }

    /// What this listener has passed on to others of its port.
    pub fn passed_on(&self) -> PassedOn {
        let neighbours = self.neighbours.as_ref();
        neighbours.map(Neighbours::passed_on).unwrap_or_default()
    }

    /// What the socket could not do.
    pub fn socket_statistics(&self) -> SocketStatistics {
        SocketStatistics {
            unsent: self.outbox.unsent(),
            receive_errors: self.socket.receive_errors(),
        }
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    fn answer(&mut self, association: AssociationId, answer: Answer<K::Principal, K::Refusal>) {
        let now = Instant::now();
        match answer {
            Answer::Key(Ok((key, principal))) => {
                let tenant = K::tenant(&principal);
                self.server.set_owner(association, &tenant, &principal);
                self.principals.insert(association, Holder::new(principal));
                self.server.provide_psk(now, association, Some(key));
            }
            Answer::Key(Err(refusal)) => {
                // Found for a resumption that was refused.
                self.principals.remove(&association);
                self.hint(association).refusal = Some(refusal);
                self.server.provide_psk(now, association, None);
            }
            Answer::Verdict(Ok(principal)) => {
                let tenant = K::tenant(&principal);
                self.server.set_owner(association, &tenant, &principal);
                self.principals.insert(association, Holder::new(principal));
                let accepted = Verdict::Accepted;
                self.server.provide_verdict(now, association, accepted);
            }
            Answer::Verdict(Err(refusal)) => {
                self.hint(association).refusal = Some(refusal);
                self.server
                    .provide_verdict(now, association, Verdict::Refused);
            }
            Answer::Confirmation(confirmation) => self.on_confirmed(association, confirmation),
        }
    }

    fn hint(&mut self, association: AssociationId) -> &mut Hint<K::Refusal> {
        self.hints.entry(association).or_default()
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
                } => {
                    *self.hint(association) = Hint {
                        identity: Some(identity.clone()),
                        refusal: None,
                    };
                    self.ask(association, Question::Key(identity));
                }
                CoreEvent::VerdictRequested {
                    association,
                    chain,
                    server_name,
                } => {
                    let question = Question::Verdict { chain, server_name };
                    self.ask(association, question);
                }
                CoreEvent::RawKeyRequested {
                    association,
                    public_key,
                    server_name,
                } => {
                    let question = Question::RawKey {
                        public_key,
                        server_name,
                    };
                    self.ask(association, question);
                }
                CoreEvent::Established {
                    association,
                    peer,
                    suite,
                } => self.on_established(association, peer, suite),
                CoreEvent::ApplicationData {
                    association,
                    peer,
                    max_payload,
                    data,
                } => {
                    let received = Held {
                        peer,
                        max_payload,
                        data,
                    };
                    self.on_data(association, received);
                }
                CoreEvent::HandshakeFailed {
                    association,
                    peer,
                    failure,
                } => self.on_failed(association, peer, failure),
                CoreEvent::Closed {
                    association,
                    reason,
                } => self.on_closed(association, reason),
                CoreEvent::Wake { server } => {
                    if let Some(neighbours) = &self.neighbours {
                        neighbours.wake(server);
                    }
                }
                _ => {}
            }
        }
        // What an event led to may have to be sent.
        self.flush();
    }

    /// Looks something up for a handshake.
    fn ask(&mut self, association: AssociationId, question: Question<K::Principal>) {
        // Without a peer, it ended just now.
        if let Some(peer) = self.server.peer(association) {
            self.lookups.ask(association, peer, question);
        }
    }

    fn on_established(&mut self, association: AssociationId, peer: SocketAddr, suite: CipherSuite) {
        tracing::debug!(%peer, suite = suite.name(), %association, "DTLS session established");
        self.hints.remove(&association);
        if let Some(holder) = self.principals.get_mut(&association) {
            holder.standing = Standing::Confirmed;
            let principal = holder.principal.clone();
            if let Some(older) = self.sole.take(&principal, self.place(association)) {
                match &self.neighbours {
                    Some(neighbours) if neighbours.shard() != older.shard => {
                        neighbours.supersede(older);
                    }
                    _ => self.supersede(older.association),
                }
            }
            self.events.push_back(Event::Established {
                association,
                principal,
                peer,
                suite,
            });
        }
    }

    /// Ends a session whose owner has another one, unless it is over already.
    fn supersede(&mut self, association: AssociationId) {
        if self.principals.contains_key(&association) {
            self.server.supersede(Instant::now(), association);
        }
    }

    fn shard(&self) -> usize {
        self.neighbours.as_ref().map_or(0, Neighbours::shard)
    }

    fn place(&self, association: AssociationId) -> Place {
        let shard = self.shard();
        Place { shard, association }
    }

    fn on_data(&mut self, association: AssociationId, received: Held) {
        let Some(holder) = self.principals.get_mut(&association) else {
            return;
        };
        match holder.standing {
            Standing::Handshaking | Standing::Confirmed => {
                let principal = holder.principal.clone();
                let event = received.into_event(association, principal);
                self.events.push_back(event);
            }
            Standing::Loaded => {
                holder.standing = Standing::InQuestion;
                let question = Question::Confirmation(holder.principal.clone());
                self.lookups.ask(association, received.peer, question);
                self.held.insert(association, vec![received]);
            }
            Standing::InQuestion => {
                let held = self.held.entry(association).or_default();
                // What there is no room for is sent again if it matters.
                if held.len() < MAX_HELD {
                    held.push(received);
                }
            }
        }
    }

    /// Somebody knows whether the owner of a loaded session still is who it was.
    fn on_confirmed(&mut self, association: AssociationId, confirmation: Confirmation) {
        let Some(holder) = self.principals.get_mut(&association) else {
            return;
        };
        let held = self.held.remove(&association).unwrap_or_default();
        holder.standing = match confirmation {
            Confirmation::Unchanged => Standing::Confirmed,
            Confirmation::Unknown => Standing::Loaded,
            Confirmation::Revoked => {
                tracing::info!(%association, "closing restored session: its credentials were revoked");
                return self.server.close(Instant::now(), association);
            }
        };
        let principal = &holder.principal;
        let passed = held
            .into_iter()
            .map(|received| received.into_event(association, principal.clone()));
        self.events.extend(passed);
    }

    fn on_failed(
        &mut self,
        association: Option<AssociationId>,
        peer: SocketAddr,
        failure: HandshakeFailure,
    ) {
        let hint = association.and_then(|association| self.hints.remove(&association));
        let hint = hint.unwrap_or_default();
        let holder = association.and_then(|association| self.principals.get(&association));
        self.events.push_back(Event::HandshakeFailed {
            peer,
            identity: hint.identity,
            principal: holder.map(|holder| holder.principal.clone()),
            failure,
            refusal: hint.refusal,
        });
    }

    fn on_closed(&mut self, association: AssociationId, reason: CloseReason) {
        tracing::debug!(%association, %reason, "DTLS session closed");
        self.lookups.forget(association);
        self.held.remove(&association);
        self.hints.remove(&association);
        let holder = self.principals.remove(&association);
        if let Some(holder) = &holder {
            let place = self.place(association);
            self.sole.forget(&holder.principal, place);
        }
        if let Some(holder) = holder.filter(|holder| holder.standing != Standing::Handshaking) {
            self.events.push_back(Event::Closed {
                association,
                principal: holder.principal,
                reason,
            });
        }
    }
}

/// Who a handshake or session belongs to.
#[derive(Debug)]
pub(crate) struct Holder<P> {
    pub(crate) principal: P,
    pub(crate) standing: Standing,
}

/// How far the owner of an association is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is about to prove itself; the caller was not told of it.
    Handshaking,
    /// It has proved itself, and nothing else was heard.
    Confirmed,
    /// It has proved itself to an earlier process, or before a change that may have been missed.
    Loaded,
    /// The same, and its rights are being looked up.
    InQuestion,
}

impl<P> Holder<P> {
    fn new(principal: P) -> Self {
        Self {
            principal,
            standing: Standing::Handshaking,
        }
    }
}

/// The content of a record, and what came with it.
#[derive(Debug)]
struct Held {
    peer: SocketAddr,
    max_payload: usize,
    data: Vec<u8>,
}

impl Held {
    fn into_event<P, R>(self, association: AssociationId, principal: P) -> Event<P, R> {
        Event::ApplicationData {
            association,
            principal,
            peer: self.peer,
            max_payload: self.max_payload,
            data: self.data,
        }
    }
}

/// What a handshake that fails later can be told by.
#[derive(Debug)]
struct Hint<R> {
    identity: Option<Vec<u8>>,
    refusal: Option<R>,
}

impl<R> Default for Hint<R> {
    fn default() -> Self {
        Self {
            identity: None,
            refusal: None,
        }
    }
}

/// Waits until `deadline`, or for ever where there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What is taken from other listeners, or from the key store, before something else has its turn.
const AT_A_TIME: usize = 64;

/// Records of one session that wait for the answer about its owner.
const MAX_HELD: usize = 8;

//! Several listeners on one port, each with a socket, sessions and a task of its own.
//!
//! ```text
//!                       ┌─> Listener 0 ── record with an id of shard 1 ──> mailbox ─┐
//!   kernel, by address ─┤                                                           │
//!                       └─> Listener 1 <────────────────────────────────────────────┘ answers from its own socket
//! ```
//!
//! A datagram belongs to the shard that its connection id names ([`dtls_proto::Route::shard_of`]); without an id to the shard where a
//! session of its address was loaded, or else to the one that the kernel gave it to. It is passed on once: whoever takes it out
//! of its mailbox keeps it. No lock is taken for a record; the beginnings and ends of sessions share what [`Server::beside`] says.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use dtls_proto::{
    AssociationId, Config, ConnectionIds, LoadError, Moment, Path, SavedSessions, Server,
};
use tokio::sync::mpsc;

use crate::{
    listener::{Holder, KeyStore, Listener, Standing},
    lookup::{Deadlines, MAX_LOOKUPS},
    sole::{Place, Sole},
    udp::UdpSocket,
};

/// The listeners of a port before they are served.
#[derive(Debug)]
pub struct Shards<K: KeyStore>(Vec<Listener<K>>);

/// What a listener has passed on to others of its port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassedOn {
    /// Datagrams that others have got.
    pub datagrams: u64,
    /// Datagrams that were lost, as whose they were had too many of them already, or they were too long.
    pub lost: u64,
}

impl<K: KeyStore> Shards<K> {
    /// Serves DTLS on sockets of one address ([`UdpSocket::bind_shards`]), at most 256, each by a listener of its own. The limits of `config`
    /// hold for all of them together; see [`Listener::new`] for the rest.
    #[must_use]
    pub fn new(sockets: Vec<UdpSocket>, config: &Config, seed: [u8; 32], keys: &Arc<K>) -> Self {
        let count = sockets.len();
        let urgent = config.max_associations;
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = sockets
            .iter()
            .map(|_| mpsc::channel(urgent.saturating_add(MOST_PASSED).min(MOST_PERMITS)))
            .unzip();
        let mailboxes: Arc<[_]> = mailboxes.into();
        let mut listeners: Vec<Listener<K>> = Vec::with_capacity(count);
        for ((shard, socket), inbox) in sockets.into_iter().enumerate().zip(inboxes) {
            let mut config = config.clone();
            let number = u8::try_from(shard).unwrap_or(u8::MAX);
            config.connection_ids = config.connection_ids.map(|ids| ids.with_shard(number));
            let (ids, deadlines) = (config.connection_ids, Deadlines::of(&config));
            let server = match listeners.first() {
                Some(first) => first.server.beside(config, seed),
                None => Server::new(config, seed),
            };
            let mut listener = Listener::with_server(socket, server, Arc::clone(keys), deadlines);
            if count > 1 {
                listener.lookups.limit(MAX_LOOKUPS.div_ceil(count));
                listener.neighbours = Some(Neighbours {
                    shard,
                    mailboxes: Arc::clone(&mailboxes),
                    inbox,
                    ids,
                    homes: Arc::default(),
                    passed_on: PassedOn::default(),
                });
            }
            listeners.push(listener);
        }
        Self(listeners)
    }

    /// Lets each principal have one session at a time: with a new one, the older one on this port is closed. Before this is called, a
    /// principal may have any number.
    #[must_use]
    pub fn with_one_session_each(mut self) -> Self {
        let sole = Sole::wanted();
        for listener in &mut self.0 {
            listener.sole = sole.clone();
        }
        self
    }

    /// The listeners, each to be served by a task of its own.
    #[must_use]
    pub fn into_listeners(self) -> Vec<Listener<K>> {
        self.0
    }

    /// Ends the listeners of a port and takes out their sessions. Devices hear nothing of it. `encode` writes what is to be known of the
    /// owner of a session, which is that of the listener at that place.
    #[must_use]
    pub fn save(
        listeners: Vec<Listener<K>>,
        mut encode: impl FnMut(usize, AssociationId, &K::Principal) -> Vec<u8>,
    ) -> SavedSessions {
        let (servers, principals): (Vec<_>, Vec<_>) = listeners
            .into_iter()
            .map(|listener| (listener.server, listener.principals))
            .unzip();
        Server::save_all(servers, moment(), |shard, association| {
            let holder = principals.get(shard)?.get(&association)?;
            Some(encode(shard, association, &holder.principal))
        })
    }

    /// Goes on with saved sessions, whatever number of listeners had them, and tells how many there are. `decode` reads what was written
    /// of an owner, whose session is that of the listener at that place now; where it can't, the session is dropped in silence. There is
    /// no `Established` for them, and the first record of each is handed on only when [`KeyStore::confirm`] has answered.
    ///
    /// # Errors
    /// [`LoadError`], if nothing was loaded.
    pub fn load(
        &mut self,
        saved: &SavedSessions,
        mut decode: impl FnMut(usize, AssociationId, &[u8]) -> Option<K::Principal>,
    ) -> Result<usize, LoadError> {
        let mut servers: Vec<_> = self
            .0
            .iter_mut()
            .map(|listener| &mut listener.server)
            .collect();
        let all = Server::load_all(&mut servers, moment(), saved)?;
        let (mut taken, mut passed_over, mut homes) = (0, 0, HashMap::new());
        for (shard, loaded) in all.into_iter().enumerate() {
            passed_over += loaded.passed_over;
            for session in loaded.sessions {
                let association = session.association;
                if let Some(principal) = decode(shard, association, &session.owner) {
                    self.take_in(Place { shard, association }, principal);
                    homes.extend(session.address.map(|address| (address, shard)));
                    taken += 1;
                } else if let Some(listener) = self.0.get_mut(shard) {
                    listener.server.forget(association);
                    passed_over += 1;
                }
            }
        }
        let homes = Arc::new(homes);
        for neighbours in self.0.iter_mut().filter_map(|it| it.neighbours.as_mut()) {
            neighbours.homes = Arc::clone(&homes);
        }
        tracing::info!(sessions = taken, passed_over, "DTLS sessions loaded");
        Ok(taken)
    }

    fn take_in(&mut self, place: Place, principal: K::Principal) {
        let Some(listener) = self.0.get_mut(place.shard) else {
            return;
        };
        let older = listener.sole.take(&principal, place);
        let standing = Standing::Loaded;
        let holder = Holder {
            principal,
            standing,
        };
        listener.principals.insert(place.association, holder);
        if let Some(older) = older
            && let Some(listener) = self.0.get_mut(older.shard)
        {
            listener.server.supersede(Instant::now(), older.association);
        }
    }
}

/// The other listeners of a port, as one of them sees them.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// Which one this is.
    shard: usize,
    /// Of all listeners, this one's among them.
    mailboxes: Arc<[mpsc::Sender<Parcel>]>,
    inbox: mpsc::Receiver<Parcel>,
    ids: Option<ConnectionIds>,
    /// Where sessions without a connection id were loaded, by their addresses. An address stays where it was at the load.
    homes: Arc<HashMap<SocketAddr, usize>>,
    passed_on: PassedOn,
}

/// What one listener has for another.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A datagram and its path.
    Datagram(Path, Vec<u8>),
    /// The owner of this session has another one now.
    Superseded(AssociationId),
}

impl Neighbours {
    pub(crate) const fn shard(&self) -> usize {
        self.shard
    }

    pub(crate) const fn passed_on(&self) -> PassedOn {
        self.passed_on
    }

    /// Passes a datagram from the network on, if it is another listener's, and tells whether it was.
    pub(crate) fn pass_on(&mut self, path: Path, datagram: &[u8]) -> bool {
        let route = self.ids.and_then(|ids| ids.route(datagram));
        let owner = match route {
            Some(route) => Some(route.shard_of(self.mailboxes.len())),
            None => self.homes.get(&path.remote).copied(),
        };
        let Some(owner) = owner.filter(|owner| *owner != self.shard) else {
            return false;
        };
        if self.post(owner, path, datagram) {
            self.passed_on.datagrams += 1;
        } else {
            self.passed_on.lost += 1;
        }
        true
    }

    fn post(&self, owner: usize, path: Path, datagram: &[u8]) -> bool {
        let Some(mailbox) = self.mailboxes.get(owner) else {
            return false;
        };
        // Whatever place is above is for what must not be lost.
        let taken = mailbox.max_capacity().saturating_sub(mailbox.capacity());
        taken < MOST_PASSED
            && datagram.len() <= LONGEST_PASSED
            && mailbox
                .try_send(Parcel::Datagram(path, datagram.to_vec()))
                .is_ok()
    }

    /// Has another listener end a session.
    pub(crate) fn supersede(&self, older: Place) {
        let sent = self
            .mailboxes
            .get(older.shard)
            .is_some_and(|it| it.try_send(Parcel::Superseded(older.association)).is_ok());
        if !sent {
            tracing::warn!(session = %older.association, "an older session stays, as its task takes nothing");
        }
    }

    pub(crate) fn take_waiting(&mut self) -> Option<Parcel> {
        self.inbox.try_recv().ok()
    }
}

/// What another listener has for this one; never comes where there is no other one. Cancel safe.
pub(crate) async fn next(neighbours: &mut Option<Neighbours>) -> Parcel {
    if let Some(neighbours) = neighbours
        && let Some(parcel) = neighbours.inbox.recv().await
    {
        return parcel;
    }
    std::future::pending().await
}

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// Datagrams that wait in a mailbox.
const MOST_PASSED: usize = 512;

/// Bytes of the longest datagram that is passed on: the longest record (RFC 6347 §4.1, RFC 9146 §4) with room to spare.
const LONGEST_PASSED: usize = (1 << 14) + (1 << 11) + 64;

/// What a channel can count.
const MOST_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

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
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
        let mailboxes: Arc<[_]> = mailboxes.into_iter().map(Mailbox::new).collect();
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
        let tenant = K::tenant(&principal);
        listener
            .server
            .set_owner(place.association, &tenant, &principal);
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
    mailboxes: Arc<[Mailbox]>,
    inbox: mpsc::Receiver<Parcel>,
    ids: Option<ConnectionIds>,
    /// Where sessions without a connection id were loaded, by their addresses. An address stays where it was at the load.
    homes: Arc<HashMap<SocketAddr, usize>>,
    passed_on: PassedOn,
}

/// What one listener has for another.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A datagram, its path, and its source's part of the mailbox.
    Datagram(Path, Vec<u8>, Option<Waiting>),
    /// The owner of this session has another one now.
    Superseded(AssociationId),
    /// An association of the listener was displaced.
    Wake,
}

/// The way to another listener.
#[derive(Debug)]
struct Mailbox {
    sender: mpsc::Sender<Parcel>,
    /// Keyed, so that no peer can choose whose count its datagrams go into.
    hasher: RandomState,
    /// Datagrams that wait, by source prefix. Several prefixes may share a count.
    waiting: Arc<[AtomicUsize]>,
}

/// A datagram of a source prefix waits in a mailbox.
#[derive(Debug)]
pub(crate) struct Waiting {
    counts: Arc<[AtomicUsize]>,
    index: usize,
}

impl Mailbox {
    fn new(sender: mpsc::Sender<Parcel>) -> Self {
        Self {
            sender,
            hasher: RandomState::new(),
            waiting: (0..SOURCES).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Room for a datagram of this source, unless too many of its prefix wait.
    fn room_for(&self, source: IpAddr) -> Option<Waiting> {
        let prefix = match source.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
            IpAddr::V6(address) => address.to_bits() >> (128 - 56),
        };
        let hash = usize::try_from(self.hasher.hash_one(prefix) % SOURCES).ok()?;
        let count = self.waiting.get(hash)?;
        let waiting = Waiting {
            counts: Arc::clone(&self.waiting),
            index: hash,
        };
        // If there is no room, dropping `waiting` takes it back.
        (count.fetch_add(1, Ordering::Relaxed) < MAX_WAITING_OF_SOURCE).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(count) = self.counts.get(self.index) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
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
        let (owner, is_known) = match route {
            Some(route) => (Some(route.shard_of(self.mailboxes.len())), false),
            None => (self.homes.get(&path.remote).copied(), true),
        };
        let Some(owner) = owner.filter(|owner| *owner != self.shard) else {
            return false;
        };
        if self.post(owner, path, datagram, is_known) {
            self.passed_on.datagrams += 1;
        } else {
            self.passed_on.lost += 1;
        }
        true
    }

    /// Copies a datagram into a mailbox. Anybody can make up an id of another shard, so that what
    /// comes without a session known to be there has a share of the mailbox for each source.
    fn post(&self, owner: usize, path: Path, datagram: &[u8], is_known: bool) -> bool {
        let Some(mailbox) = self.mailboxes.get(owner) else {
            return false;
        };
        // Whatever place is above is for what must not be lost.
        let sender = &mailbox.sender;
        let taken = sender.max_capacity().saturating_sub(sender.capacity());
        if taken >= MOST_PASSED || datagram.len() > LONGEST_PASSED {
            return false;
        }
        let room = mailbox.room_for(path.remote.ip());
        if room.is_none() && !is_known {
            return false;
        }
        sender
            .try_send(Parcel::Datagram(path, datagram.to_vec(), room))
            .is_ok()
    }

    /// Has another listener drop what was displaced. If its mailbox is full, it does so with its next
    /// datagram or timer.
    pub(crate) fn wake(&self, shard: usize) {
        if let Some(mailbox) = self.mailboxes.get(shard) {
            drop(mailbox.sender.try_send(Parcel::Wake));
        }
    }

    /// Has another listener end a session.
    pub(crate) fn supersede(&self, older: Place) {
        let sent = self.mailboxes.get(older.shard).is_some_and(|it| {
            it.sender
                .try_send(Parcel::Superseded(older.association))
                .is_ok()
        });
        if !sent {
            tracing::warn!(session = %older.association, "cannot close the previous session of a device: its shard is overloaded");
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

/// Datagrams of one source prefix that wait in a mailbox.
const MAX_WAITING_OF_SOURCE: usize = MOST_PASSED / 4;

/// Counts of source prefixes in a mailbox.
const SOURCES: u64 = 256;

/// Bytes of the longest datagram that is passed on: the longest record (RFC 6347 §4.1, RFC 9146 §4) with room to spare.
const LONGEST_PASSED: usize = (1 << 14) + (1 << 11) + 64;

/// What a channel can count.
const MOST_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: anybody could fill another shard's mailbox with made-up connection ids, so that
    /// records of clients that have moved were lost. Cause: the mailbox had a bound in total only.
    #[test]
    fn a_source_that_fills_its_part_of_a_mailbox_leaves_room_for_others() {
        let (sender, mut inbox) = mpsc::channel(MOST_PASSED);
        let (_, own) = mpsc::channel(1);
        let mut neighbours = Neighbours {
            shard: 0,
            mailboxes: [Mailbox::new(sender.clone()), Mailbox::new(sender)].into(),
            inbox: own,
            ids: ConnectionIds::new(8, 0, 0).ok(),
            homes: Arc::default(),
            passed_on: PassedOn::default(),
        };
        // Record header of type tls12_cid, with an id of shard 1.
        let mut datagram = vec![0; 40];
        datagram[0] = 25;
        datagram[11..14].copy_from_slice(&[0x10, 0, 1]);
        let flood: SocketAddr = ([192, 0, 2, 1], 1).into();
        for _ in 0..MOST_PASSED {
            assert!(neighbours.pass_on(flood.into(), &datagram));
        }
        let passed = neighbours.passed_on();
        assert_eq!(passed.datagrams, 128);
        assert_eq!(passed.lost, 384);
        // One of 200 other prefixes may share the flood's count, not all.
        for third in 0..200 {
            let source: SocketAddr = ([198, 51, third, 1], 1).into();
            neighbours.pass_on(source.into(), &datagram);
        }
        assert!(neighbours.passed_on().datagrams >= 128 + 190);
        // What is taken out makes room.
        while inbox.try_recv().is_ok() {}
        let lost = neighbours.passed_on().lost;
        neighbours.pass_on(flood.into(), &datagram);
        assert_eq!(neighbours.passed_on().lost, lost);
    }
}

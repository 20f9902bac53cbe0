//! What of a server outlives it: taken out when a process ends, taken in when the next begins.
//!
//! No nonce of a session may ever be used twice, and our nonces are epoch and sequence number, so:
//! - a server whose sessions are taken out is gone: it can't send any more;
//! - whoever loads saved sessions must have made sure before that nobody can load them again, not even after a crash, so a process that
//!   is killed leaves nothing to load, and its clients shake hands anew;
//! - and sequence numbers jump when they are loaded, by at least [`MIN_JUMP`], and by chance, so that two servers which against that
//!   rule load the same sessions hardly use the same numbers. The jump is not much above 2^24: an epoch lasts for millions of restarts,
//!   and a client that keeps but 32 bits of a number for hundreds.
//!
//! What a client has sent before can't be replayed either: the window is saved, too. Handshakes are not saved.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::codec::{Malformed, Reader, put_u24};
use crate::connection_ids::Route;
use crate::crypto;
use crate::event::AssociationId;
use crate::resumption::{Resumable, SessionCache, SessionId};
use crate::saved::{LoadError, SavedSessions};
use crate::server::Server;
use crate::server::session::Session;

/// The same moment by two clocks: the one orders what happens in a process, the other outlives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that only goes forward.
    pub now: Instant,
    /// By the clock on the wall.
    pub wall: SystemTime,
}

/// What is there again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The sessions, in no order.
    pub sessions: Vec<LoadedSession>,
    /// How many had no place here: their suite is switched off, their connection id has another length, their address or all places
    /// are taken.
    pub passed_over: usize,
}

/// A session that is there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSession {
    /// What it is called from now on.
    pub association: AssociationId,
    /// What was saved of its owner.
    pub owner: Vec<u8>,
    /// The address that alone tells its records from those of others; none if they carry an id.
    pub address: Option<SocketAddr>,
}

impl Server {
    /// Takes out all established sessions for which `owner` says whose they are, and what may be resumed by id, and ends the server; no
    /// peer is told. Drain [`Server::poll_transmit`] before. An owner of 16 MiB or more is cut off.
    #[must_use]
    pub fn save(
        self,
        at: Moment,
        mut owner: impl FnMut(AssociationId) -> Option<Vec<u8>>,
    ) -> SavedSessions {
        Self::save_all(vec![self], at, |_, association| owner(association))
    }

    /// [`Server::save`] for all servers of a port at once; `owner` is told the place of the server in `servers`.
    #[must_use]
    pub fn save_all(
        mut servers: Vec<Self>,
        at: Moment,
        mut owner: impl FnMut(usize, AssociationId) -> Option<Vec<u8>>,
    ) -> SavedSessions {
        let mut parts = Vec::with_capacity(servers.len());
        for (place, server) in servers.iter_mut().enumerate() {
            // What the servers have in common goes with the first of them.
            let resumable = std::mem::take(&mut *server.common.resumable());
            let seconds = server.seconds(at.now);
            let sessions = server.sessions.iter();
            let owned = sessions.filter_map(|(association, session)| {
                let owner = owner(place, *association)?;
                let at_home = server.lives_at(session.peer()) == Some(*association);
                Some((session, owner, at_home))
            });
            parts.push((seconds, owned.collect::<Vec<_>>(), resumable));
        }
        let room = parts
            .iter()
            .map(|(_, owned, resumable)| room(owned, resumable))
            .fold(size_of::<u64>(), usize::saturating_add);
        let mut saved = SavedSessions::with_room(room);
        let out = saved.out();
        let room = out.capacity();
        out.extend_from_slice(&unix_time(at.wall).as_secs().to_be_bytes());
        for (seconds, owned, resumable) in &parts {
            for (session, owner, at_home) in owned {
                out.push(if *at_home {
                    SESSION_AT_HOME
                } else {
                    SESSION_AWAY
                });
                session.put(*seconds, out);
                let owner = owner.get(..MAX_OWNER).unwrap_or(owner);
                put_u24(out, u32::try_from(owner.len()).unwrap_or_default());
                out.extend_from_slice(owner);
            }
            for (id, since, resumable) in resumable.iter() {
                let age = at.now.saturating_duration_since(since).as_secs();
                out.push(RESUMABLE);
                out.extend_from_slice(id);
                out.extend_from_slice(&age.to_be_bytes());
                resumable.encode(out);
            }
        }
        debug_assert_eq!(room, out.capacity(), "no copy of keys is left behind");
        saved
    }

    /// Goes on with saved sessions, under new ids. [`SavedSessions`] say nothing of a session's owner having lost its rights in between;
    /// that is for the caller to find out. The caller must have made sure that nobody can load the same again.
    ///
    /// # Errors
    /// [`LoadError`] if nothing was loaded.
    pub fn load(&mut self, at: Moment, saved: &SavedSessions) -> Result<Loaded, LoadError> {
        let mut all = Self::load_all(&mut [self], at, saved)?;
        Ok(all.pop().unwrap_or_default())
    }

    /// [`Server::load`] for all servers of a port, however many had the sessions before; tells what each of `servers` has now. A session
    /// whose records carry an id goes where [`Route::shard_of`] sends these, the others are spread evenly.
    ///
    /// # Errors
    /// [`LoadError`] if nothing was loaded.
    pub fn load_all(
        servers: &mut [&mut Self],
        at: Moment,
        saved: &SavedSessions,
    ) -> Result<Vec<Loaded>, LoadError> {
        let jump = jump().ok_or(LoadError::NoRandomness)?;
        let (items, saved_at) =
            read_items(jump, saved.content()).map_err(|Malformed| LoadError::Torn)?;
        let downtime = unix_time(at.wall).saturating_sub(saved_at);
        // The wall clock may have been set back; then nobody knows how old they are.
        let ahead = saved_at.saturating_sub(unix_time(at.wall));
        if downtime > MAX_AGE || ahead > MAX_AGE {
            return Err(LoadError::TooOld);
        }
        let mut all = vec![Loaded::default(); servers.len()];
        let mut turns = (0..servers.len()).cycle();
        for item in items {
            match item {
                Item::Session(saved) => {
                    let made_by = Route::read(saved.session.connection_id().as_ref());
                    let place = match made_by {
                        Some(route) => Some(route.shard_of(servers.len())),
                        None => turns.next(),
                    };
                    let Some((place, server)) =
                        place.and_then(|place| Some((place, servers.get_mut(place)?)))
                    else {
                        continue;
                    };
                    if let Some(loaded) = all.get_mut(place) {
                        server.take_in(at, downtime, saved, loaded);
                    }
                }
                Item::Resumable { id, age, resumable } => {
                    let age = Duration::from_secs(age).saturating_add(downtime);
                    if let Some(server) = servers.first() {
                        server.take_in_resumable(at.now, age, id, resumable);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Gives a session its place in the tables, if there is one.
    fn take_in(&mut self, at: Moment, downtime: Duration, saved: SavedSession, to: &mut Loaded) {
        let SavedSession {
            mut session,
            idle,
            owner,
            at_home,
        } = saved;
        let (id, peer) = (session.connection_id(), session.peer());
        let config = &self.shared.config;
        let usable = config.suites.contains(&session.suite())
            && if id.is_empty() {
                at_home && self.lives_at(peer).is_none()
            } else {
                id.len() == self.id_length() && !self.connection_ids.contains_key(&id)
            };
        let association = self.new_association();
        if !usable || !self.admit_restored_session(association) {
            to.passed_over = to.passed_over.saturating_add(1);
            return;
        }
        let idle = downtime.saturating_add(Duration::from_secs(idle.into()));
        session.last_used = u32::try_from(idle.as_secs())
            .map_or(0, |idle| self.seconds(at.now).saturating_sub(idle));
        if !id.is_empty() {
            self.connection_ids.insert(id, association);
        }
        if at_home {
            let place = &mut self.peers.entry(peer).or_default().session;
            place.get_or_insert(association);
        }
        self.idle.insert(association, &mut session);
        self.sessions.insert(association, *session);
        to.sessions.push(LoadedSession {
            association,
            owner,
            address: Some(peer).filter(|_| id.is_empty()),
        });
    }

    fn take_in_resumable(&self, now: Instant, age: Duration, id: SessionId, resumable: Resumable) {
        let config = &self.shared.config.resumption;
        let since = now.checked_sub(age);
        let fresh = age < config.cache_lifetime && config.cached_sessions > 0;
        if let Some(since) = since.filter(|_| fresh) {
            let holder = self.common.holder_of(&resumable.credential);
            self.common
                .resumable()
                .insert(since, id, resumable, holder, config);
        }
    }

    fn lives_at(&self, address: SocketAddr) -> Option<AssociationId> {
        self.peers.get(&address).and_then(|peer| peer.session)
    }
}

/// At least what [`Server::save_all`] will write of one server.
fn room(owned: &[(&Session, Vec<u8>, bool)], resumable: &SessionCache) -> usize {
    let sessions = owned.iter().map(|(session, owner, _)| {
        Session::SAVED_LENGTH
            .saturating_add(session.ticket_length())
            .saturating_add(owner.len())
    });
    let resumable = resumable.iter().map(|(.., resumable)| {
        resumable
            .encoded_length()
            .saturating_add(RESUMABLE_BESIDE_CONTENT)
    });
    sessions.chain(resumable).fold(0, usize::saturating_add)
}

/// Everything, before any of it is used; and when it was saved.
fn read_items(jump: u64, content: &[u8]) -> Result<(Vec<Item>, Duration), Malformed> {
    let mut reader = Reader::new(content);
    let saved_at = Duration::from_secs(u64::from_be_bytes(reader.array()?));
    let mut items = Vec::new();
    while !reader.is_empty() {
        items.push(Item::read(jump, &mut reader)?);
    }
    Ok((items, saved_at))
}

/// One thing that was saved.
enum Item {
    Session(SavedSession),
    Resumable {
        id: SessionId,
        /// For how long it was kept, in seconds.
        age: u64,
        resumable: Resumable,
    },
}

struct SavedSession {
    session: Box<Session>,
    /// For how long it was silent when it was saved, in seconds.
    idle: u32,
    owner: Vec<u8>,
    /// Whether it had its address for itself.
    at_home: bool,
}

impl Item {
    fn read(jump: u64, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            kind @ (SESSION_AT_HOME | SESSION_AWAY) => {
                let (session, idle) = Session::read(jump, reader)?;
                Ok(Self::Session(SavedSession {
                    session: Box::new(session),
                    idle,
                    owner: reader.vector24()?.to_vec(),
                    at_home: kind == SESSION_AT_HOME,
                }))
            }
            RESUMABLE => Ok(Self::Resumable {
                id: reader.array()?,
                age: u64::from_be_bytes(reader.array()?),
                resumable: Resumable::read(reader)?,
            }),
            _ => Err(Malformed),
        }
    }
}

/// By how much sequence numbers jump this time; `None` if there is no randomness.
fn jump() -> Option<u64> {
    let [a, b, c, ..] = crypto::random()?;
    Some(MIN_JUMP.saturating_add(u32::from_be_bytes([0, a, b, c]).into()))
}

fn unix_time(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The oldest sessions that are loaded. Records that clients have sent since the save, and that
/// somebody has recorded, could be delivered to them.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The least by which sequence numbers jump.
const MIN_JUMP: u64 = 1 << 16;

/// Bytes of the longest owner.
const MAX_OWNER: usize = (1 << 24) - 1;

/// Kind, id and age.
const RESUMABLE_BESIDE_CONTENT: usize = 1 + 32 + 8;

const SESSION_AT_HOME: u8 = 1;
const SESSION_AWAY: u8 = 2;
const RESUMABLE: u8 = 3;

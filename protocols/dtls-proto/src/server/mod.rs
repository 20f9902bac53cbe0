//! All associations of one UDP socket: who gets a record, and who is let in.

mod shared;
mod common;
mod places;
mod owners;
mod displacement;
mod negotiation;
mod admission;
mod fingerprint;
mod handshake;
mod session;
mod idle;
mod rate;
mod partial_hellos;
mod forgeries;
mod paths;
mod save;

pub(crate) use partial_hellos::Bounds;
pub use save::{Loaded, LoadedSession, Moment};

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::codec::ProtocolVersion;
use crate::codec::alert::{Alert, AlertDescription};
use crate::codec::connection_id::ConnectionId;
use crate::codec::handshake::HandshakeType;
use crate::codec::record::{ContentType, MAX_PLAINTEXT, RecordHeader, split_first};
use crate::config::Config;
use crate::cookie::Cookies;
use crate::crypto::Psk;
use crate::event::{
    AssociationId, AssociationMap, CloseReason, Event, HandshakeFailure, SendError, Transmit,
    Verdict,
};
use crate::flight::CHANGE_CIPHER_SPEC;
use crate::identity::Identity;
use crate::path::Path;
use crate::protection::{OpenError, Protection};
use crate::resumption::TicketKeys;
use crate::server::common::{Common, Mailbox};
use crate::server::forgeries::Forgeries;
use crate::server::handshake::{Established, Handshake, Progress};
use crate::server::idle::IdleQueue;
use crate::server::partial_hellos::PartialHellos;
use crate::server::paths::Paths;
use crate::server::places::Ending;
use crate::server::session::{Arrival, Receipt, Session};
use crate::server::shared::{Answered, Shared};
use crate::statistics::{Statistics, count};
use crate::timer::Timer;

/// The DTLS server of one socket.
pub struct Server {
    shared: Shared,
    /// Shared with the other servers of the same port.
    common: Arc<Common>,
    /// Which of them this is.
    number: usize,
    /// What the others have displaced.
    mailbox: Arc<Mailbox>,
    cookies: Cookies,
    peers: HashMap<SocketAddr, Peer>,
    handshakes: AssociationMap<Box<Handshake>>,
    sessions: AssociationMap<Session>,
    /// Handshakes and sessions whose client's records carry an id.
    connection_ids: HashMap<ConnectionId, AssociationId>,
    idle: IdleQueue,
    forgeries: Forgeries,
    paths: Paths,
    /// ClientHellos with a good cookie of which fragments are missing.
    partial_hellos: PartialHellos,
    next_association: NonZeroU64,
    /// When the server was first told the time.
    origin: Option<Instant>,
    admission: Admission,
}

/// What there is with one address: a live association, and perhaps the handshake that is to replace it.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    session: Option<AssociationId>,
    handshake: Option<AssociationId>,
}

/// Whether new handshakes may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Open,
    Closed,
}

/// Why an association did not take a record.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Unopened(OpenError),
    /// Too many forged records came from its source address in this second.
    Filtered,
}

impl Server {
    /// The longest PSK identity that is looked up, in bytes; RFC 4279 §5.3 demands at least 128. A longer one counts as unknown.
    pub const MAX_PSK_IDENTITY: usize = MAX_PSK_IDENTITY;

    /// Smallest UDP payload that [`Server::set_path_mtu`] goes down to, whatever the network says.
    pub const MIN_PATH_MTU: usize = 256;

    /// A server without associations. The seed is the secret behind its cookies: take it from a good random source.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self::with(config, seed, Arc::default())
    }

    /// Another server for the same port: each address is one's or the other's, and connection ids tell which one made them. Together
    /// they have the places, the rate of handshakes and the sessions that may be resumed by id that this one had alone. It should have
    /// the same settings, but for the shard in [`Config::connection_ids`].
    #[must_use]
    pub fn beside(&self, config: Config, seed: [u8; 32]) -> Self {
        Self::with(config, seed, Arc::clone(&self.common))
    }

    fn with(config: Config, seed: [u8; 32], common: Arc<Common>) -> Self {
        let (number, mailbox) = common.register();
        Self {
            common,
            number,
            mailbox,
            cookies: Cookies::new(&seed, config.cookie_lifetime),
            shared: Shared::new(config),
            peers: HashMap::new(),
            handshakes: AssociationMap::default(),
            sessions: AssociationMap::default(),
            connection_ids: HashMap::new(),
            idle: IdleQueue::default(),
            forgeries: Forgeries::default(),
            paths: Paths::default(),
            partial_hellos: PartialHellos::default(),
            next_association: NonZeroU64::MIN,
            origin: None,
            admission: Admission::Open,
        }
    }

    /// Whether a flight of a handshake begins in this datagram, in the clear (RFC 6347 §4.1): its peer waits for several answers in turn.
    #[must_use]
    pub fn is_handshake(datagram: &[u8]) -> bool {
        datagram.first() == Some(&ContentType::HANDSHAKE.0)
    }

    /// Takes a datagram; it is decrypted in place. What answers it leaves from the local address of
    /// `path`; an address alone stands for a path whose local address is unknown.
    pub fn handle_datagram(&mut self, now: Instant, path: impl Into<Path>, datagram: &mut [u8]) {
        let peer = path.into();
        self.drop_displaced();
        count(&mut self.shared.statistics.datagrams);
        self.shared.answered = Answered::default();
        let id_length = self.id_length();
        let mut rest = datagram;
        while !rest.is_empty() {
            let Ok(split) = split_first(rest, id_length) else {
                count(&mut self.shared.statistics.truncated_records);
                return;
            };
            self.handle_record(now, peer, split.header, split.fragment);
            rest = split.rest;
        }
    }

    /// Does what has fallen due; to be called when [`Server::poll_timeout`] has come, earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.drop_displaced();
        if self.partial_hellos.len() > 0 {
            self.expire_partial_hellos(now);
        }
        // While places are short, a client that has not answered the second sending is given up.
        let taken = self.common.places().len();
        let is_short = taken.saturating_mul(2) >= self.shared.config.max_handshakes;
        while let Some((association, timer)) = self.shared.timers.expire(now) {
            if timer == Timer::Path {
                self.path_is_silent(now, association);
                continue;
            }
            let Some(handshake) = self.handshakes.get_mut(&association) else {
                continue;
            };
            match timer {
                Timer::Retransmit if is_short && handshake.is_twice_unanswered() => {
                    count(&mut self.shared.statistics.handshakes_cut_short);
                    handshake.tell_failure(HandshakeFailure::ClientSilent, &mut self.shared);
                    self.forget_handshake(association, CloseReason::HandshakeTimeout);
                }
                Timer::Retransmit => handshake.retransmit(now, &mut self.shared),
                Timer::Answer => {
                    let progress = handshake.do_without_answer(now, &mut self.shared);
                    self.follow(now, association, progress);
                }
                // Not of a handshake.
                Timer::Path => {}
                Timer::Forget => {
                    count(&mut self.shared.statistics.handshakes_expired);
                    handshake.tell_failure(HandshakeFailure::ClientSilent, &mut self.shared);
                    self.forget_handshake(association, CloseReason::HandshakeTimeout);
                }
            }
        }
    }

    /// Answers [`Event::PskRequested`]. `None` means that there is no such identity, which the client learns by silence only.
    ///
    /// An association that is gone, or was answered before, is passed over.
    pub fn provide_psk(&mut self, now: Instant, association: AssociationId, key: Option<Psk>) {
        if let Some(handshake) = self.handshakes.get_mut(&association) {
            let progress = handshake.provide_psk(now, key, &mut self.shared);
            self.follow(now, association, progress);
        }
    }

    /// Answers [`Event::VerdictRequested`]. A client that is refused gets the fatal alert `bad_certificate`.
    ///
    /// An association that is gone, or was answered before, is passed over.
    pub fn provide_verdict(&mut self, now: Instant, association: AssociationId, verdict: Verdict) {
        if let Some(handshake) = self.handshakes.get_mut(&association) {
            let progress = handshake.provide_verdict(now, verdict, &mut self.shared);
            self.follow(now, association, progress);
        }
    }

    /// Proves itself with another identity from now on, or with none; handshakes under way go on with the old one.
    pub fn set_identity(&mut self, identity: Option<Arc<Identity>>) {
        self.shared.config.identity = identity;
    }

    /// Passes over every ClientHello in silence from now on, because the server is about to end; whoever sent it will send it again, to
    /// the next one. Handshakes under way go on.
    pub fn close_admission(&mut self) {
        self.admission = Admission::Closed;
    }

    /// Says who an association belongs to: a principal of a tenant. To be called before the
    /// handshake is answered by a key or a verdict, and for loaded sessions; see
    /// [`Config::max_sessions_of_one`].
    pub fn set_owner(
        &mut self,
        association: AssociationId,
        tenant: &impl Hash,
        principal: &impl Hash,
    ) {
        let location = self.location(association);
        let mut owners = self.common.owners();
        let owner = owners.owner(tenant, principal);
        if let Some(handshake) = self.handshakes.get_mut(&association) {
            handshake.set_owner(owner);
        } else if let Some(session) = self.sessions.get_mut(&association)
            && session.owner.is_none()
        {
            session.owner = Some(owner);
            owners.add(owner, location);
        }
    }

    /// Sends `data` as one record.
    ///
    /// # Errors
    /// [`SendError`] if there is no such association, or it can't carry this.
    pub fn send(
        &mut self,
        now: Instant,
        association: AssociationId,
        data: &[u8],
    ) -> Result<(), SendError> {
        let seconds = self.seconds(now);
        let to = self
            .destination(association, data.len())
            .ok_or(SendError::NotEstablished)?;
        let session = self
            .sessions
            .get_mut(&association)
            .ok_or(SendError::NotEstablished)?;
        session.last_used = seconds;
        let result = session.send(to, data, &mut self.shared);
        if result == Err(SendError::SequenceExhausted) {
            self.forget_session(association, CloseReason::SequenceExhausted);
        }
        result
    }

    /// Most application data that one record to this association may carry: what the client agreed to
    /// take and the path is known to bear. `None` if the association can send nothing.
    #[must_use]
    pub fn max_payload(&self, association: AssociationId) -> Option<usize> {
        let session = self.sessions.get(&association)?;
        session.can_send().then(|| session.max_payload())
    }

    /// Lowers the size of datagrams to an address to `bytes` of UDP payload, at least
    /// [`Server::MIN_PATH_MTU`], because the network refused a larger one (`EMSGSIZE`, or an ICMP
    /// message about a datagram that was sent there). A flight that waits for an answer is sent
    /// again at once; what [`Server::max_payload`] says of a session there sinks.
    pub fn set_path_mtu(&mut self, peer: SocketAddr, bytes: usize) {
        let bytes = u16::try_from(bytes.max(Self::MIN_PATH_MTU)).unwrap_or(u16::MAX);
        let known = self.peers.get(&peer).copied().unwrap_or_default();
        if let Some(session) = known.session.and_then(|id| self.sessions.get_mut(&id)) {
            session.set_path_mtu(bytes);
        }
        if let Some(handshake) = known.handshake.and_then(|id| self.handshakes.get_mut(&id)) {
            handshake.set_path_mtu(bytes, &mut self.shared);
        }
    }

    /// Ends an association: an established one with `close_notify`, a handshake in silence.
    pub fn close(&mut self, _now: Instant, association: AssociationId) {
        if let Some(session) = self.sessions.get_mut(&association) {
            session.send_alert(Alert::CLOSE_NOTIFY, &mut self.shared);
            self.forget_session(association, CloseReason::Local);
        } else {
            self.forget_handshake(association, CloseReason::Local);
        }
    }

    /// Drops an association without a word, to its peer or to the caller.
    pub fn forget(&mut self, association: AssociationId) {
        let events = self.shared.events.len();
        self.forget_session(association, CloseReason::Local);
        self.forget_handshake(association, CloseReason::Local);
        self.shared.events.truncate(events);
    }

    /// Ends an established association as [`Server::close`] does, because its client has another one.
    pub fn supersede(&mut self, now: Instant, association: AssociationId) {
        count(&mut self.shared.statistics.sessions_superseded);
        self.close(now, association);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.shared.transmits.pop_front()
    }

    /// The next thing the caller must know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When [`Server::handle_timeout`] must be called; `None` while no handshake is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next()
    }

    /// What was counted so far.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.shared.statistics
    }

    /// How many associations are established.
    #[must_use]
    pub fn established(&self) -> usize {
        self.sessions.len()
    }

    /// The address of a handshake's peer, proved by the cookie, or the present one of a session's.
    #[must_use]
    pub fn peer(&self, association: AssociationId) -> Option<SocketAddr> {
        let handshake = self.handshakes.get(&association);
        let session = self.sessions.get(&association);
        handshake
            .map(|handshake| handshake.peer())
            .or_else(|| session.map(|session| session.peer()))
    }

    /// How many handshakes are under way; none of these is without a good cookie.
    #[must_use]
    pub fn handshaking(&self) -> usize {
        self.handshakes.len()
    }

    /// How many ClientHellos with a good cookie wait for fragments that are missing.
    #[must_use]
    pub fn partial_hellos(&self) -> usize {
        self.partial_hellos.len()
    }

    /// How many handshakes and associations have a connection id.
    #[must_use]
    pub fn connection_ids(&self) -> usize {
        self.connection_ids.len()
    }

    /// How many sessions may be resumed by their ids, with any server of this port.
    #[must_use]
    pub fn resumable(&self) -> usize {
        self.common.resumable().len()
    }

    /// Says what time it is, for the age of tickets. To be called before ClientHellos are handled;
    /// where it never is, tickets have no age.
    pub fn set_wall_clock(&mut self, wall: SystemTime) {
        let since = wall.duration_since(SystemTime::UNIX_EPOCH);
        self.shared.wall_seconds = since.ok().map(|since| since.as_secs());
    }

    /// Seals tickets with other keys from now on; what is sealed with none of them is no good any more.
    pub fn set_ticket_keys(&mut self, keys: Option<TicketKeys>) {
        self.shared.config.resumption.tickets = keys;
    }

    /// How many bytes an established association takes, beside its places in the tables.
    #[must_use]
    pub const fn association_size() -> usize {
        size_of::<Session>()
    }

    /// Lets an association go on with a later sequence number; for tests of the end of an epoch.
    #[doc(hidden)]
    pub fn skip_to_sequence(&mut self, association: AssociationId, sequence: u64) {
        if let Some(session) = self.sessions.get_mut(&association) {
            session.skip_to_sequence(sequence);
        }
    }

    fn handle_record(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &mut [u8],
    ) {
        let known_version = match header.version {
            ProtocolVersion::DTLS_1_2 => true,
            // The first flights may be dressed as DTLS 1.0 (RFC 6347 §4.2.1).
            ProtocolVersion::DTLS_1_0 => header.epoch == 0,
            _ => false,
        };
        let known_type = matches!(
            header.content_type,
            ContentType::CHANGE_CIPHER_SPEC
                | ContentType::ALERT
                | ContentType::HANDSHAKE
                | ContentType::APPLICATION_DATA
        ) || !header.connection_id.is_empty() && header.epoch == 1;
        if !known_version || !known_type {
            count(&mut self.shared.statistics.unknown_records);
            return;
        }
        match header.epoch {
            0 if fragment.len() > MAX_PLAINTEXT => {
                count(&mut self.shared.statistics.oversized_records);
            }
            0 => self.handle_plain(now, peer, header, fragment),
            1 if header.connection_id.is_empty() => self.handle_sealed(now, peer, header, fragment),
            1 => self.handle_sealed_with_id(now, peer, header, fragment),
            _ => count(&mut self.shared.statistics.wrong_epoch),
        }
    }

    fn handle_plain(&mut self, now: Instant, peer: Path, header: RecordHeader, fragment: &[u8]) {
        match header.content_type {
            ContentType::HANDSHAKE => {
                for fragment in self.shared.fragments(fragment) {
                    if fragment.header.message_type == HandshakeType::CLIENT_HELLO {
                        self.handle_first_client_hello(now, peer, header, &fragment);
                    } else {
                        self.with_handshake(now, peer, |handshake, shared| {
                            handshake.handle_fragment(now, &fragment, shared)
                        });
                    }
                }
            }
            ContentType::CHANGE_CIPHER_SPEC if fragment == CHANGE_CIPHER_SPEC => {
                self.with_handshake(now, peer, |handshake, shared| {
                    handshake.handle_change_cipher_spec(now, shared)
                });
            }
            ContentType::ALERT => self.handle_plain_alert(peer, fragment),
            ContentType::APPLICATION_DATA => {
                count(&mut self.shared.statistics.early_application_data);
            }
            _ => count(&mut self.shared.statistics.malformed_messages),
        }
    }

    /// A plaintext alert may come from anybody: it ends at most a handshake that has no keys yet, and nothing beside a live
    /// association.
    fn handle_plain_alert(&mut self, peer: Path, fragment: &[u8]) {
        let alert = Alert::decode(fragment).ok();
        let ends = alert.filter(|alert| alert.ends_association());
        let known = self.peers.get(&peer.remote).copied().unwrap_or_default();
        let heeded = known.handshake.filter(|id| {
            let heeds = self
                .handshakes
                .get(id)
                .is_some_and(|handshake| handshake.heeds_plain_alerts());
            known.session.is_none() && heeds
        });
        match ends.zip(heeded) {
            Some((alert, association)) => {
                self.end_handshake(association, alert);
            }
            None => count(&mut self.shared.statistics.ignored_alerts),
        }
    }

    /// A record of epoch 1: the live association's, or else of the handshake that is to replace it.
    fn handle_sealed(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &mut [u8],
    ) {
        let known = self.peers.get(&peer.remote).copied().unwrap_or_default();
        match (known.session, known.handshake) {
            (None, None) => count(&mut self.shared.statistics.no_association),
            (None, Some(_)) => self.with_handshake(now, peer, |handshake, shared| {
                handshake.handle_sealed(now, header, fragment, shared)
            }),
            (Some(session), None) => {
                if let Err(error) = self.deliver(now, session, peer, header, fragment) {
                    self.count_refused(error);
                }
            }
            (Some(session), Some(_)) => {
                // Opening spoils what can't be opened, so the session gets a copy.
                if self
                    .deliver(now, session, peer, header, &mut fragment.to_vec())
                    .is_err()
                {
                    self.with_handshake(now, peer, |handshake, shared| {
                        handshake.handle_sealed(now, header, fragment, shared)
                    });
                }
            }
        }
    }

    /// A record of epoch 1 that says whose it is, wherever it comes from. A handshake is bound to its address all the same, as that
    /// is what the cookie proved.
    fn handle_sealed_with_id(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &mut [u8],
    ) {
        let Some(&association) = self.connection_ids.get(&header.connection_id) else {
            return count(&mut self.shared.statistics.unknown_connection_ids);
        };
        if self.sessions.contains_key(&association) {
            if let Err(error) = self.deliver(now, association, peer, header, fragment) {
                self.count_refused(error);
            }
            return;
        }
        let at_home = self
            .handshakes
            .get(&association)
            .is_some_and(|handshake| handshake.peer() == peer.remote);
        if !at_home {
            return count(&mut self.shared.statistics.no_association);
        }
        self.with_handshake(now, peer, |handshake, shared| {
            handshake.handle_sealed(now, header, fragment, shared)
        });
    }

    /// Gives a record that came from `from` to an established association.
    fn deliver(
        &mut self,
        now: Instant,
        association: AssociationId,
        from: Path,
        header: RecordHeader,
        fragment: &mut [u8],
    ) -> Result<(), Refusal> {
        let seconds = self.seconds(now);
        let Some(session) = self.sessions.get_mut(&association) else {
            return Err(Refusal::Unopened(OpenError::NotAuthentic));
        };
        let limit = self.shared.config.max_forgeries;
        let filters = limit > 0 && from.remote != session.peer();
        if filters
            && self
                .forgeries
                .are_too_many(association, from.remote, seconds, limit)
        {
            return Err(Refusal::Filtered);
        }
        let length = header.encoded_length().saturating_add(fragment.len());
        let opened = match session.open(header, fragment) {
            Ok(opened) => opened,
            Err(error) => {
                if filters && error == OpenError::NotAuthentic {
                    self.forgeries.add(association, from.remote, seconds);
                }
                return Err(Refusal::Unopened(error));
            }
        };
        session.last_used = seconds;
        let proves = session.proves_paths();
        let is_at_home = from.remote == session.peer();
        if proves && opened.content_type == ContentType::RETURN_ROUTABILITY_CHECK {
            self.handle_path_message(association, from, opened.plaintext);
        }
        if opened.is_newest {
            self.locate(now, association, from, length);
        }
        if proves && opened.content_type == ContentType::RETURN_ROUTABILITY_CHECK {
            return Ok(());
        }
        let Some(session) = self.sessions.get_mut(&association) else {
            return Err(Refusal::Unopened(OpenError::NotAuthentic));
        };
        let arrival = Arrival {
            now,
            from: from.remote,
            is_at_home,
        };
        match session.handle_opened(association, arrival, &opened, &mut self.shared) {
            Receipt::Taken => {}
            Receipt::Closed(reason) => self.forget_session(association, reason),
        }
        Ok(())
    }

    /// The newest record of an association came from `from`.
    fn locate(&mut self, now: Instant, association: AssociationId, from: Path, length: usize) {
        let Some(session) = self.sessions.get_mut(&association) else {
            return;
        };
        let home = session.peer();
        if home == from.remote {
            session.set_path(from);
            self.trust(association);
        } else if session.proves_paths() {
            self.doubt(now, association, from, length);
        } else {
            let before = session.path();
            session.set_path(from);
            self.move_session(association, home, from.remote);
            self.believe(association, before, length);
        }
    }

    /// A session with a connection id goes on from another address (RFC 9146 §6). It takes that address only if no other session
    /// has it: that one may have no id to be found by.
    fn move_session(&mut self, association: AssociationId, home: SocketAddr, to: SocketAddr) {
        count(&mut self.shared.statistics.address_changes);
        self.detach(home, association);
        self.peers
            .entry(to)
            .or_default()
            .session
            .get_or_insert(association);
    }

    fn id_length(&self) -> usize {
        self.shared
            .config
            .connection_ids
            .map_or(0, |ids| ids.length())
    }

    fn count_refused(&mut self, refusal: Refusal) {
        let statistics = &mut self.shared.statistics;
        count(match refusal {
            Refusal::Unopened(OpenError::Replayed) => &mut statistics.replayed_records,
            Refusal::Unopened(OpenError::NotAuthentic) => &mut statistics.bad_records,
            Refusal::Unopened(OpenError::TooLong) => &mut statistics.oversized_records,
            Refusal::Filtered => &mut statistics.filtered_records,
        });
    }

    /// Lets the handshake with `peer` take something, and does what follows from it.
    fn with_handshake(
        &mut self,
        now: Instant,
        peer: Path,
        take: impl FnOnce(&mut Handshake, &mut Shared) -> Progress,
    ) {
        let Some(association) = self.peers.get(&peer.remote).and_then(|peer| peer.handshake) else {
            let statistics = &mut self.shared.statistics;
            // Late copies of the handshake's flights, if there is a session.
            return count(if self.peers.contains_key(&peer.remote) {
                &mut statistics.unexpected_messages
            } else {
                &mut statistics.no_association
            });
        };
        if let Some(handshake) = self.handshakes.get_mut(&association) {
            let progress = take(handshake, &mut self.shared);
            self.follow(now, association, progress);
        }
    }

    fn follow(&mut self, now: Instant, association: AssociationId, progress: Progress) {
        match progress {
            Progress::Ongoing => self.keep_place(now, association),
            Progress::Established(established) => self.establish(now, association, *established),
            Progress::Failed(protection, alert) => self.fail(association, protection, alert),
            Progress::Ended(alert) => self.end_handshake(association, alert),
            Progress::Refused(alert) => {
                if let Some(handshake) = self.handshakes.get(&association) {
                    handshake.send_plain_alert(alert, &mut self.shared);
                }
                self.forget_handshake(association, CloseReason::CertificateRefused);
            }
        }
    }

    /// The handshake is done: its session takes the place of an older one with the same peer.
    fn establish(&mut self, now: Instant, association: AssociationId, established: Established) {
        let Established {
            mut session,
            hello,
            early,
            resumable,
        } = established;
        let copies = self.shared.config.backoff().total();
        session.set_hello(hello, now.checked_add(copies));
        let (path, suite) = (session.path(), session.suite());
        let peer = path.remote;
        let handshake = self.drop_handshake(association, Ending::Proceeded);
        let owner = handshake.and_then(|handshake| handshake.owner());
        if let Some(older) = self.peers.get(&peer).and_then(|peer| peer.session) {
            self.replace(older, peer);
        }
        if !self.admit_session(now, association, owner) {
            return self.refuse_session(association, session);
        }
        count(&mut self.shared.statistics.handshakes_established);
        if let Some((id, resumable)) = resumable {
            let config = &self.shared.config.resumption;
            let holder = owner.unwrap_or_else(|| self.common.holder_of(&resumable.credential));
            self.common
                .resumable()
                .insert(now, id, resumable, holder, config);
        }
        if !session.connection_id().is_empty() {
            self.connection_ids
                .insert(session.connection_id(), association);
        }
        session.last_used = self.seconds(now);
        self.idle.insert(association, &mut session);
        session.owner = owner;
        self.sessions.insert(association, session);
        self.peers.entry(peer).or_default().session = Some(association);
        self.shared.events.push_back(Event::Established {
            association,
            peer,
            suite,
        });
        for mut record in early {
            if let Err(error) =
                self.deliver(now, association, path, record.header, &mut record.fragment)
            {
                self.count_refused(error);
            }
        }
    }

    /// Another session has proved to be at the address of this one. If its records carry an id it may have moved and not told us
    /// yet, so it only loses the address.
    fn replace(&mut self, older: AssociationId, address: SocketAddr) {
        let has_id = self
            .sessions
            .get(&older)
            .is_some_and(|session| !session.connection_id().is_empty());
        if has_id {
            self.detach(address, older);
        } else {
            self.forget_session(older, CloseReason::Replaced);
        }
    }

    /// The client has ended a handshake by an alert.
    fn end_handshake(&mut self, association: AssociationId, alert: Alert) {
        if let Some(handshake) = self.handshakes.get_mut(&association) {
            let failure = HandshakeFailure::ClientAlert(alert.description);
            handshake.tell_failure(failure, &mut self.shared);
        }
        count(&mut self.shared.statistics.handshakes_aborted);
        self.forget_handshake(association, CloseReason::PeerClosed);
    }

    fn fail(
        &mut self,
        association: AssociationId,
        protection: Option<Box<Protection>>,
        alert: AlertDescription,
    ) {
        count(&mut self.shared.statistics.handshakes_failed);
        if let Some(handshake) = self.handshakes.get(&association) {
            let mut payload = Vec::new();
            let content = Alert::fatal(alert).encode();
            match protection {
                None => handshake.send_plain_alert(alert, &mut self.shared),
                Some(mut protection) => {
                    let sealed = protection.seal(ContentType::ALERT, &content, &mut payload);
                    if sealed.is_ok() {
                        self.shared.transmit(handshake.path(), payload);
                    }
                }
            }
        }
        self.forget_handshake(association, CloseReason::HandshakeFailed);
    }

    fn forget_handshake(&mut self, association: AssociationId, reason: CloseReason) {
        let ending = if reason == CloseReason::HandshakeTimeout {
            Ending::Abandoned
        } else {
            Ending::Other
        };
        let announced = self
            .drop_handshake(association, ending)
            .is_some_and(|handshake| handshake.is_announced());
        if announced {
            self.shared.events.push_back(Event::Closed {
                association,
                reason,
            });
        }
    }

    fn drop_handshake(
        &mut self,
        association: AssociationId,
        ending: Ending,
    ) -> Option<Box<Handshake>> {
        let handshake = self.handshakes.remove(&association)?;
        self.common.places().end(handshake.place(), ending);
        self.connection_ids.remove(&handshake.connection_id());
        self.shared.timers.stop_all(association);
        self.detach(handshake.peer(), association);
        Some(handshake)
    }

    fn forget_session(&mut self, association: AssociationId, reason: CloseReason) {
        if let Some(session) = self.sessions.remove(&association) {
            let location = self.location(association);
            self.common.owners().remove(session.owner, location);
            self.idle.remove(association, &session);
            self.trust(association);
            self.connection_ids.remove(&session.connection_id());
            // After a fatal alert a session must not be resumed (RFC 5246 §7.2.2).
            if let (CloseReason::PeerAlert(_), Some(by)) = (reason, session.resumed_by()) {
                if let Some(id) = &by.session_id {
                    self.common.resumable().remove(id);
                }
                self.common.ended().insert(by.secret);
            }
            self.detach(session.peer(), association);
            self.shared.events.push_back(Event::Closed {
                association,
                reason,
            });
        }
    }

    /// Takes an association off its address; an address with nothing left is forgotten.
    fn detach(&mut self, address: SocketAddr, association: AssociationId) {
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.session = peer.session.filter(|id| *id != association);
            peer.handshake = peer.handshake.filter(|id| *id != association);
            if peer.session.is_none() && peer.handshake.is_none() {
                self.peers.remove(&address);
            }
        }
    }

    /// The server's own clock, in whole seconds. It does not begin at 0, so that there is a time at which saved sessions were used last.
    fn seconds(&mut self, now: Instant) -> u32 {
        let origin = *self.origin.get_or_insert(now);
        u32::try_from(now.saturating_duration_since(origin).as_secs())
            .unwrap_or(u32::MAX)
            .saturating_add(LONGEST_IDLE)
    }
}

/// Its places are free for the other servers of the port.
impl Drop for Server {
    fn drop(&mut self) {
        for handshake in self.handshakes.values() {
            self.common.places().end(handshake.place(), Ending::Other);
        }
        for (association, session) in &self.sessions {
            let location = self.location(*association);
            self.common.owners().remove(session.owner, location);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("established", &self.sessions.len())
            .field("handshaking", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}

/// From here on one idleness of a saved session is as good as another, in seconds: 30 days.
const LONGEST_IDLE: u32 = 30 * 24 * 3600;

/// See [`Server::MAX_PSK_IDENTITY`].
pub(crate) const MAX_PSK_IDENTITY: usize = 512;

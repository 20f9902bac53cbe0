//! An established association: one compact value, no timer, no buffer.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Instant;

use fair_share::Holder;

use crate::codec::alert::{Alert, AlertDescription, AlertLevel};
use crate::codec::connection_id::ConnectionId;
use crate::codec::handshake::{Fragment, HandshakeType, message};
use crate::codec::record::{ContentType, RecordHeader};
use crate::codec::{Malformed, Reader, put_vector16};
use crate::crypto::{CipherSuite, VERIFY_DATA_LENGTH};
use crate::event::{AssociationId, CloseReason, Event, SendError};
use crate::flight::{Packer, Part};
use crate::path::Path;
use crate::protection::{OpenError, Opened, Protection, SealError};
use crate::resumption::{SecretFingerprint, SessionId};
use crate::server::fingerprint::HelloFingerprint;
use crate::server::negotiation::Negotiated;
use crate::server::shared::Shared;
use crate::statistics::count;

/// What is kept of an established association.
#[derive(Debug)]
pub(crate) struct Session {
    peer: SocketAddr,
    /// The local address that the client's newest authentic record was sent to.
    local: Option<IpAddr>,
    protection: Protection,
    suite: CipherSuite,
    /// Recognises late copies of the ClientHello, until the client shows that it goes on.
    hello: Option<Box<RecentHello>>,
    /// The most plaintext that our records may have.
    max_plaintext: u16,
    /// The most plaintext that the client's records may have.
    max_received: u16,
    /// Largest UDP payload that is known to reach the client; [`u16::MAX`] if nothing is known.
    path_mtu: u16,
    /// Whether the client proves its addresses (RFC 9853).
    proves_paths: bool,
    /// What to send again as long as the client may not have it.
    last_flight: Option<Box<LastFlight>>,
    /// Who the session belongs to, if the caller has said so.
    pub(crate) owner: Option<Holder>,
    /// What the session may be resumed by.
    resumed_by: Option<Box<ResumedBy>>,
    /// When a record last came or went, in seconds of the server's life.
    pub(crate) last_used: u32,
    /// Under which time the session stands in the [`crate::server::idle::IdleQueue`].
    pub(crate) queued: u32,
}

/// The hello that began a session, as long as copies of it may still be under way.
#[derive(Debug, Clone, Copy)]
struct RecentHello {
    fingerprint: HelloFingerprint,
    /// When the client has stopped to send it again; `None`: past the end of the clock.
    until: Option<Instant>,
}

/// What a session may be resumed by, in this connection or a later one, until a fatal alert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResumedBy {
    /// Its id in our cache.
    pub(crate) session_id: Option<SessionId>,
    /// Its secret, which tickets of the session carry.
    pub(crate) secret: SecretFingerprint,
}

impl ResumedBy {
    fn put(&self, out: &mut Vec<u8>) {
        put_option(self.session_id.as_ref(), out, |id, out| {
            out.extend_from_slice(id);
        });
        out.extend_from_slice(self.secret.bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session_id: read_option(reader, Reader::array)?,
            secret: SecretFingerprint::from_bytes(reader.array()?),
        })
    }
}

/// What our last flight can be made from anew.
#[derive(Debug, Clone)]
pub(crate) struct LastFlight {
    /// The number of the client's Finished, which asks for the flight when it comes again.
    pub(crate) finished_seq: u16,
    /// When the flight was last sent again.
    pub(crate) repeated: Option<Instant>,
    /// Our next record sequence number in epoch 0.
    pub(crate) sequence: u64,
    /// The number of our Finished.
    pub(crate) message_seq: u16,
    pub(crate) verify_data: [u8; VERIFY_DATA_LENGTH],
    /// The message that carries a ticket, if the client gets one.
    pub(crate) ticket: Option<Vec<u8>>,
    /// How often it was sent by this process.
    pub(crate) transmissions: u32,
}

/// When and where a record came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) now: Instant,
    pub(crate) from: SocketAddr,
    /// Whether the session was at that address already.
    pub(crate) is_at_home: bool,
}

/// What became of an authentic record.
pub(crate) enum Receipt {
    /// It was dealt with.
    Taken,
    /// It was the end.
    Closed(CloseReason),
}

impl Session {
    pub(crate) fn new(
        path: Path,
        protection: Protection,
        negotiated: &Negotiated,
        last_flight: Option<LastFlight>,
    ) -> Self {
        Self {
            peer: path.remote,
            local: path.local,
            protection,
            suite: negotiated.suite,
            hello: None,
            max_plaintext: u16::try_from(negotiated.max_plaintext()).unwrap_or(u16::MAX),
            max_received: u16::try_from(negotiated.max_received()).unwrap_or(u16::MAX),
            path_mtu: u16::MAX,
            proves_paths: negotiated.return_routability,
            last_flight: last_flight.map(Box::new),
            owner: None,
            resumed_by: None,
            last_used: 0,
            queued: 0,
        }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client's address, and the local one it talks to.
    pub(crate) fn path(&self) -> Path {
        Path {
            remote: self.peer,
            local: self.local,
        }
    }

    pub(crate) fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// This hello began the association; copies of it may come until this time.
    pub(crate) fn set_hello(&mut self, fingerprint: HelloFingerprint, until: Option<Instant>) {
        self.hello = Some(Box::new(RecentHello { fingerprint, until }));
    }

    /// The next hello is none of the association, whatever is in it.
    pub(crate) fn forget_hello(&mut self) {
        self.hello = None;
    }

    /// Whether this may be a late copy of the hello that began the association.
    pub(crate) fn is_from(&self, hello: &HelloFingerprint, now: Instant) -> bool {
        self.hello.as_ref().is_some_and(|recent| {
            recent.fingerprint == *hello && recent.until.is_none_or(|until| now < until)
        })
    }

    pub(crate) fn set_resumed_by(&mut self, resumed_by: ResumedBy) {
        self.resumed_by = Some(Box::new(resumed_by));
    }

    /// What the session may be resumed by.
    pub(crate) fn resumed_by(&self) -> Option<&ResumedBy> {
        self.resumed_by.as_deref()
    }

    /// The id in the client's records; empty if there is none.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.protection.our_id()
    }

    /// Whether the client proves its addresses (RFC 9853).
    pub(crate) fn proves_paths(&self) -> bool {
        self.proves_paths
    }

    /// How many bytes a record to the client has beside its content.
    pub(crate) fn record_overhead(&self) -> usize {
        self.protection.record_overhead()
    }

    /// The client is somewhere else now.
    pub(crate) fn set_path(&mut self, path: Path) {
        if self.peer != path.remote {
            self.path_mtu = u16::MAX;
        }
        self.peer = path.remote;
        self.local = path.local;
    }

    /// No datagram of more than `bytes` reaches the client.
    pub(crate) fn set_path_mtu(&mut self, bytes: u16) {
        self.path_mtu = self.path_mtu.min(bytes);
    }

    /// Whether there is a sequence number left to send a record with.
    pub(crate) fn can_send(&self) -> bool {
        self.protection.can_seal()
    }

    /// Most application data for one record that fits the peer's record limit and the path.
    pub(crate) fn max_payload(&self) -> usize {
        let path = usize::from(self.path_mtu).saturating_sub(self.record_overhead());
        usize::from(self.max_plaintext).min(path)
    }

    /// Decrypts a record of epoch 1; one that isn't of this association changes nothing.
    pub(crate) fn open<'a>(
        &mut self,
        header: RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<Opened<'a>, OpenError> {
        self.protection
            .open_within(self.max_received.into(), header, fragment)
    }

    /// Takes what was in a record.
    pub(crate) fn handle_opened(
        &mut self,
        association: AssociationId,
        arrival: Arrival,
        opened: &Opened<'_>,
        shared: &mut Shared,
    ) -> Receipt {
        let plaintext = &*opened.plaintext;
        match opened.content_type {
            ContentType::APPLICATION_DATA => {
                // It has our Finished, else it would not send data.
                self.last_flight = None;
                self.hello = None;
                shared.events.push_back(Event::ApplicationData {
                    association,
                    peer: arrival.from,
                    max_payload: self.max_payload(),
                    data: plaintext.to_vec(),
                });
                Receipt::Taken
            }
            ContentType::ALERT => self.handle_alert(plaintext, shared),
            ContentType::HANDSHAKE => {
                for fragment in shared.fragments(plaintext) {
                    self.handle_handshake(arrival, &fragment, shared);
                }
                Receipt::Taken
            }
            _ => {
                count(&mut shared.statistics.unexpected_messages);
                Receipt::Taken
            }
        }
    }

    /// Seals application data and sends it to `to`.
    pub(crate) fn send(
        &mut self,
        to: Path,
        data: &[u8],
        shared: &mut Shared,
    ) -> Result<(), SendError> {
        let limit = usize::from(self.max_plaintext);
        if data.len() > limit {
            return Err(SendError::TooLarge { limit });
        }
        self.seal(to, ContentType::APPLICATION_DATA, data, shared)
            .map_err(|error| match error {
                SealError::Exhausted => SendError::SequenceExhausted,
                SealError::TooLong => SendError::TooLarge { limit },
            })
    }

    /// Sends an alert, if there is a number left to send it under.
    pub(crate) fn send_alert(&mut self, alert: Alert, shared: &mut Shared) {
        // What can't be sent is the end of an association that ends anyhow.
        self.seal(self.path(), ContentType::ALERT, &alert.encode(), shared)
            .unwrap_or(());
    }

    /// Sends the flight that ends with Finished, for the first time or again.
    pub(crate) fn send_last_flight(&mut self, shared: &mut Shared) {
        let Some(flight) = &mut self.last_flight else {
            return;
        };
        let finished = message(
            HandshakeType::FINISHED,
            flight.message_seq,
            &flight.verify_data,
        );
        let (address, sent) = (self.peer.ip(), flight.transmissions);
        let mtu = shared.config.flight_mtu(address, sent, self.path_mtu);
        flight.transmissions = sent.saturating_add(1);
        let max_fragment = usize::from(self.max_plaintext);
        let mut packer = Packer::new(mtu, max_fragment, &mut flight.sequence);
        let ticket = flight.ticket.clone().map(Part::Plain);
        let parts = [Part::ChangeCipherSpec, Part::Protected(finished)];
        for part in ticket.into_iter().chain(parts) {
            if packer.pack(&part, Some(&mut self.protection)).is_err() {
                return;
            }
        }
        let path = Path {
            remote: self.peer,
            local: self.local,
        };
        for datagram in packer.datagrams() {
            shared.transmit(path, datagram);
        }
    }

    fn handle_alert(&mut self, plaintext: &[u8], shared: &mut Shared) -> Receipt {
        let Ok(alert) = Alert::decode(plaintext) else {
            count(&mut shared.statistics.malformed_messages);
            return Receipt::Taken;
        };
        if !alert.ends_association() {
            return Receipt::Taken;
        }
        count(&mut shared.statistics.closed_by_peer);
        if alert.level == AlertLevel::FATAL {
            return Receipt::Closed(CloseReason::PeerAlert(alert.description));
        }
        self.send_alert(Alert::CLOSE_NOTIFY, shared);
        Receipt::Closed(CloseReason::PeerClosed)
    }

    fn handle_handshake(&mut self, arrival: Arrival, fragment: &Fragment<'_>, shared: &mut Shared) {
        match fragment.header.message_type {
            HandshakeType::FINISHED => self.handle_finished(arrival, fragment, shared),
            HandshakeType::CLIENT_HELLO => {
                count(&mut shared.statistics.renegotiations_refused);
                if !std::mem::replace(&mut shared.answered.renegotiation, true) {
                    self.send_alert(Alert::warning(AlertDescription::NO_RENEGOTIATION), shared);
                }
            }
            _ => count(&mut shared.statistics.unexpected_messages),
        }
    }

    /// The client sends its Finished again, so it has not got our last flight, which goes out once
    /// more (RFC 6347 §4.2.4): once for each datagram and retransmission time-out, and never to an
    /// address the client has just moved to, so that nobody can multiply it.
    fn handle_finished(&mut self, arrival: Arrival, fragment: &Fragment<'_>, shared: &mut Shared) {
        let Some(flight) = &mut self.last_flight else {
            return count(&mut shared.statistics.unexpected_messages);
        };
        let header = fragment.header;
        let is_finished = header.message_seq == flight.finished_seq
            && header.fragment_offset == 0
            && usize::try_from(header.length) == Ok(VERIFY_DATA_LENGTH)
            && !fragment.body.is_empty();
        if !is_finished {
            return count(&mut shared.statistics.unexpected_messages);
        }
        let pause = shared.config.retransmission_timeout;
        let is_due = flight
            .repeated
            .is_none_or(|last| arrival.now.saturating_duration_since(last) >= pause);
        if !is_due || !arrival.is_at_home || shared.answered.last_flight {
            return count(&mut shared.statistics.retransmissions_suppressed);
        }
        flight.repeated = Some(arrival.now);
        shared.answered.last_flight = true;
        count(&mut shared.statistics.retransmissions);
        self.send_last_flight(shared);
    }

    /// Seals a record and sends it to `to`.
    pub(crate) fn seal(
        &mut self,
        to: Path,
        content_type: ContentType,
        plaintext: &[u8],
        shared: &mut Shared,
    ) -> Result<(), SealError> {
        let mut payload = Vec::new();
        self.protection
            .seal(content_type, plaintext, &mut payload)?;
        shared.transmit(to, payload);
        Ok(())
    }

    /// Appends what is needed to go on, where the time is `seconds`; at most [`Session::SAVED_LENGTH`] bytes and the ticket.
    pub(crate) fn put(&self, seconds: u32, out: &mut Vec<u8>) {
        put_address(self.peer, out);
        out.extend_from_slice(&self.suite.code().to_be_bytes());
        out.extend_from_slice(&self.max_plaintext.to_be_bytes());
        let both_ways = self.max_received == self.max_plaintext;
        out.push(u8::from(self.proves_paths) | u8::from(both_ways) << 1);
        out.extend_from_slice(&seconds.saturating_sub(self.last_used).to_be_bytes());
        self.protection.put(out);
        put_option(self.resumed_by.as_deref(), out, ResumedBy::put);
        put_option(self.last_flight.as_deref(), out, LastFlight::put);
    }

    /// Reads what [`Session::put`] wrote, and for how many seconds it was idle then.
    pub(crate) fn read(jump: u64, reader: &mut Reader<'_>) -> Result<(Self, u32), Malformed> {
        let peer = read_address(reader)?;
        let suite = CipherSuite::from_code(reader.u16()?).ok_or(Malformed)?;
        let max_plaintext = reader.u16()?;
        let flags = reader.u8()?;
        if flags > 0b11 {
            return Err(Malformed);
        }
        let (proves_paths, both_ways) = (flags & 1 != 0, flags & 0b10 != 0);
        let max_received = if both_ways {
            max_plaintext
        } else {
            MAX_RECEIVED
        };
        let idle = u32::from_be_bytes(reader.array()?);
        let session = Self {
            peer,
            // The next record tells it.
            local: None,
            protection: Protection::read(suite.aead(), jump, reader)?,
            suite,
            hello: None,
            max_plaintext,
            max_received,
            path_mtu: u16::MAX,
            proves_paths,
            owner: None,
            resumed_by: read_option(reader, ResumedBy::read)?.map(Box::new),
            last_flight: read_option(reader, LastFlight::read)?.map(Box::new),
            last_used: 0,
            queued: 0,
        };
        Ok((session, idle))
    }

    /// The most that [`Session::put`] appends, beside a ticket.
    pub(crate) const SAVED_LENGTH: usize = 256;

    /// How long the ticket is that [`Session::put`] appends.
    pub(crate) fn ticket_length(&self) -> usize {
        let flight = self.last_flight.as_ref();
        let ticket = flight.and_then(|flight| flight.ticket.as_ref());
        ticket.map_or(0, Vec::len)
    }

    /// For tests of the end of an epoch.
    pub(crate) fn skip_to_sequence(&mut self, sequence: u64) {
        self.protection.skip_to_sequence(sequence);
    }
}

impl LastFlight {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.finished_seq.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.message_seq.to_be_bytes());
        out.extend_from_slice(&self.verify_data);
        put_vector16(out, self.ticket.as_deref().unwrap_or_default());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            finished_seq: reader.u16()?,
            repeated: None,
            sequence: u64::from_be_bytes(reader.array()?),
            message_seq: reader.u16()?,
            verify_data: reader.array()?,
            ticket: Some(reader.vector16()?.to_vec()).filter(|ticket| !ticket.is_empty()),
            transmissions: 0,
        })
    }
}

/// What DTLS allows ([`MAX_PLAINTEXT`](crate::codec::record::MAX_PLAINTEXT)).
const MAX_RECEIVED: u16 = 1 << 14;

fn put_option<T: ?Sized>(value: Option<&T>, out: &mut Vec<u8>, put: impl FnOnce(&T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn read_option<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    match reader.u8()? {
        0 => Ok(None),
        1 => read(reader).map(Some),
        _ => Err(Malformed),
    }
}

fn put_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.ip().octets());
        }
        SocketAddr::V6(address) => {
            out.push(6);
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.flowinfo().to_be_bytes());
            out.extend_from_slice(&address.scope_id().to_be_bytes());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn read_address(reader: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    match reader.u8()? {
        4 => {
            let ip: [u8; 4] = reader.array()?;
            Ok((ip, reader.u16()?).into())
        }
        6 => {
            let ip: [u8; 16] = reader.array()?;
            let flowinfo = u32::from_be_bytes(reader.array()?);
            let scope_id = u32::from_be_bytes(reader.array()?);
            let port = reader.u16()?;
            Ok(SocketAddrV6::new(ip.into(), port, flowinfo, scope_id).into())
        }
        _ => Err(Malformed),
    }
}

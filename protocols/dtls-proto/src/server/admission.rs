//! Who is let in: from a ClientHello to the start of a handshake, or to nothing (RFC 6347 §4.2.1).
//!
//! ```text
//!   ClientHello ─▶ cookie good? ─no─▶ HelloVerifyRequest; nothing is kept
//!                       │yes
//!                  negotiable?  ─no─▶ fatal alert; nothing is kept
//!                       │yes
//!                  a session of ours, to have it back? then the handshake begins with that
//!                       │
//!                  a copy?      ─yes─▶ of a session: nothing; of a handshake: its flight once more
//!                       │no
//!                  not too many from
//!                  there, and a place? ─no─▶ silence
//!                       │yes
//!                  a handshake, in place of one that was begun with the same address
//! ```

use std::time::Instant;

use crate::codec::alert::{Alert, AlertDescription};
use crate::codec::extension::HelloExtensions;
use crate::codec::handshake::{Fragment, HandshakeHeader, HandshakeType, message};
use crate::codec::hello::{ClientHello, ClientHelloStart, HelloVerifyRequest};
use crate::codec::record::{ContentType, RecordHeader, put_plain_record};
use crate::codec::{ProtocolVersion, Reader};
use crate::event::{AssociationId, CloseReason, Event, HandshakeFailure};
use crate::path::Path;
use crate::protection::IdPair;
use crate::resumption::Resumable;
use crate::server::fingerprint::HelloFingerprint;
use crate::server::handshake::{Handshake, Offer};
use crate::server::negotiation::{self, Negotiated};
use crate::server::partial_hellos::Begun;
use crate::server::places::{Ending, Granted, Limits};
use crate::server::rate::Share;
use crate::server::{Admission, Server};
use crate::statistics::count;

impl Server {
    /// Handles the first ClientHello of a datagram that gets an answer; further ones are dropped,
    /// because a stranger must not get more datagrams than it sends (RFC 6347 §4.2.1).
    pub(super) fn handle_first_client_hello(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &Fragment<'_>,
    ) {
        if self.shared.answered.hello {
            return count(&mut self.shared.statistics.surplus_hellos);
        }
        let waiting = self.shared.transmits.len();
        self.handle_client_hello(now, peer, header, fragment);
        self.shared.answered.hello = fragment.is_whole() || self.shared.transmits.len() > waiting;
    }

    /// A ClientHello: nothing is kept before it brings a good cookie.
    fn handle_client_hello(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &Fragment<'_>,
    ) {
        let statistics = &mut self.shared.statistics;
        if self.admission == Admission::Closed {
            return count(&mut statistics.hellos_after_closing);
        }
        if fragment.is_whole() {
            self.handle_whole_hello(now, peer, header, fragment);
        } else {
            count(&mut statistics.fragmented_hellos);
            self.handle_hello_fragment(now, peer, header, fragment);
        }
    }

    /// A fragment of a ClientHello. The first one shows the cookie: without a good one it is answered
    /// as a whole hello would be, and nothing is kept.
    fn handle_hello_fragment(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &Fragment<'_>,
    ) {
        let is_kept = if fragment.header.fragment_offset > 0 {
            self.partial_hellos
                .insert(now, peer.remote, fragment)
                .is_ok()
        } else {
            let Ok(start) = ClientHelloStart::decode(fragment.body) else {
                return count(&mut self.shared.statistics.hello_fragments_dropped);
            };
            if !self.cookies.accepts_start(now, peer.remote, &start) {
                let cookie = self.cookies.issue_for_start(now, peer.remote, &start);
                let message_seq = fragment.header.message_seq;
                return self.demand_cookie(peer, &start, &cookie, header, message_seq);
            }
            self.expire_partial_hellos(now);
            let bounds = self.shared.config.partial_hello_bounds();
            let admission = self
                .partial_hellos
                .begin(now, peer.remote, fragment, bounds);
            if admission == Begun::Displaced {
                count(&mut self.shared.statistics.partial_hellos_displaced);
            }
            admission != Begun::Refused
        };
        if !is_kept {
            return count(&mut self.shared.statistics.hello_fragments_dropped);
        }
        if let Some(message) = self.partial_hellos.take_whole(peer.remote) {
            count(&mut self.shared.statistics.reassembled_hellos);
            let whole = message.encode();
            if let Ok(fragment) = Fragment::decode(&mut Reader::new(&whole)) {
                self.handle_whole_hello(now, peer, header, &fragment);
            }
        }
    }

    /// Forgets incomplete hellos whose time is over.
    pub(super) fn expire_partial_hellos(&mut self, now: Instant) {
        let expired = self.partial_hellos.expire(now);
        let counter = &mut self.shared.statistics.partial_hellos_expired;
        *counter = counter.saturating_add(u64::try_from(expired).unwrap_or(u64::MAX));
    }

    /// Sends a HelloVerifyRequest; nothing is kept.
    fn demand_cookie(
        &mut self,
        peer: Path,
        start: &ClientHelloStart<'_>,
        cookie: &[u8],
        header: RecordHeader,
        message_seq: u16,
    ) {
        if !start.cookie.is_empty() {
            count(&mut self.shared.statistics.bad_cookies);
        }
        count(&mut self.shared.statistics.cookies_sent);
        if start.cookie.is_empty() {
            self.forget_hello(peer);
        }
        let answer = hello_verify_request(start.version, cookie, header.sequence, message_seq);
        self.shared.transmit(peer, answer);
    }

    /// A ClientHello that came in one piece or was put together.
    fn handle_whole_hello(
        &mut self,
        now: Instant,
        peer: Path,
        header: RecordHeader,
        fragment: &Fragment<'_>,
    ) {
        let statistics = &mut self.shared.statistics;
        let Ok(hello) = ClientHello::decode(fragment.body) else {
            return count(&mut statistics.malformed_messages);
        };
        if !self.cookies.accepts(now, peer.remote, &hello) {
            let cookie = self.cookies.issue(now, peer.remote, &hello);
            let message_seq = fragment.header.message_seq;
            return self.demand_cookie(peer, &hello.start(), &cookie, header, message_seq);
        }
        match Negotiated::choose(&hello, &self.shared.config) {
            Ok(negotiated) => {
                let resumable = self.session_wanted(now, &hello, &negotiated);
                let candidate = Candidate {
                    fingerprint: HelloFingerprint::new(&hello),
                    hello,
                    resumable,
                    fragment: *fragment,
                    record_sequence: header.sequence,
                };
                self.begin(now, peer, candidate, negotiated);
            }
            Err(alert) => {
                count(&mut self.shared.statistics.handshakes_refused);
                let failure = negotiation::explain(alert, &hello, &self.shared.config);
                self.tell_refusal(peer, failure);
                self.shared
                    .transmit(peer, plain_alert(alert, header.sequence));
            }
        }
    }

    /// A client that asks for a cookie begins a new handshake, so its next hello is no copy of the one
    /// that began its session, even if its randomness repeats after a reboot (RFC 6347 §4.2.8).
    fn forget_hello(&mut self, peer: Path) {
        let session = self.peers.get(&peer.remote).and_then(|known| known.session);
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
            session.forget_hello();
        }
    }

    /// The session the client wants back, by its ticket or else by its id, if it may have it.
    fn session_wanted(
        &mut self,
        now: Instant,
        hello: &ClientHello<'_>,
        negotiated: &Negotiated,
    ) -> Option<Resumable> {
        let config = &self.shared.config;
        let extensions = HelloExtensions::decode(hello.extensions).ok()?;
        let ticket = extensions
            .session_ticket
            .filter(|ticket| !ticket.is_empty());
        let found = match (ticket, &config.resumption.tickets) {
            (Some(ticket), Some(keys)) => keys
                .open(ticket)
                .filter(|(issued, _)| self.shared.is_ticket_fresh(*issued))
                .map(|(_, resumable)| resumable),
            _ => self
                .common
                .resumable()
                .get(now, hello.session_id, &config.resumption)
                .cloned(),
        };
        found
            .filter(|resumable| negotiated.may_resume(resumable, hello, config))
            .filter(|resumable| !self.common.ended().contains(&resumable.master_secret))
    }

    /// Begins a handshake, unless this hello is one we know or there is no room.
    fn begin(
        &mut self,
        now: Instant,
        peer: Path,
        candidate: Candidate<'_>,
        negotiated: Negotiated,
    ) {
        let known = self.peers.get(&peer.remote).copied().unwrap_or_default();
        let hello = &candidate.fingerprint;
        let of_session = known.session.and_then(|id| self.sessions.get(&id));
        if of_session.is_some_and(|session| session.is_from(hello, now)) {
            return count(&mut self.shared.statistics.duplicate_hellos);
        }
        if let Some(id) = known.handshake {
            if let Some(handshake) = self
                .handshakes
                .get_mut(&id)
                .filter(|handshake| handshake.is_from(hello))
            {
                count(&mut self.shared.statistics.duplicate_hellos);
                return handshake.repeat_flight(now, &mut self.shared);
            }
            if let Some(handshake) = self.handshakes.get_mut(&id) {
                handshake.tell_failure(HandshakeFailure::Superseded, &mut self.shared);
            }
            self.forget_handshake(id, CloseReason::Replaced);
        }
        if let Some(rate) = &self.shared.config.handshake_rate {
            let share = self.common.rates().admit(now, peer.remote.ip(), rate);
            match share {
                Share::Granted => {}
                Share::Uncounted => count(&mut self.shared.statistics.handshakes_uncounted),
                Share::OverRate => {
                    count(&mut self.shared.statistics.handshakes_over_rate);
                    return self.tell_refusal(peer, HandshakeFailure::OverRate);
                }
            }
        }
        let has_agreement = negotiated.exchange.group().is_some() && candidate.resumable.is_none();
        if let Some(rate) = &self.shared.config.key_agreement_rate
            && has_agreement
            && self
                .common
                .key_agreements()
                .admit(now, peer.remote.ip(), rate)
                == Share::OverRate
        {
            count(&mut self.shared.statistics.key_agreements_over_rate);
            return self.tell_refusal(peer, HandshakeFailure::OverRate);
        }
        let association = self.new_association();
        let location = self.location(association);
        let limits = self.place_limits();
        let granted = self
            .common
            .places()
            .begin(now, location, peer.remote.ip(), limits);
        let Granted::Yes(place, displaced) = granted else {
            count(&mut self.shared.statistics.handshakes_over_limit);
            return self.tell_refusal(peer, HandshakeFailure::OverLimit);
        };
        self.displace_handshake(displaced);
        let offer = Offer {
            fingerprint: candidate.fingerprint,
            hello: candidate.hello,
            resumable: candidate.resumable,
            fragment: candidate.fragment,
            record_sequence: candidate.record_sequence,
            place,
        };
        let ids = self.connection_ids_for(&negotiated);
        if let Some(handshake) = Handshake::start(
            now,
            association,
            peer,
            &offer,
            negotiated,
            ids,
            &mut self.shared,
        ) {
            if let Some(ids) = ids.filter(|ids| !ids.ours.is_empty()) {
                self.connection_ids.insert(ids.ours, association);
            }
            self.handshakes.insert(association, Box::new(handshake));
            self.peers.entry(peer.remote).or_default().handshake = Some(association);
        } else {
            self.common.places().end(place, Ending::Other);
        }
    }

    fn place_limits(&self) -> Limits {
        Limits {
            places: self.shared.config.max_handshakes,
            min_age: self.shared.config.retransmission_timeout,
        }
    }

    /// A handshake whose client has gone on changes its place for a better one; if there is none, it
    /// is over.
    pub(super) fn keep_place(&mut self, now: Instant, association: AssociationId) {
        let Some(handshake) = self.handshakes.get(&association) else {
            return;
        };
        let place = handshake.place();
        if place.is_answered() || !handshake.is_answered() {
            return;
        }
        let (location, limits) = (self.location(association), self.place_limits());
        let granted = self.common.places().answer(now, location, place, limits);
        match granted {
            Granted::Yes(place, displaced) => {
                if let Some(handshake) = self.handshakes.get_mut(&association) {
                    handshake.set_place(place);
                }
                self.displace_handshake(displaced);
            }
            Granted::No => self.displace_handshake(Some(location)),
        }
    }

    /// Tells the caller of a handshake that does not begin.
    fn tell_refusal(&mut self, peer: Path, failure: HandshakeFailure) {
        self.shared.events.push_back(Event::HandshakeFailed {
            association: None,
            peer: peer.remote,
            failure,
        });
    }

    /// The ids of both directions, if the client offered one and they are used here.
    fn connection_ids_for(&self, negotiated: &Negotiated) -> Option<IdPair> {
        let peers = negotiated.connection_id?;
        let ids = self.shared.config.connection_ids?;
        let ours = ids.generate(|id| self.connection_ids.contains_key(id))?;
        Some(IdPair { ours, peers })
    }

    pub(super) fn new_association(&mut self) -> AssociationId {
        let id = self.next_association;
        self.next_association = id.saturating_add(1);
        AssociationId(id)
    }
}

/// A ClientHello with a good cookie.
struct Candidate<'a> {
    hello: ClientHello<'a>,
    fingerprint: HelloFingerprint,
    resumable: Option<Resumable>,
    fragment: Fragment<'a>,
    record_sequence: u64,
}

/// The whole datagram that demands a cookie. Record and message have the numbers the ClientHello had, as nothing is kept that could
/// count them (RFC 6347 §4.2.1). The version is what both sides speak, as some clients take no other,
/// although that section recommends DTLS 1.0.
fn hello_verify_request(
    offered: ProtocolVersion,
    cookie: &[u8],
    record_sequence: u64,
    message_seq: u16,
) -> Vec<u8> {
    let version = if offered.allows_1_2() {
        ProtocolVersion::DTLS_1_2
    } else {
        ProtocolVersion::DTLS_1_0
    };
    let body = HelloVerifyRequest { version, cookie }.encode();
    let message = message(HandshakeType::HELLO_VERIFY_REQUEST, message_seq, &body);
    let header = RecordHeader {
        version,
        ..RecordHeader::new(ContentType::HANDSHAKE, 0, record_sequence)
    };
    plain_record(header, &message)
}

fn plain_alert(alert: AlertDescription, record_sequence: u64) -> Vec<u8> {
    let header = RecordHeader::new(ContentType::ALERT, 0, record_sequence);
    plain_record(header, &Alert::fatal(alert).encode())
}

fn plain_record(header: RecordHeader, fragment: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(header.encoded_length().saturating_add(fragment.len()));
    put_plain_record(header, fragment, &mut datagram);
    datagram
}

/// What a HelloVerifyRequest takes must stay below what the shortest ClientHello has.
const _: () = {
    let headers = crate::codec::record::HEADER_LENGTH + HandshakeHeader::LENGTH;
    let request = headers + 2 + 1 + crate::cookie::COOKIE_LENGTH;
    // The first fragment of one, up to the place of its cookie.
    let shortest_hello = headers + 2 + 32 + 1 + 1;
    assert!(request <= shortest_hello);
};

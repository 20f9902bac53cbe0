//! An established association: one compact value, no timer, no buffer.

use std::net::SocketAddr;

use crate::codec::alert::{Alert, AlertDescription, AlertLevel};
use crate::codec::connection_id::ConnectionId;
use crate::codec::handshake::{Fragment, HandshakeType, message};
use crate::codec::hello::Random;
use crate::codec::record::{ContentType, RecordHeader};
use crate::crypto::{CipherSuite, VERIFY_DATA_LENGTH};
use crate::event::{AssociationId, CloseReason, Event, SendError};
use crate::flight::{Packer, Part};
use crate::protection::{OpenError, Opened, Protection, SealError};
use crate::resumption::SessionId;
use crate::server::negotiation::Negotiated;
use crate::server::shared::Shared;
use crate::statistics::count;

/// What is kept of an established association.
#[derive(Debug)]
pub(crate) struct Session {
    peer: SocketAddr,
    protection: Protection,
    suite: CipherSuite,
    /// The start of the client's random, to know its ClientHello again.
    hello: [u8; 8],
    /// The most plaintext a record may have.
    max_plaintext: u16,
    /// What to send again as long as the client may not have it.
    last_flight: Option<Box<LastFlight>>,
    /// By which the session may be resumed from our cache.
    session_id: Option<Box<SessionId>>,
    /// When a record last came or went, in seconds of the server's life.
    pub(crate) last_used: u32,
    /// Under which time the session stands in the [`crate::server::idle::IdleQueue`].
    pub(crate) queued: u32,
}

/// What our last flight can be made from anew.
#[derive(Debug, Clone)]
pub(crate) struct LastFlight {
    /// Our next record sequence number in epoch 0.
    pub(crate) sequence: u64,
    /// The number of our Finished.
    pub(crate) message_seq: u16,
    pub(crate) verify_data: [u8; VERIFY_DATA_LENGTH],
    /// The message that carries a ticket, if the client gets one.
    pub(crate) ticket: Option<Vec<u8>>,
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
        peer: SocketAddr,
        protection: Protection,
        client_random: &Random,
        negotiated: &Negotiated,
        last_flight: Option<LastFlight>,
    ) -> Self {
        Self {
            peer,
            protection,
            suite: negotiated.suite,
            hello: fingerprint(client_random),
            max_plaintext: u16::try_from(negotiated.max_plaintext()).unwrap_or(u16::MAX),
            last_flight: last_flight.map(Box::new),
            session_id: None,
            last_used: 0,
            queued: 0,
        }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// Whether a hello with this random began the association.
    pub(crate) fn is_from(&self, random: &Random) -> bool {
        self.hello == fingerprint(random)
    }

    /// The session may be resumed by this id.
    pub(crate) fn set_session_id(&mut self, id: SessionId) {
        self.session_id = Some(Box::new(id));
    }

    pub(crate) fn session_id(&self) -> Option<&SessionId> {
        self.session_id.as_deref()
    }

    /// The id in the client's records; empty if there is none.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        self.protection.our_id()
    }

    /// The client is somewhere else now.
    pub(crate) fn set_peer(&mut self, peer: SocketAddr) {
        self.peer = peer;
    }

    /// Decrypts a record of epoch 1; one that isn't of this association changes nothing.
    pub(crate) fn open<'a>(
        &mut self,
        header: RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<Opened<'a>, OpenError> {
        self.protection.open(header, fragment)
    }

    /// Takes what was in a record that came from `from`.
    pub(crate) fn handle_opened(
        &mut self,
        association: AssociationId,
        from: SocketAddr,
        opened: &Opened<'_>,
        shared: &mut Shared,
    ) -> Receipt {
        let plaintext = &*opened.plaintext;
        match opened.content_type {
            ContentType::APPLICATION_DATA => {
                // It has our Finished, else it would not send data.
                self.last_flight = None;
                shared.events.push_back(Event::ApplicationData {
                    association,
                    peer: from,
                    data: plaintext.to_vec(),
                });
                Receipt::Taken
            }
            ContentType::ALERT => self.handle_alert(plaintext, shared),
            ContentType::HANDSHAKE => {
                for fragment in shared.fragments(plaintext) {
                    self.handle_handshake(&fragment, shared);
                }
                Receipt::Taken
            }
            _ => {
                count(&mut shared.statistics.unexpected_messages);
                Receipt::Taken
            }
        }
    }

    /// Seals and sends application data.
    pub(crate) fn send(&mut self, data: &[u8], shared: &mut Shared) -> Result<(), SendError> {
        let limit = usize::from(self.max_plaintext);
        if data.len() > limit {
            return Err(SendError::TooLarge { limit });
        }
        self.seal(ContentType::APPLICATION_DATA, data, shared)
            .map_err(|error| match error {
                SealError::Exhausted => SendError::SequenceExhausted,
                SealError::TooLong => SendError::TooLarge { limit },
            })
    }

    /// Sends an alert, if there is a number left to send it under.
    pub(crate) fn send_alert(&mut self, alert: Alert, shared: &mut Shared) {
        // What can't be sent is the end of an association that ends anyhow.
        self.seal(ContentType::ALERT, &alert.encode(), shared)
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
        let mut packer = Packer::new(
            shared.config.mtu,
            usize::from(self.max_plaintext),
            &mut flight.sequence,
        );
        let ticket = flight.ticket.clone().map(Part::Plain);
        let parts = [Part::ChangeCipherSpec, Part::Protected(finished)];
        for part in ticket.into_iter().chain(parts) {
            if packer.pack(&part, Some(&mut self.protection)).is_err() {
                return;
            }
        }
        for datagram in packer.datagrams() {
            shared.transmit(self.peer, datagram);
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

    fn handle_handshake(&mut self, fragment: &Fragment<'_>, shared: &mut Shared) {
        match fragment.header.message_type {
            // The client sends its last flight again, so it has not got ours.
            HandshakeType::FINISHED if self.last_flight.is_some() => {
                count(&mut shared.statistics.retransmissions);
                self.send_last_flight(shared);
            }
            HandshakeType::CLIENT_HELLO => {
                count(&mut shared.statistics.renegotiations_refused);
                self.send_alert(Alert::warning(AlertDescription::NO_RENEGOTIATION), shared);
            }
            _ => count(&mut shared.statistics.unexpected_messages),
        }
    }

    fn seal(
        &mut self,
        content_type: ContentType,
        plaintext: &[u8],
        shared: &mut Shared,
    ) -> Result<(), SealError> {
        let mut payload = Vec::new();
        self.protection
            .seal(content_type, plaintext, &mut payload)?;
        shared.transmit(self.peer, payload);
        Ok(())
    }

    /// For tests of the end of an epoch.
    pub(crate) fn skip_to_sequence(&mut self, sequence: u64) {
        self.protection.skip_to_sequence(sequence);
    }
}

fn fingerprint(random: &Random) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *random;
    [a, b, c, d, e, f, g, h]
}

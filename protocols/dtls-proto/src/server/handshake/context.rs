//! What every state of a handshake needs: the peer, what was agreed on, the transcript, and what has come and not been taken yet.

use std::time::{Duration, Instant};

use crate::codec::handshake::{HandshakeType, message};
use crate::codec::hello::Random;
use crate::crypto::{MasterSecret, PremasterSecret, Side, Transcript, TranscriptHash};
use crate::event::{AssociationId, Event, HandshakeFailure};
use crate::flight::{Packer, Part};
use crate::inbox::Inbox;
use crate::path::Path;
use crate::protection::{IdPair, Protection};
use crate::resumption::Credential;
use crate::server::fingerprint::HelloFingerprint;
use crate::server::handshake::finished::{AwaitChangeCipherSpec, Order};
use crate::server::negotiation::Negotiated;
use crate::server::shared::Shared;
use crate::timer::Timer;

pub(crate) struct Context {
    pub(crate) association: AssociationId,
    pub(crate) path: Path,
    pub(crate) client_random: Random,
    /// Recognises copies of the ClientHello.
    pub(crate) hello: HelloFingerprint,
    pub(crate) server_random: Random,
    pub(crate) negotiated: Negotiated,
    pub(crate) connection_ids: Option<IdPair>,
    /// By which the session may be resumed from our cache; empty if it may not.
    pub(crate) session_id: Vec<u8>,
    /// How the client proved itself, where its session may be resumed.
    pub(crate) credential: Option<Credential>,
    pub(crate) transcript: Transcript,
    pub(crate) inbox: Inbox,
    /// Our next record sequence number in epoch 0.
    pub(crate) sequence: u64,
    /// Our next message number.
    pub(crate) message_seq: u16,
    /// Whether the caller was told of the association.
    pub(crate) announced: bool,
    /// Whether the caller was told that it has come to nothing.
    pub(crate) failed: bool,
    /// Whether the client has answered our flight.
    pub(crate) answered: bool,
    /// Our flight, until the client has answered it.
    pub(crate) outgoing: Option<Outgoing>,
    /// Largest UDP payload that is known to reach the client; [`u16::MAX`] if nothing is known.
    pub(crate) path_mtu: u16,
}

/// A flight that may have to be sent again.
pub(crate) struct Outgoing {
    pub(crate) parts: Vec<Part>,
    /// How often it was sent again.
    pub(crate) attempt: u32,
    /// How often it was sent, for whatever cause.
    pub(crate) transmissions: u32,
}

impl Outgoing {
    /// A flight that was not sent yet.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self {
            parts,
            attempt: 0,
            transmissions: 0,
        }
    }
}

impl Context {
    /// Makes our next message and takes it into the transcript.
    pub(crate) fn next_message(&mut self, message_type: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(message_type, self.message_seq, body);
        self.message_seq = self.message_seq.saturating_add(1);
        self.transcript.add(&message);
        message
    }

    /// Sends the flight that waits for an answer, if there is one.
    pub(crate) fn send_flight(
        &mut self,
        mut protection: Option<&mut Protection>,
        shared: &mut Shared,
    ) {
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        let max_fragment = self.negotiated.max_plaintext();
        let (address, sent) = (self.path.remote.ip(), outgoing.transmissions);
        let mtu = shared.config.flight_mtu(address, sent, self.path_mtu);
        outgoing.transmissions = sent.saturating_add(1);
        let mut packer = Packer::new(mtu, max_fragment, &mut self.sequence);
        for part in &outgoing.parts {
            // A client that began at the end of the numbers gets no further, and is forgotten in time.
            if packer.pack(part, protection.as_deref_mut()).is_err() {
                return;
            }
        }
        for datagram in packer.datagrams() {
            shared.transmit(self.path, datagram);
        }
    }

    /// The client has answered: our flight is not sent again, and all is forgotten if the handshake isn't done in time.
    pub(super) fn client_has_answered(&mut self, now: Instant, shared: &mut Shared) {
        self.outgoing = None;
        self.answered = true;
        let timers = &mut shared.timers;
        timers.stop(self.association, Timer::Retransmit);
        let lifetime = shared.config.backoff().total();
        timers.set(self.association, Timer::Forget, now, lifetime);
    }

    /// Tells the caller that the handshake has come to nothing; the first reason counts.
    pub(crate) fn tell_failure(&mut self, failure: HandshakeFailure, shared: &mut Shared) {
        if !std::mem::replace(&mut self.failed, true) {
            shared.events.push_back(Event::HandshakeFailed {
                association: Some(self.association),
                peer: self.path.remote,
                failure,
            });
        }
    }

    /// The caller is asked, and has this long to answer.
    pub(super) fn await_answer(&mut self, now: Instant, deadline: Duration, shared: &mut Shared) {
        self.announced = true;
        shared
            .timers
            .set(self.association, Timer::Answer, now, deadline);
    }

    /// Whether the session that comes of this may be resumed, so that the credential is to be kept. Without the extended master
    /// secret a session can be confused with another (RFC 7627 §1).
    pub(super) fn may_be_resumed(&self, shared: &Shared) -> bool {
        self.negotiated.extended_master_secret && shared.config.resumption.is_enabled()
    }

    /// Master secret and record keys.
    pub(super) fn secrets(
        &self,
        premaster: &PremasterSecret,
        session_hash: &TranscriptHash,
    ) -> AwaitChangeCipherSpec {
        let suite = self.negotiated.suite;
        let (client, server) = (&self.client_random, &self.server_random);
        let master_secret = if self.negotiated.extended_master_secret {
            MasterSecret::extended(suite.hash(), premaster, session_hash)
        } else {
            MasterSecret::plain(suite.hash(), premaster, client, server)
        };
        self.protect(master_secret, Order::ClientFirst)
    }

    /// Record keys from the master secret.
    pub(super) fn protect(
        &self,
        master_secret: MasterSecret,
        order: Order,
    ) -> AwaitChangeCipherSpec {
        let aead = self.negotiated.suite.aead();
        let keys = master_secret.keys(aead, &self.client_random, &self.server_random);
        AwaitChangeCipherSpec {
            master_secret,
            protection: Protection::new(Side::Server, keys)
                .with_connection_ids(self.connection_ids),
            order,
        }
    }
}

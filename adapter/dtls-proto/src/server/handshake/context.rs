//! What every state of a handshake needs: the peer, what was agreed on, the transcript, and what has come and not been taken yet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::codec::handshake::{HandshakeType, message};
use crate::codec::hello::Random;
use crate::crypto::{MasterSecret, PremasterSecret, Side, Transcript, TranscriptHash};
use crate::event::AssociationId;
use crate::flight::{Packer, Part};
use crate::inbox::Inbox;
use crate::protection::{IdPair, Protection};
use crate::server::handshake::finished::AwaitChangeCipherSpec;
use crate::server::negotiation::Negotiated;
use crate::server::shared::Shared;
use crate::timer::Timer;

pub(crate) struct Context {
    pub(crate) association: AssociationId,
    pub(crate) peer: SocketAddr,
    pub(crate) client_random: Random,
    pub(crate) server_random: Random,
    pub(crate) negotiated: Negotiated,
    pub(crate) connection_ids: Option<IdPair>,
    pub(crate) transcript: Transcript,
    pub(crate) inbox: Inbox,
    /// Our next record sequence number in epoch 0.
    pub(crate) sequence: u64,
    /// Our next message number.
    pub(crate) message_seq: u16,
    /// Whether the caller was told of the association.
    pub(crate) announced: bool,
    /// Our flight, until the client has answered it.
    pub(crate) outgoing: Option<Outgoing>,
}

/// A flight that may have to be sent again.
pub(crate) struct Outgoing {
    pub(crate) parts: Vec<Part>,
    /// How often it was sent again.
    pub(crate) attempt: u32,
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
    pub(crate) fn send_flight(&mut self, shared: &mut Shared) {
        let Some(outgoing) = &self.outgoing else {
            return;
        };
        let max_fragment = self.negotiated.max_plaintext();
        let mut packer = Packer::new(shared.config.mtu, max_fragment, &mut self.sequence);
        for part in &outgoing.parts {
            // A client that began at the end of the numbers gets no further, and is forgotten in time.
            if packer.pack(part, None).is_err() {
                return;
            }
        }
        for datagram in packer.datagrams() {
            shared.transmit(self.peer, datagram);
        }
    }

    /// The client has answered: our flight is not sent again, and all is forgotten if the handshake isn't done in time.
    pub(super) fn client_has_answered(&mut self, now: Instant, shared: &mut Shared) {
        self.outgoing = None;
        let timers = &mut shared.timers;
        timers.stop(self.association, Timer::Retransmit);
        let lifetime = shared.config.backoff().total();
        timers.set(self.association, Timer::Forget, now, lifetime);
    }

    /// The caller is asked, and has this long to answer.
    pub(super) fn await_answer(&mut self, now: Instant, deadline: Duration, shared: &mut Shared) {
        self.announced = true;
        shared
            .timers
            .set(self.association, Timer::Answer, now, deadline);
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
        let keys = master_secret.keys(suite.aead(), client, server);
        AwaitChangeCipherSpec {
            master_secret,
            protection: Protection::new(Side::Server, keys)
                .with_connection_ids(self.connection_ids),
        }
    }
}

//! What every state of a handshake needs: the peer, what was agreed on, the transcript, and what has come and not been taken yet.

use std::net::SocketAddr;

use crate::codec::handshake::{HandshakeType, message};
use crate::codec::hello::Random;
use crate::crypto::Transcript;
use crate::event::AssociationId;
use crate::flight::{Packer, Part};
use crate::inbox::Inbox;
use crate::protection::{IdPair, Protection};
use crate::server::negotiation::Negotiated;
use crate::server::shared::Shared;

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
}

impl Context {
    /// Makes our next message and takes it into the transcript.
    pub(crate) fn next_message(&mut self, message_type: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(message_type, self.message_seq, body);
        self.message_seq = self.message_seq.saturating_add(1);
        self.transcript.add(&message);
        message
    }

    pub(crate) fn send(
        &mut self,
        parts: &[Part],
        mut protection: Option<&mut Protection>,
        shared: &mut Shared,
    ) {
        let max_fragment = self.negotiated.max_plaintext();
        let mut packer = Packer::new(shared.config.mtu, max_fragment, &mut self.sequence);
        for part in parts {
            // A client that began at the end of the numbers gets no further, and is forgotten in time.
            if packer.pack(part, protection.as_deref_mut()).is_err() {
                return;
            }
        }
        for datagram in packer.datagrams() {
            shared.transmit(self.peer, datagram);
        }
    }
}

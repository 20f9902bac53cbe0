//! The states of the key exchanges with a pre-shared key (RFC 4279 §2, RFC 5489 §2).

use std::time::Instant;

use crate::codec::handshake::HandshakeType;
use crate::codec::key_exchange::PskClientKeyExchange;
use crate::crypto::{EphemeralKey, PremasterSecret, Psk, SharedSecret, TranscriptHash};
use crate::event::{Event, HandshakeFailure};
use crate::resumption::Credential;
use crate::server::MAX_PSK_IDENTITY;
use crate::server::handshake::context::Context;
use crate::server::handshake::finished::AwaitChangeCipherSpec;
use crate::server::handshake::{State, Step};
use crate::server::shared::Shared;
use crate::statistics::count;

/// Our flight is out; the client must name its identity.
pub(super) struct AwaitClientKeyExchange {
    /// Our half of the agreement, if the suite has one.
    pub(super) ephemeral: Option<EphemeralKey>,
}

/// The caller looks for the key.
pub(super) struct AwaitPsk {
    /// The transcript's hash through ClientKeyExchange (RFC 7627 §3).
    session_hash: TranscriptHash,
    /// What was agreed on, if the suite has an agreement.
    shared_secret: Option<SharedSecret>,
    identity: Vec<u8>,
}

impl AwaitClientKeyExchange {
    pub(super) fn step(self, now: Instant, context: &mut Context, shared: &mut Shared) -> Step {
        let Some(received) = context.inbox.messages.peek() else {
            return Step::Wait(State::AwaitClientKeyExchange(self));
        };
        let exchange = match received.message_type {
            HandshakeType::CLIENT_KEY_EXCHANGE => PskClientKeyExchange::decode(&received.body).ok(),
            _ => None,
        };
        let Some(exchange) =
            exchange.filter(|exchange| exchange.public.is_some() == self.ephemeral.is_some())
        else {
            // Anybody can send plaintext in the client's name, so the right message may still come.
            count(&mut shared.statistics.unexpected_messages);
            context.inbox.messages.discard();
            return Step::Wait(State::AwaitClientKeyExchange(self));
        };
        context.inbox.messages.advance();
        context.transcript.add(&received.encode());
        context.client_has_answered(now, shared);
        if exchange.identity.len() > MAX_PSK_IDENTITY {
            count(&mut shared.statistics.identities_too_long);
            context.tell_failure(HandshakeFailure::IdentityTooLong, shared);
            return Step::Next(State::Silent);
        }
        let shared_secret = match (self.ephemeral, exchange.public) {
            (Some(key), Some(point)) => {
                let Some(secret) = key.agree(point) else {
                    count(&mut shared.statistics.bad_points);
                    context.tell_failure(HandshakeFailure::BadPoint, shared);
                    return Step::Next(State::Silent);
                };
                Some(secret)
            }
            _ => None,
        };
        let deadline = shared.config.psk_deadline;
        context.await_answer(now, deadline, shared);
        shared.events.push_back(Event::PskRequested {
            association: context.association,
            identity: exchange.identity.to_vec(),
            server_name: context.negotiated.server_name.clone(),
        });
        Step::Next(State::AwaitPsk(AwaitPsk {
            session_hash: context.transcript.hash(),
            shared_secret,
            identity: exchange.identity.to_vec(),
        }))
    }
}

impl AwaitPsk {
    pub(super) fn answer(
        self,
        key: &Psk,
        context: &mut Context,
        shared: &Shared,
    ) -> AwaitChangeCipherSpec {
        if context.may_be_resumed(shared) {
            context.credential = Some(Credential::psk(self.identity, key));
        }
        let premaster = match &self.shared_secret {
            Some(shared) => PremasterSecret::ecdhe_psk(shared, key),
            None => PremasterSecret::psk(key),
        };
        context.secrets(&premaster, &self.session_hash)
    }
}

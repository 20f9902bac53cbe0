//! The states in which both sides come to a common secret.

use std::time::Instant;

use crate::codec::handshake::HandshakeType;
use crate::codec::key_exchange::{PskClientKeyExchange, PskServerKeyExchange, ServerEcdhParams};
use crate::crypto::{
    EphemeralKey, MasterSecret, PremasterSecret, Psk, SharedSecret, Side, TranscriptHash,
};
use crate::event::Event;
use crate::flight::Part;
use crate::protection::Protection;
use crate::server::MAX_PSK_IDENTITY;
use crate::server::handshake::context::Context;
use crate::server::handshake::finished::AwaitChangeCipherSpec;
use crate::server::handshake::{State, Step};
use crate::server::shared::Shared;
use crate::statistics::count;
use crate::timer::Timer;

/// Our flight is out; the client must name its identity.
pub(super) struct AwaitClientKeyExchange {
    flight: Vec<Part>,
    /// How often the flight was sent again.
    pub(super) attempt: u32,
    /// Our half of the agreement, if the suite has one.
    ephemeral: Option<EphemeralKey>,
}

/// The caller looks for the key.
pub(super) struct AwaitPsk {
    /// The transcript's hash through ClientKeyExchange (RFC 7627 §3).
    session_hash: TranscriptHash,
    /// What was agreed on, if the suite has an agreement.
    shared_secret: Option<SharedSecret>,
}

impl AwaitClientKeyExchange {
    /// Makes the flight; `None` if there is no randomness to be had.
    pub(super) fn enter(context: &mut Context) -> Option<Self> {
        let ephemeral = match context.negotiated.exchange.group() {
            Some(group) => Some(EphemeralKey::generate(group)?),
            None => None,
        };
        let key_exchange = PskServerKeyExchange {
            // Always sent, with an empty hint, as the reference does; RFC 4279 §2 would let it be left out.
            hint: &[],
            ecdh: ephemeral.as_ref().map(|key| ServerEcdhParams {
                group: key.group().code(),
                public: key.public(),
            }),
        }
        .encode();
        let our_id = context.connection_ids.as_ref().map(|ids| ids.ours.as_ref());
        let hello = context
            .negotiated
            .server_hello(context.server_random, our_id);
        let messages = [
            (HandshakeType::SERVER_HELLO, hello),
            (HandshakeType::SERVER_KEY_EXCHANGE, key_exchange),
            (HandshakeType::SERVER_HELLO_DONE, Vec::new()),
        ];
        let flight = messages
            .into_iter()
            .map(|(message_type, body)| Part::Plain(context.next_message(message_type, &body)))
            .collect();
        Some(Self {
            flight,
            attempt: 0,
            ephemeral,
        })
    }

    pub(super) fn send(&self, context: &mut Context, shared: &mut Shared) {
        context.send(&self.flight, None, shared);
    }

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
        context.stop_retransmission(now, shared);
        if exchange.identity.len() > MAX_PSK_IDENTITY {
            count(&mut shared.statistics.identities_too_long);
            return Step::Next(State::Silent);
        }
        let shared_secret = match (self.ephemeral, exchange.public) {
            (Some(key), Some(point)) => {
                let Some(secret) = key.agree(point) else {
                    count(&mut shared.statistics.bad_points);
                    return Step::Next(State::Silent);
                };
                Some(secret)
            }
            _ => None,
        };
        let deadline = shared.config.psk_deadline;
        shared
            .timers
            .set(context.association, Timer::PskDeadline, now, deadline);
        context.announced = true;
        shared.events.push_back(Event::PskRequested {
            association: context.association,
            identity: exchange.identity.to_vec(),
            server_name: context.negotiated.server_name.clone(),
        });
        Step::Next(State::AwaitPsk(AwaitPsk {
            session_hash: context.transcript.hash(),
            shared_secret,
        }))
    }
}

impl AwaitPsk {
    pub(super) fn answer(self, key: &Psk, context: &Context) -> AwaitChangeCipherSpec {
        let premaster = match &self.shared_secret {
            Some(shared) => PremasterSecret::ecdhe_psk(shared, key),
            None => PremasterSecret::psk(key),
        };
        context.secrets(&premaster, &self.session_hash)
    }
}

impl Context {
    /// The client has answered: our flight is not sent again, and all is forgotten if the handshake isn't done in time.
    fn stop_retransmission(&self, now: Instant, shared: &mut Shared) {
        let timers = &mut shared.timers;
        timers.stop(self.association, Timer::Retransmit);
        let lifetime = shared.config.backoff().total();
        timers.set(self.association, Timer::Forget, now, lifetime);
    }

    /// Master secret and record keys.
    fn secrets(
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

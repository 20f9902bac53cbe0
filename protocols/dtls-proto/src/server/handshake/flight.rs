//! The flight that answers the ClientHello, and what it makes the handshake wait for.

use crate::codec::certificate::{
    CertificateRequest, DigitallySigned, ECDSA_SIGN, SignatureScheme, SignedServerKeyExchange,
    encode_chain, encode_raw_key, signed_parameters,
};
use crate::codec::handshake::HandshakeType;
use crate::codec::key_exchange::{PskServerKeyExchange, ServerEcdhParams};
use crate::crypto::{EphemeralKey, random};
use crate::flight::Part;
use crate::identity::Identity;
use crate::server::handshake::State;
use crate::server::handshake::certificate::AwaitCertificate;
use crate::server::handshake::context::{Context, Outgoing};
use crate::server::handshake::psk::AwaitClientKeyExchange;
use crate::server::negotiation::Exchange;
use crate::server::shared::Shared;

impl Context {
    /// Makes the flight; `None` if there is no randomness to be had.
    pub(super) fn answer_hello(&mut self, shared: &Shared) -> Option<State> {
        let our_id = self.connection_ids.as_ref().map(|ids| ids.ours.as_ref());
        let cached = shared.config.resumption.cached_sessions > 0;
        self.session_id = if cached && self.may_be_resumed(shared) && !self.negotiated.ticket {
            random()?.to_vec()
        } else {
            Vec::new()
        };
        let hello = self
            .negotiated
            .server_hello(self.server_random, &self.session_id, our_id);
        let ephemeral = match self.negotiated.exchange.group() {
            Some(group) => Some(EphemeralKey::generate(group)?),
            None => None,
        };
        let ecdh = ephemeral.as_ref().map(|key| ServerEcdhParams {
            group: key.group().code(),
            public: key.public(),
        });
        let mut messages = vec![(HandshakeType::SERVER_HELLO, hello)];
        match self.negotiated.exchange {
            // Without a hint there is nothing to say (RFC 4279 §2).
            Exchange::Psk => {}
            Exchange::EcdhePsk(_) => {
                let exchange = PskServerKeyExchange { hint: &[], ecdh };
                messages.push((HandshakeType::SERVER_KEY_EXCHANGE, exchange.encode()));
            }
            Exchange::EcdheEcdsa(_) => {
                let identity = shared.config.identity.as_deref()?;
                messages.extend(self.certified(identity, ecdh?)?);
            }
        }
        messages.push((HandshakeType::SERVER_HELLO_DONE, Vec::new()));
        let parts = messages
            .into_iter()
            .map(|(message_type, body)| Part::Plain(self.next_message(message_type, &body)))
            .collect();
        self.outgoing = Some(Outgoing::new(parts));
        match (self.negotiated.exchange, ephemeral) {
            (Exchange::EcdheEcdsa(_), Some(ephemeral)) => {
                Some(State::AwaitCertificate(AwaitCertificate { ephemeral }))
            }
            (_, ephemeral) => Some(State::AwaitClientKeyExchange(AwaitClientKeyExchange {
                ephemeral,
            })),
        }
    }

    /// Our certificates, our half of the agreement signed with their key, and the wish for the client's.
    fn certified(
        &self,
        identity: &Identity,
        ecdh: ServerEcdhParams<'_>,
    ) -> Option<[(HandshakeType, Vec<u8>); 3]> {
        let parameters = signed_parameters(&self.client_random, &self.server_random, &ecdh);
        let scheme = self.negotiated.signature?;
        let signature = identity.key().sign(scheme, &parameters)?;
        let exchange = SignedServerKeyExchange {
            ecdh,
            signed: DigitallySigned {
                scheme,
                signature: &signature,
            },
        };
        let schemes = SignatureScheme::ALL.map(|scheme| scheme.0.to_be_bytes());
        let request = CertificateRequest {
            types: &[ECDSA_SIGN],
            schemes: &schemes,
            // Whom to trust depends on the tenant, which is not known yet.
            authorities: &[],
        };
        let shown = if self.negotiated.shows_raw_key() {
            encode_raw_key(identity.public_key())
        } else {
            encode_chain(identity.chain())
        };
        Some([
            (HandshakeType::CERTIFICATE, shown),
            (HandshakeType::SERVER_KEY_EXCHANGE, exchange.encode()),
            (HandshakeType::CERTIFICATE_REQUEST, request.encode()),
        ])
    }
}

//! The flight that ends with Finished.

use dtls_proto::codec::certificate::{
    DigitallySigned, SignatureScheme, encode_chain, encode_raw_key,
};
use dtls_proto::codec::handshake::HandshakeType;
use dtls_proto::codec::key_exchange::{PskClientKeyExchange, encode_client_point};
use dtls_proto::crypto::{
    EphemeralKey, MasterSecret, PremasterSecret, SharedSecret, Side, Transcript,
};
use dtls_proto::flight::Part;
use dtls_proto::protection::Protection;
use dtls_proto::{AlertDescription, Identity};

use crate::config::{MasterSecretKind, Mischief};
use crate::handshake::{Chosen, Context, Order, Secrets, Sent, ServerPoint, State, Step, Ticket};

/// Our half of an agreement, as the server must see it, and the secret.
pub(super) struct Agreed {
    public: Vec<u8>,
    secret: SharedSecret,
}

impl Context {
    /// Answers a server with which we have a pre-shared key.
    pub(super) fn answer_with_key(&mut self, mut chosen: Chosen, agreed: Option<&Agreed>) -> Step {
        let exchange = PskClientKeyExchange {
            identity: &self.config.identity,
            public: agreed.map(|agreed| agreed.public.as_slice()),
        }
        .encode();
        let premaster = match agreed {
            Some(agreed) => PremasterSecret::ecdhe_psk(&agreed.secret, &self.config.key),
            None => PremasterSecret::psk(&self.config.key),
        };
        let exchange = self.say(
            &mut chosen.transcript,
            HandshakeType::CLIENT_KEY_EXCHANGE,
            &exchange,
        );
        let master_secret = self.master_secret(&chosen, &premaster);
        self.finish(chosen, master_secret, vec![exchange])
    }

    /// Answers a server that has shown a certificate and wants to see ours.
    pub(super) fn answer_with_certificate(&mut self, mut chosen: Chosen, agreed: Agreed) -> Step {
        let (identity, mischief) = (self.config.certificate.clone(), self.config.mischief);
        let chain = match (&identity, mischief) {
            (_, Mischief::EmptyChain) | (None, _) => &[],
            (Some(identity), _) => identity.chain(),
        };
        let mut flight = Vec::new();
        let transcript = &mut chosen.transcript;
        let shown = match (&identity, chain) {
            (Some(identity), [_, ..]) if chosen.shows_raw_key => {
                encode_raw_key(identity.public_key())
            }
            _ => encode_chain(chain),
        };
        flight.push(self.say(transcript, HandshakeType::CERTIFICATE, &shown));
        let exchange = encode_client_point(&agreed.public);
        flight.push(self.say(transcript, HandshakeType::CLIENT_KEY_EXCHANGE, &exchange));
        let master_secret = self.master_secret(&chosen, &PremasterSecret::ecdhe(agreed.secret));
        if let Some(identity) = identity.filter(|_| mischief != Mischief::NoCertificateVerify) {
            let Some(verify) = certificate_verify(
                &identity,
                &chosen.transcript,
                self.config.signs_by,
                mischief,
            ) else {
                return Step::Failed(AlertDescription::INTERNAL_ERROR);
            };
            let transcript = &mut chosen.transcript;
            flight.push(self.say(transcript, HandshakeType::CERTIFICATE_VERIFY, &verify));
        }
        self.finish(chosen, master_secret, flight)
    }

    fn master_secret(&self, chosen: &Chosen, premaster: &PremasterSecret) -> MasterSecret {
        let (client, server, hash) = (&self.random, &chosen.server_random, chosen.suite.hash());
        match chosen.master_secret {
            MasterSecretKind::Extended => {
                MasterSecret::extended(hash, premaster, &chosen.transcript.hash())
            }
            MasterSecretKind::Plain => MasterSecret::plain(hash, premaster, client, server),
        }
    }

    /// Makes the messages the current flight, with ChangeCipherSpec and Finished behind them.
    fn finish(
        &mut self,
        mut chosen: Chosen,
        master_secret: MasterSecret,
        messages: Vec<Vec<u8>>,
    ) -> Step {
        let keys = master_secret.keys(chosen.suite.aead(), &self.random, &chosen.server_random);
        let verify_data = master_secret.verify_data(Side::Client, &chosen.transcript.hash());
        let finished = self.say(
            &mut chosen.transcript,
            HandshakeType::FINISHED,
            &verify_data,
        );
        self.flight = messages.into_iter().map(Part::Plain).collect();
        self.flight.push(Part::ChangeCipherSpec);
        self.flight.push(Part::Protected(finished));
        let secrets = Secrets {
            suite: chosen.suite,
            max_plaintext: chosen.max_plaintext,
            connection_ids: chosen.connection_ids.is_some(),
            return_routability: chosen.return_routability,
            master_secret,
            protection: Protection::new(Side::Client, keys)
                .with_connection_ids(chosen.connection_ids),
            transcript: chosen.transcript,
            order: Order::ClientFirst,
            session_id: chosen.session_id,
            ticket: if chosen.ticket {
                Ticket::Promised
            } else {
                Ticket::None
            },
        };
        Step::Next(State::AwaitChangeCipherSpec(secrets), Sent::Flight)
    }

    /// Makes our next message and takes it into the transcript.
    fn say(&mut self, transcript: &mut Transcript, kind: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = self.next_message(kind, body);
        transcript.add(&message);
        message
    }
}

fn certificate_verify(
    identity: &Identity,
    transcript: &Transcript,
    scheme: Option<SignatureScheme>,
    mischief: Mischief,
) -> Option<Vec<u8>> {
    let key = identity.key();
    let scheme = scheme.unwrap_or_else(|| key.native_scheme());
    let signature = match mischief {
        Mischief::EmptyCertificateVerify => Vec::new(),
        Mischief::WrongCertificateVerify => key.sign(scheme, b"something else")?,
        Mischief::None | Mischief::EmptyChain | Mischief::NoCertificateVerify => {
            key.sign(scheme, transcript.messages())?
        }
    };
    Some(
        DigitallySigned {
            scheme,
            signature: &signature,
        }
        .encode(),
    )
}

/// Our half of the agreement, and the secret.
pub(super) fn agree(point: &ServerPoint) -> Result<Agreed, AlertDescription> {
    let key = EphemeralKey::generate(point.group).ok_or(AlertDescription::INTERNAL_ERROR)?;
    let public = key.public().to_vec();
    let secret = key
        .agree(&point.public)
        .ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
    Ok(Agreed { public, secret })
}

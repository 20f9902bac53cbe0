//! The states of the key exchange with certificates on both sides (RFC 5246 §7.4.6 to §7.4.8, RFC 8422 §5).
//!
//! The client proves that it has the key of its certificate before anybody is asked about it, so that no registry works for strangers
//! who show certificates of others.

use std::time::Instant;

use crate::codec::Malformed;
use crate::codec::alert::AlertDescription;
use crate::codec::certificate::{
    DigitallySigned, certificate_public_key, decode_chain, decode_raw_key,
};
use crate::codec::handshake::HandshakeType;
use crate::codec::key_exchange::decode_client_point;
use crate::crypto::{EphemeralKey, PremasterSecret, PublicKeyInfo, SignatureError, TranscriptHash};
use crate::event::{Event, HandshakeFailure};
use crate::reassembly::Message;
use crate::resumption::Credential;
use crate::server::handshake::context::Context;
use crate::server::handshake::finished::AwaitChangeCipherSpec;
use crate::server::handshake::{Progress, State, Step};
use crate::server::shared::Shared;
use crate::statistics::count;

/// Our flight is out; the client must show its certificate.
pub(super) struct AwaitCertificate {
    pub(super) ephemeral: EphemeralKey,
}

/// The client must send its half of the agreement.
pub(super) struct AwaitCertifiedKeyExchange {
    ephemeral: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

/// The client must prove that it has the key of its certificate.
pub(super) struct AwaitCertificateVerify {
    chain: Vec<Vec<u8>>,
    premaster: PremasterSecret,
    /// The transcript's hash through ClientKeyExchange (RFC 7627 §3).
    session_hash: TranscriptHash,
}

/// The caller judges the certificate.
pub(super) struct AwaitVerdict {
    pub(super) accepted: AwaitChangeCipherSpec,
}

impl AwaitCertificate {
    pub(super) fn step(self, now: Instant, context: &mut Context, shared: &mut Shared) -> Step {
        let raw = context.negotiated.takes_raw_key();
        let chain = match context.awaited(HandshakeType::CERTIFICATE, shared) {
            Awaited::Nothing => return Step::Wait(State::AwaitCertificate(self)),
            Awaited::Message(message) => match shown(&message.body, raw) {
                Ok(chain) => {
                    context.take(&message);
                    chain
                }
                Err(_) => return context.malformed(State::AwaitCertificate(self), shared),
            },
        };
        context.client_has_answered(now, shared);
        let own = chain.first().map_or(&[][..], Vec::as_slice);
        let failure = match public_key(own, raw) {
            Ok(key) if key.signs_handshakes() => None,
            Ok(_) => Some(HandshakeFailure::UnsupportedKey),
            Err(Malformed) => Some(HandshakeFailure::NoCertificate),
        };
        if let Some(failure) = failure {
            context.tell_failure(failure, shared);
            let alert = if own.is_empty() {
                // RFC 5246 §7.4.6.
                AlertDescription::HANDSHAKE_FAILURE
            } else {
                AlertDescription::BAD_CERTIFICATE
            };
            return refuse(alert, shared);
        }
        Step::Next(State::AwaitCertifiedKeyExchange(
            AwaitCertifiedKeyExchange {
                ephemeral: self.ephemeral,
                chain,
            },
        ))
    }
}

impl AwaitCertifiedKeyExchange {
    pub(super) fn step(self, context: &mut Context, shared: &mut Shared) -> Step {
        let message = match context.awaited(HandshakeType::CLIENT_KEY_EXCHANGE, shared) {
            Awaited::Nothing => return Step::Wait(State::AwaitCertifiedKeyExchange(self)),
            Awaited::Message(message) => message,
        };
        let Ok(point) = decode_client_point(&message.body) else {
            return context.malformed(State::AwaitCertifiedKeyExchange(self), shared);
        };
        context.take(&message);
        let Some(agreed) = self.ephemeral.agree(point) else {
            count(&mut shared.statistics.bad_points);
            context.tell_failure(HandshakeFailure::BadPoint, shared);
            return Step::Done(Progress::Refused(AlertDescription::ILLEGAL_PARAMETER));
        };
        Step::Next(State::AwaitCertificateVerify(AwaitCertificateVerify {
            chain: self.chain,
            premaster: PremasterSecret::ecdhe(agreed),
            session_hash: context.transcript.hash(),
        }))
    }
}

impl AwaitCertificateVerify {
    pub(super) fn step(self, now: Instant, context: &mut Context, shared: &mut Shared) -> Step {
        let message = match context.awaited(HandshakeType::CERTIFICATE_VERIFY, shared) {
            Awaited::Nothing => return Step::Wait(State::AwaitCertificateVerify(self)),
            Awaited::Message(message) => message,
        };
        let Ok(signed) = DigitallySigned::decode(&message.body) else {
            return context.malformed(State::AwaitCertificateVerify(self), shared);
        };
        let own = self.chain.first().map_or(&[][..], Vec::as_slice);
        let messages = context.transcript.messages();
        let raw = context.negotiated.takes_raw_key();
        let proof = public_key(own, raw)
            .map_err(|Malformed| SignatureError::UnsupportedKey)
            .and_then(|key| key.verify_scheme(signed.scheme, messages, signed.signature));
        if let Err(error) = proof {
            let failure = match error {
                SignatureError::UnsupportedKey => HandshakeFailure::UnsupportedKey,
                SignatureError::UnsupportedAlgorithm => HandshakeFailure::UnsupportedSignature,
                SignatureError::Invalid => HandshakeFailure::CertificateUnproved,
            };
            context.tell_failure(failure, shared);
            return refuse(AlertDescription::DECRYPT_ERROR, shared);
        }
        context.take(&message);
        context.transcript.forget_messages();
        if context.may_be_resumed(shared) && !raw {
            context.credential = Some(Credential::Certificate(own.to_vec()));
        }
        let deadline = shared.config.verdict_deadline;
        context.await_answer(now, deadline, shared);
        let (association, chain) = (context.association, self.chain);
        let server_name = context.negotiated.server_name.clone();
        shared.events.push_back(if raw {
            Event::RawKeyRequested {
                association,
                public_key: chain.into_iter().next().unwrap_or_default(),
                server_name,
            }
        } else {
            Event::VerdictRequested {
                association,
                chain,
                server_name,
            }
        });
        Step::Next(State::AwaitVerdict(AwaitVerdict {
            accepted: context.secrets(&self.premaster, &self.session_hash),
        }))
    }
}

/// What stands next in the inbox.
enum Awaited {
    Nothing,
    Message(Message),
}

impl Context {
    /// The next message if it is of this type. Another is thrown away: anybody can send plaintext in the client's name, so the right
    /// message may still come.
    fn awaited(&mut self, message_type: HandshakeType, shared: &mut Shared) -> Awaited {
        match self.inbox.messages.peek() {
            Some(message) if message.message_type == message_type => Awaited::Message(message),
            Some(_) => {
                count(&mut shared.statistics.unexpected_messages);
                self.inbox.messages.discard();
                Awaited::Nothing
            }
            None => Awaited::Nothing,
        }
    }

    /// The next message is what was awaited.
    fn take(&mut self, message: &Message) {
        self.inbox.messages.advance();
        self.transcript.add(&message.encode());
    }

    /// The next message can't be decoded; the state waits on.
    fn malformed(&mut self, state: State, shared: &mut Shared) -> Step {
        count(&mut shared.statistics.malformed_messages);
        self.inbox.messages.discard();
        Step::Wait(state)
    }
}

/// The key in a client's certificate, or its bare key.
fn public_key(shown: &[u8], raw: bool) -> Result<PublicKeyInfo<'_>, Malformed> {
    PublicKeyInfo::from_der(if raw {
        shown
    } else {
        certificate_public_key(shown)?
    })
}

/// What a Certificate message carries: a chain, or instead of it a bare key.
fn shown(body: &[u8], raw: bool) -> Result<Vec<Vec<u8>>, Malformed> {
    let chain = if raw {
        vec![decode_raw_key(body)?]
    } else {
        decode_chain(body)?
    };
    Ok(chain.into_iter().map(<[u8]>::to_vec).collect())
}

fn refuse(alert: AlertDescription, shared: &mut Shared) -> Step {
    count(&mut shared.statistics.certificates_unproved);
    Step::Done(Progress::Refused(alert))
}

//! The client's side of a handshake (RFC 6347 §4.2.4, RFC 4279 §2, RFC 5489 §2, RFC 8422 §2.1).
//!
//! ```text
//!   client                                    server                    state after
//!   ClientHello                       ─────▶
//!                                     ◀─────  HelloVerifyRequest
//!   ClientHello (cookie)              ─────▶                            AwaitServerHello
//!                                     ◀─────  ServerHello               AwaitCertificate *
//!                                     ◀─────  Certificate *             AwaitServerKeyExchange
//!                                     ◀─────  ServerKeyExchange         AwaitServerHelloDone
//!                                     ◀─────  CertificateRequest *
//!                                     ◀─────  ServerHelloDone
//!   Certificate *, ClientKeyExchange,
//!   CertificateVerify *,
//!   ChangeCipherSpec, Finished        ─────▶                            AwaitChangeCipherSpec
//!                                     ◀─────  ChangeCipherSpec          AwaitFinished
//!                                     ◀─────  Finished                  (established)
//! ```
//!
//! What has a star comes with certificates only. A server without cookies may answer the first ClientHello with ServerHello;
//! ServerKeyExchange may be left out.

mod hello;
mod answer;

use dtls_proto::codec::certificate::{
    CertificateRequest, SignedServerKeyExchange, certificate_public_key, decode_chain,
    decode_raw_key, signed_parameters,
};
use dtls_proto::codec::handshake::{Fragment, HandshakeType, message, read_fragments};
use dtls_proto::codec::hello::{HelloVerifyRequest, Random};
use dtls_proto::codec::key_exchange::{PskServerKeyExchange, ServerEcdhParams};
use dtls_proto::codec::record::{MAX_PLAINTEXT, RecordHeader};
use dtls_proto::codec::ticket::NewSessionTicket;
use dtls_proto::crypto::{KeyExchange, MasterSecret, PublicKeyInfo, Side, Transcript};
use dtls_proto::flight::{Packer, Part};
use dtls_proto::inbox::{Inbox, InboxLimits, SealedRecord};
use dtls_proto::protection::{IdPair, Protection};
use dtls_proto::reassembly::{Limits, Reassembler};
use dtls_proto::{AlertDescription, CipherSuite, Group};

use crate::config::{Config, MasterSecretKind};
use crate::handshake::answer::agree;
use crate::resumption::Resumption;

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    context: Context,
    state: State,
}

/// What a step of the handshake led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It waits for more; whether it has sent a new flight.
    Ongoing(Sent),
    /// It is done.
    Established(Box<Established>),
    /// The server said something that can't be.
    Failed(AlertDescription),
}

/// Whether a new flight was sent, which restarts the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Flight,
}

/// How far a handshake has come, as far as the client can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The ClientHello is out; nothing that could be used has come.
    Begun,
    /// The server has asked for its cookie (HelloVerifyRequest), so it hears us, and we hear it.
    Verified,
    /// The server has chosen a suite (ServerHello).
    Chosen,
    /// We have named our identity or shown our certificate; the server has to decide.
    Presented,
    /// Both have proved themselves.
    Established,
}

/// What a finished handshake leaves.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) suite: CipherSuite,
    pub(crate) protection: Protection,
    pub(crate) max_plaintext: usize,
    /// Whether both sides agreed on connection ids.
    pub(crate) connection_ids: bool,
    pub(crate) return_routability: bool,
    /// What the client may come back with.
    pub(crate) resumption: Resumption,
    /// Our Finished, if the server waits for it: to be sent, and again when the server asks.
    pub(crate) finished: Option<Vec<u8>>,
    /// Our next record sequence number in epoch 0.
    pub(crate) sequence: u64,
    /// What the server has proved itself with, in DER, its own certificate first; empty with a pre-shared key.
    pub(crate) server_chain: Vec<Vec<u8>>,
    /// Records that came before the server's Finished.
    pub(crate) early: Vec<SealedRecord>,
}

/// In the order of the protocol.
#[derive(Debug)]
enum State {
    AwaitServerHello,
    AwaitCertificate(Chosen),
    /// With the server's certificate, if the suite has one.
    AwaitServerKeyExchange(Chosen, Option<Vec<u8>>),
    AwaitServerHelloDone(Chosen, Option<ServerPoint>, Requested),
    AwaitChangeCipherSpec(Secrets),
    AwaitFinished(Secrets, Reassembler),
    /// Over, or in the middle of a step.
    Ended,
}

/// What the server's ServerHello chose.
#[derive(Debug)]
struct Chosen {
    suite: CipherSuite,
    server_random: Random,
    master_secret: MasterSecretKind,
    max_plaintext: usize,
    connection_ids: Option<IdPair>,
    return_routability: bool,
    /// Whether we show a bare key.
    shows_raw_key: bool,
    /// Whether the server does.
    sees_raw_key: bool,
    transcript: Transcript,
    /// The session we have back.
    resumed: Option<Resumption>,
    /// By which the server knows the session; empty if it keeps nothing.
    session_id: Vec<u8>,
    /// Whether a ticket will come.
    ticket: bool,
}

/// The server's half of an agreement.
#[derive(Debug)]
struct ServerPoint {
    group: Group,
    public: Vec<u8>,
}

/// Whether the server wants to see our certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requested {
    Nothing,
    Certificate,
}

/// What is there once ServerHelloDone has come.
#[derive(Debug)]
struct Secrets {
    suite: CipherSuite,
    max_plaintext: usize,
    connection_ids: bool,
    return_routability: bool,
    master_secret: MasterSecret,
    protection: Protection,
    transcript: Transcript,
    order: Order,
    session_id: Vec<u8>,
    ticket: Ticket,
}

/// Who says Finished first: we, or in a resumption the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    ClientFirst,
    ServerFirst,
}

/// What there is of a ticket.
#[derive(Debug)]
enum Ticket {
    None,
    Promised,
    Given(Vec<u8>),
}

enum Step {
    Wait(State),
    Next(State, Sent),
    Established(Box<Established>),
    Failed(AlertDescription),
}

/// What every state needs.
#[derive(Debug)]
struct Context {
    config: Config,
    random: Random,
    /// Our ClientHello as sent last, as the transcript wants it.
    hello: Vec<u8>,
    /// What the server has shown.
    server_chain: Vec<Vec<u8>>,
    /// Whether the server has asked for its cookie.
    verified: bool,
    inbox: Inbox,
    flight: Vec<Part>,
    /// Our next record sequence number in epoch 0.
    sequence: u64,
    /// Our next message number.
    message_seq: u16,
}

impl Handshake {
    /// Makes the first flight; [`Handshake::datagrams`] gives it.
    pub(crate) fn start(config: Config, random: Random) -> Self {
        let mut context = Context {
            config,
            random,
            hello: Vec::new(),
            server_chain: Vec::new(),
            verified: false,
            inbox: Inbox::new(0, InboxLimits::default()),
            flight: Vec::new(),
            sequence: 0,
            message_seq: 0,
        };
        context.say_hello(&[]);
        Self {
            context,
            state: State::AwaitServerHello,
        }
    }

    /// The current flight as datagrams, under new sequence numbers each time.
    pub(crate) fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let context = &mut self.context;
        let (mtu, max_plaintext, mut protection) = match &mut self.state {
            State::AwaitChangeCipherSpec(secrets) | State::AwaitFinished(secrets, _) => (
                context.config.mtu,
                secrets.max_plaintext,
                Some(&mut secrets.protection),
            ),
            // A ClientHello is never cut: a server that keeps nothing yet can't put it together.
            State::AwaitServerHello
            | State::AwaitCertificate(_)
            | State::AwaitServerKeyExchange(..)
            | State::AwaitServerHelloDone(..)
            | State::Ended => (usize::MAX, MAX_PLAINTEXT, None),
        };
        let mut packer = Packer::new(mtu, max_plaintext, &mut context.sequence);
        for part in &context.flight {
            if packer.pack(part, protection.as_deref_mut()).is_err() {
                return Vec::new();
            }
        }
        packer.datagrams()
    }

    /// How far it has come.
    pub(crate) fn stage(&self) -> Stage {
        match &self.state {
            State::AwaitServerHello if self.context.verified => Stage::Verified,
            State::AwaitServerHello | State::Ended => Stage::Begun,
            State::AwaitCertificate(_)
            | State::AwaitServerKeyExchange(..)
            | State::AwaitServerHelloDone(..) => Stage::Chosen,
            State::AwaitChangeCipherSpec(_) | State::AwaitFinished(..) => Stage::Presented,
        }
    }

    /// Whether an alert in plaintext can be the server's: before it has our key exchange, it has no keys.
    pub(crate) fn heeds_plain_alerts(&self) -> bool {
        match self.state {
            State::AwaitServerHello
            | State::AwaitCertificate(_)
            | State::AwaitServerKeyExchange(..)
            | State::AwaitServerHelloDone(..)
            | State::AwaitChangeCipherSpec(_) => true,
            State::AwaitFinished(..) | State::Ended => false,
        }
    }

    pub(crate) fn handle_fragment(&mut self, fragment: &Fragment<'_>) -> Progress {
        // What is refused is old or hostile; the server will send again what matters.
        self.context.inbox.messages.insert(fragment).unwrap_or(());
        self.advance()
    }

    pub(crate) fn handle_change_cipher_spec(&mut self) -> Progress {
        self.context.inbox.change_cipher_spec = true;
        self.advance()
    }

    pub(crate) fn handle_sealed(&mut self, header: RecordHeader, fragment: &[u8]) -> Progress {
        self.context
            .inbox
            .put_sealed(header, fragment)
            .unwrap_or(());
        self.advance()
    }

    /// Lets each state take what it waits for, until one has to wait.
    fn advance(&mut self) -> Progress {
        let mut sent = Sent::Nothing;
        loop {
            let context = &mut self.context;
            let step = match std::mem::replace(&mut self.state, State::Ended) {
                State::AwaitServerHello => context.await_server_hello(),
                State::AwaitCertificate(chosen) => context.await_certificate(chosen),
                State::AwaitServerKeyExchange(chosen, own) => {
                    context.await_server_key_exchange(chosen, own)
                }
                State::AwaitServerHelloDone(chosen, point, requested) => {
                    context.await_server_hello_done(chosen, point, requested)
                }
                State::AwaitChangeCipherSpec(secrets) => context.await_change_cipher_spec(secrets),
                State::AwaitFinished(secrets, messages) => {
                    context.await_finished(secrets, messages)
                }
                State::Ended => Step::Wait(State::Ended),
            };
            match step {
                Step::Wait(state) => {
                    self.state = state;
                    return Progress::Ongoing(sent);
                }
                Step::Next(state, now) => {
                    self.state = state;
                    if now == Sent::Flight {
                        sent = Sent::Flight;
                    }
                }
                Step::Established(established) => return Progress::Established(established),
                Step::Failed(alert) => return Progress::Failed(alert),
            }
        }
    }
}

impl Context {
    fn await_server_hello(&mut self) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitServerHello);
        };
        self.inbox.messages.advance();
        match received.message_type {
            HandshakeType::HELLO_VERIFY_REQUEST => {
                let Ok(request) = HelloVerifyRequest::decode(&received.body) else {
                    return Step::Failed(AlertDescription::DECODE_ERROR);
                };
                self.say_hello(request.cookie);
                self.verified = true;
                Step::Next(State::AwaitServerHello, Sent::Flight)
            }
            HandshakeType::SERVER_HELLO => match self.choice(&received) {
                Ok(chosen) => {
                    let next = if chosen.resumed.is_some() {
                        self.take_back(chosen)
                    } else if chosen.suite.key_exchange() == KeyExchange::EcdheEcdsa {
                        State::AwaitCertificate(chosen)
                    } else {
                        State::AwaitServerKeyExchange(chosen, None)
                    };
                    Step::Next(next, Sent::Nothing)
                }
                Err(alert) => Step::Failed(alert),
            },
            _ => Step::Failed(AlertDescription::UNEXPECTED_MESSAGE),
        }
    }

    /// Goes on with the keys of the session we have back; our hello is answered, so it is not sent again.
    fn take_back(&mut self, chosen: Chosen) -> State {
        let Some(resumed) = chosen.resumed else {
            return State::Ended;
        };
        let suite = chosen.suite;
        let keys = resumed
            .master_secret
            .keys(suite.aead(), &self.random, &chosen.server_random);
        State::AwaitChangeCipherSpec(Secrets {
            suite,
            max_plaintext: chosen.max_plaintext,
            connection_ids: chosen.connection_ids.is_some(),
            return_routability: chosen.return_routability,
            master_secret: resumed.master_secret,
            protection: Protection::new(Side::Client, keys)
                .with_connection_ids(chosen.connection_ids),
            transcript: chosen.transcript,
            order: Order::ServerFirst,
            session_id: chosen.session_id,
            ticket: if resumed.ticket.is_empty() {
                Ticket::None
            } else {
                Ticket::Given(resumed.ticket)
            },
        })
    }

    fn await_certificate(&mut self, mut chosen: Chosen) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitCertificate(chosen));
        };
        if received.message_type != HandshakeType::CERTIFICATE {
            return Step::Failed(AlertDescription::UNEXPECTED_MESSAGE);
        }
        let chain = if chosen.sees_raw_key {
            decode_raw_key(&received.body).map(|key| vec![key])
        } else {
            decode_chain(&received.body)
        };
        let chain = chain.unwrap_or_default();
        self.server_chain = chain.into_iter().map(<[u8]>::to_vec).collect();
        let Some(own) = self.server_chain.first().cloned() else {
            return Step::Failed(AlertDescription::BAD_CERTIFICATE);
        };
        let pinned = self.config.server_certificate.as_ref();
        if pinned.is_some_and(|pinned| *pinned != own) {
            return Step::Failed(AlertDescription::BAD_CERTIFICATE);
        }
        self.inbox.messages.advance();
        chosen.transcript.add(&received.encode());
        Step::Next(
            State::AwaitServerKeyExchange(chosen, Some(own)),
            Sent::Nothing,
        )
    }

    fn await_server_key_exchange(&mut self, mut chosen: Chosen, own: Option<Vec<u8>>) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitServerKeyExchange(chosen, own));
        };
        if received.message_type != HandshakeType::SERVER_KEY_EXCHANGE {
            // A server without a hint may leave it out; the next state knows whether it may leave out more.
            let next = State::AwaitServerHelloDone(chosen, None, Requested::Nothing);
            return Step::Next(next, Sent::Nothing);
        }
        let point = match &own {
            Some(own) => self.signed_point(&chosen, own, &received.body).map(Some),
            None => self.point(&received.body),
        };
        match point {
            Ok(point) => {
                self.inbox.messages.advance();
                chosen.transcript.add(&received.encode());
                let next = State::AwaitServerHelloDone(chosen, point, Requested::Nothing);
                Step::Next(next, Sent::Nothing)
            }
            Err(alert) => Step::Failed(alert),
        }
    }

    /// What the server sent in a key exchange with a pre-shared key.
    fn point(&self, body: &[u8]) -> Result<Option<ServerPoint>, AlertDescription> {
        let exchange =
            PskServerKeyExchange::decode(body).map_err(|_| AlertDescription::DECODE_ERROR)?;
        exchange
            .ecdh
            .map(|ecdh| self.offered_point(&ecdh))
            .transpose()
    }

    /// What the server sent and signed with the key of its certificate.
    fn signed_point(
        &self,
        chosen: &Chosen,
        own: &[u8],
        body: &[u8],
    ) -> Result<ServerPoint, AlertDescription> {
        let exchange =
            SignedServerKeyExchange::decode(body).map_err(|_| AlertDescription::DECODE_ERROR)?;
        let parameters = signed_parameters(&self.random, &chosen.server_random, &exchange.ecdh);
        let signed = exchange.signed;
        let key = if chosen.sees_raw_key {
            Ok(own)
        } else {
            certificate_public_key(own)
        };
        let offered = self.config.signature_schemes.contains(&signed.scheme);
        let proof = key.and_then(PublicKeyInfo::from_der).is_ok_and(|key| {
            key.verify_scheme(signed.scheme, &parameters, signed.signature)
                .is_ok()
        });
        if !offered || !proof {
            return Err(AlertDescription::DECRYPT_ERROR);
        }
        self.offered_point(&exchange.ecdh)
    }

    fn offered_point(&self, ecdh: &ServerEcdhParams<'_>) -> Result<ServerPoint, AlertDescription> {
        let group = Group::from_code(ecdh.group)
            .filter(|group| self.config.groups.contains(group))
            .ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
        Ok(ServerPoint {
            group,
            public: ecdh.public.to_vec(),
        })
    }

    fn await_server_hello_done(
        &mut self,
        mut chosen: Chosen,
        point: Option<ServerPoint>,
        requested: Requested,
    ) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitServerHelloDone(chosen, point, requested));
        };
        self.inbox.messages.advance();
        chosen.transcript.add(&received.encode());
        match received.message_type {
            HandshakeType::SERVER_HELLO_DONE if received.body.is_empty() => {}
            HandshakeType::CERTIFICATE_REQUEST if requested == Requested::Nothing => {
                if CertificateRequest::decode(&received.body).is_err() {
                    return Step::Failed(AlertDescription::DECODE_ERROR);
                }
                let next = State::AwaitServerHelloDone(chosen, point, Requested::Certificate);
                return Step::Next(next, Sent::Nothing);
            }
            _ => return Step::Failed(AlertDescription::UNEXPECTED_MESSAGE),
        }
        let agreed = match point.as_ref().map(agree).transpose() {
            Ok(agreed) => agreed,
            Err(alert) => return Step::Failed(alert),
        };
        match (chosen.suite.key_exchange(), agreed, requested) {
            (KeyExchange::Psk, None, Requested::Nothing) => self.answer_with_key(chosen, None),
            (KeyExchange::EcdhePsk, Some(agreed), Requested::Nothing) => {
                self.answer_with_key(chosen, Some(&agreed))
            }
            (KeyExchange::EcdheEcdsa, Some(agreed), Requested::Certificate) => {
                self.answer_with_certificate(chosen, agreed)
            }
            // A server that doesn't want to know who we are is none for us.
            _ => Step::Failed(AlertDescription::UNEXPECTED_MESSAGE),
        }
    }

    fn await_change_cipher_spec(&mut self, mut secrets: Secrets) -> Step {
        if matches!(secrets.ticket, Ticket::Promised) {
            let Some(received) = self.inbox.messages.peek() else {
                return Step::Wait(State::AwaitChangeCipherSpec(secrets));
            };
            let message = NewSessionTicket::decode(&received.body);
            let (HandshakeType::NEW_SESSION_TICKET, Ok(message)) = (received.message_type, message)
            else {
                return Step::Failed(AlertDescription::UNEXPECTED_MESSAGE);
            };
            secrets.ticket = Ticket::Given(message.ticket.to_vec());
            secrets.transcript.add(&received.encode());
            self.inbox.messages.advance();
        }
        if !self.inbox.change_cipher_spec {
            return Step::Wait(State::AwaitChangeCipherSpec(secrets));
        }
        let messages = Reassembler::new(self.inbox.messages.next_message_seq(), Limits::default());
        Step::Next(State::AwaitFinished(secrets, messages), Sent::Nothing)
    }

    fn await_finished(&mut self, mut secrets: Secrets, mut messages: Reassembler) -> Step {
        while let Some(mut record) = self.inbox.take_sealed_handshake(&secrets.protection) {
            let Ok(opened) = secrets.protection.open(record.header, &mut record.fragment) else {
                continue;
            };
            for fragment in read_fragments(opened.plaintext).filter_map(Result::ok) {
                messages.insert(&fragment).unwrap_or(());
            }
            let Some(received) = messages.peek() else {
                continue;
            };
            let hash = secrets.transcript.hash();
            let right = received.message_type == HandshakeType::FINISHED
                && secrets
                    .master_secret
                    .verifies(Side::Server, &hash, &received.body);
            if !right {
                return Step::Failed(AlertDescription::DECRYPT_ERROR);
            }
            secrets.transcript.add(&received.encode());
            let finished = (secrets.order == Order::ServerFirst).then(|| {
                let hash = secrets.transcript.hash();
                let verify_data = secrets.master_secret.verify_data(Side::Client, &hash);
                self.next_message(HandshakeType::FINISHED, &verify_data)
            });
            let inbox = std::mem::replace(&mut self.inbox, Inbox::new(0, InboxLimits::default()));
            return Step::Established(Box::new(Established {
                suite: secrets.suite,
                protection: secrets.protection,
                max_plaintext: secrets.max_plaintext,
                connection_ids: secrets.connection_ids,
                return_routability: secrets.return_routability,
                resumption: Resumption {
                    suite: secrets.suite,
                    master_secret: secrets.master_secret,
                    session_id: secrets.session_id,
                    ticket: match secrets.ticket {
                        Ticket::Given(ticket) => ticket,
                        Ticket::None | Ticket::Promised => Vec::new(),
                    },
                },
                finished,
                sequence: self.sequence,
                server_chain: std::mem::take(&mut self.server_chain),
                early: inbox.into_sealed().into(),
            }));
        }
        Step::Wait(State::AwaitFinished(secrets, messages))
    }

    /// Makes our next message.
    fn next_message(&mut self, message_type: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(message_type, self.message_seq, body);
        self.message_seq = self.message_seq.saturating_add(1);
        message
    }
}

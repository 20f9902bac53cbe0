//! The client's side of a handshake with a pre-shared key (RFC 6347 §4.2.4, RFC 4279 §2).
//!
//! ```text
//!   client                                    server                    state after
//!   ClientHello                       ─────▶
//!                                     ◀─────  HelloVerifyRequest
//!   ClientHello (cookie)              ─────▶                            AwaitServerHello
//!                                     ◀─────  ServerHello               AwaitServerKeyExchange
//!                                     ◀─────  ServerKeyExchange         AwaitServerHelloDone
//!                                     ◀─────  ServerHelloDone
//!   ClientKeyExchange,
//!   ChangeCipherSpec, Finished        ─────▶                            AwaitChangeCipherSpec
//!                                     ◀─────  ChangeCipherSpec          AwaitFinished
//!                                     ◀─────  Finished                  (established)
//! ```
//!
//! A server without cookies may answer the first ClientHello with ServerHello; ServerKeyExchange may be left out.

use dtls_proto::codec::ProtocolVersion;
use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::extension::{HelloExtensions, UNCOMPRESSED};
use dtls_proto::codec::handshake::{Fragment, HandshakeType, message, read_fragments};
use dtls_proto::codec::hello::{
    ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, HelloVerifyRequest, NULL_COMPRESSION, Random,
    ServerHello,
};
use dtls_proto::codec::key_exchange::{PskClientKeyExchange, PskServerKeyExchange};
use dtls_proto::codec::record::{MAX_PLAINTEXT, RecordHeader};
use dtls_proto::crypto::{
    EphemeralKey, KeyExchange, MasterSecret, PremasterSecret, SharedSecret, Side, Transcript,
};
use dtls_proto::flight::{Packer, Part};
use dtls_proto::inbox::{Inbox, SealedRecord};
use dtls_proto::protection::{IdPair, Protection};
use dtls_proto::reassembly::{Limits, Message, Reassembler};
use dtls_proto::{AlertDescription, CipherSuite, Group};

use crate::config::{Config, MasterSecretKind};

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

/// Whether a new flight is out, so that waiting begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Flight,
}

/// What a finished handshake leaves.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) suite: CipherSuite,
    pub(crate) protection: Protection,
    pub(crate) max_plaintext: usize,
    /// Whether both sides agreed on connection ids.
    pub(crate) connection_ids: bool,
    /// Records that came before the server's Finished.
    pub(crate) early: Vec<SealedRecord>,
}

/// In the order of the protocol.
#[derive(Debug)]
enum State {
    AwaitServerHello,
    AwaitServerKeyExchange(Chosen),
    AwaitServerHelloDone(Chosen, Option<ServerPoint>),
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
    transcript: Transcript,
}

/// The server's half of an agreement.
#[derive(Debug)]
struct ServerPoint {
    group: Group,
    public: Vec<u8>,
}

/// What is there once ServerHelloDone has come.
#[derive(Debug)]
struct Secrets {
    suite: CipherSuite,
    max_plaintext: usize,
    connection_ids: bool,
    master_secret: MasterSecret,
    protection: Protection,
    transcript: Transcript,
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
            inbox: Inbox::new(0),
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
            | State::AwaitServerKeyExchange(_)
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

    /// Whether an alert in plaintext can be the server's: before it has our key exchange, it has no keys.
    pub(crate) fn heeds_plain_alerts(&self) -> bool {
        match self.state {
            State::AwaitServerHello
            | State::AwaitServerKeyExchange(_)
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
                State::AwaitServerKeyExchange(chosen) => context.await_server_key_exchange(chosen),
                State::AwaitServerHelloDone(chosen, point) => {
                    context.await_server_hello_done(chosen, point)
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
                Step::Next(State::AwaitServerHello, Sent::Flight)
            }
            HandshakeType::SERVER_HELLO => match self.choice(&received) {
                Ok(chosen) => Step::Next(State::AwaitServerKeyExchange(chosen), Sent::Nothing),
                Err(alert) => Step::Failed(alert),
            },
            _ => Step::Failed(AlertDescription::UNEXPECTED_MESSAGE),
        }
    }

    fn await_server_key_exchange(&mut self, mut chosen: Chosen) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitServerKeyExchange(chosen));
        };
        if received.message_type != HandshakeType::SERVER_KEY_EXCHANGE {
            // A server without a hint may leave it out; the next state knows whether it may leave out more.
            return Step::Next(State::AwaitServerHelloDone(chosen, None), Sent::Nothing);
        }
        let Ok(exchange) = PskServerKeyExchange::decode(&received.body) else {
            return Step::Failed(AlertDescription::DECODE_ERROR);
        };
        let point = exchange.ecdh.and_then(|params| {
            let group = Group::from_code(params.group)?;
            self.config.groups.contains(&group).then(|| ServerPoint {
                group,
                public: params.public.to_vec(),
            })
        });
        if exchange.ecdh.is_some() != point.is_some() {
            return Step::Failed(AlertDescription::ILLEGAL_PARAMETER);
        }
        self.inbox.messages.advance();
        chosen.transcript.add(&received.encode());
        Step::Next(State::AwaitServerHelloDone(chosen, point), Sent::Nothing)
    }

    fn await_server_hello_done(&mut self, mut chosen: Chosen, point: Option<ServerPoint>) -> Step {
        let Some(received) = self.inbox.messages.peek() else {
            return Step::Wait(State::AwaitServerHelloDone(chosen, point));
        };
        self.inbox.messages.advance();
        if received.message_type != HandshakeType::SERVER_HELLO_DONE || !received.body.is_empty() {
            return Step::Failed(AlertDescription::UNEXPECTED_MESSAGE);
        }
        chosen.transcript.add(&received.encode());
        let agreed = match (chosen.suite.key_exchange(), point) {
            (KeyExchange::Psk, None) => Ok(None),
            (KeyExchange::EcdhePsk, Some(point)) => agree(&point).map(Some),
            _ => Err(AlertDescription::UNEXPECTED_MESSAGE),
        };
        match agreed {
            Ok(agreed) => self.answer(chosen, agreed.as_ref()),
            Err(alert) => Step::Failed(alert),
        }
    }

    /// Makes the flight that ends with Finished.
    fn answer(&mut self, chosen: Chosen, agreed: Option<&(Vec<u8>, SharedSecret)>) -> Step {
        let Chosen {
            suite,
            server_random,
            master_secret,
            max_plaintext,
            connection_ids,
            mut transcript,
        } = chosen;
        let key_exchange = PskClientKeyExchange {
            identity: &self.config.identity,
            public: agreed.map(|(public, _)| public.as_slice()),
        }
        .encode();
        let key_exchange = self.next_message(HandshakeType::CLIENT_KEY_EXCHANGE, &key_exchange);
        transcript.add(&key_exchange);
        let premaster = match agreed {
            Some((_, shared)) => PremasterSecret::ecdhe_psk(shared, &self.config.key),
            None => PremasterSecret::psk(&self.config.key),
        };
        let (client, server, hash) = (&self.random, &server_random, suite.hash());
        let master_secret = match master_secret {
            MasterSecretKind::Extended => {
                MasterSecret::extended(hash, &premaster, &transcript.hash())
            }
            MasterSecretKind::Plain => MasterSecret::plain(hash, &premaster, client, server),
        };
        let keys = master_secret.keys(suite.aead(), client, server);
        let verify_data = master_secret.verify_data(Side::Client, &transcript.hash());
        let finished = self.next_message(HandshakeType::FINISHED, &verify_data);
        transcript.add(&finished);
        self.flight = vec![
            Part::Plain(key_exchange),
            Part::ChangeCipherSpec,
            Part::Protected(finished),
        ];
        let secrets = Secrets {
            suite,
            max_plaintext,
            connection_ids: connection_ids.is_some(),
            master_secret,
            protection: Protection::new(Side::Client, keys).with_connection_ids(connection_ids),
            transcript,
        };
        Step::Next(State::AwaitChangeCipherSpec(secrets), Sent::Flight)
    }

    fn await_change_cipher_spec(&mut self, secrets: Secrets) -> Step {
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
            let inbox = std::mem::replace(&mut self.inbox, Inbox::new(0));
            return Step::Established(Box::new(Established {
                suite: secrets.suite,
                protection: secrets.protection,
                max_plaintext: secrets.max_plaintext,
                connection_ids: secrets.connection_ids,
                early: inbox.into_sealed().into(),
            }));
        }
        Step::Wait(State::AwaitFinished(secrets, messages))
    }

    /// Makes a ClientHello the current flight; the transcript begins with the last of them (RFC 6347 §4.2.1).
    fn say_hello(&mut self, cookie: &[u8]) {
        let mut cipher_suites = Vec::new();
        let codes = self.config.suites.iter().map(|suite| suite.code());
        for code in codes.chain([EMPTY_RENEGOTIATION_INFO_SCSV]) {
            cipher_suites.extend_from_slice(&code.to_be_bytes());
        }
        let on_a_curve = self
            .config
            .suites
            .iter()
            .any(|suite| suite.key_exchange() != KeyExchange::Psk);
        let groups: Vec<_> = self
            .config
            .groups
            .iter()
            .map(|group| group.code().to_be_bytes())
            .collect();
        let mut extensions = Vec::new();
        HelloExtensions {
            supported_groups: Some(groups.as_slice())
                .filter(|groups| on_a_curve && !groups.is_empty()),
            connection_id: self.config.connection_id.as_deref(),
            ec_point_formats: on_a_curve.then_some(&[UNCOMPRESSED]),
            server_name: self.config.server_name.as_deref(),
            max_fragment_length: self.config.max_fragment_length,
            extended_master_secret: self.config.master_secret == MasterSecretKind::Extended,
            renegotiation_info: None,
        }
        .encode_offer(&mut extensions);
        let body = ClientHello {
            version: ProtocolVersion::DTLS_1_2,
            random: self.random,
            session_id: &[],
            cookie,
            cipher_suites: &cipher_suites,
            compression_methods: &[NULL_COMPRESSION],
            extensions: &extensions,
        }
        .encode();
        self.hello = self.next_message(HandshakeType::CLIENT_HELLO, &body);
        self.flight = vec![Part::Plain(self.hello.clone())];
    }

    /// What the ServerHello chose, if it is something we offered.
    fn choice(&self, received: &Message) -> Result<Chosen, AlertDescription> {
        let hello =
            ServerHello::decode(&received.body).map_err(|_| AlertDescription::DECODE_ERROR)?;
        let extensions = HelloExtensions::decode(hello.extensions)
            .map_err(|_| AlertDescription::DECODE_ERROR)?;
        if hello.version != ProtocolVersion::DTLS_1_2 {
            return Err(AlertDescription::PROTOCOL_VERSION);
        }
        let suite = CipherSuite::from_code(hello.cipher_suite)
            .filter(|suite| self.config.suites.contains(suite))
            .ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
        let offered = extensions.max_fragment_length.is_none()
            || extensions.max_fragment_length == self.config.max_fragment_length;
        if hello.compression_method != NULL_COMPRESSION || !offered {
            return Err(AlertDescription::ILLEGAL_PARAMETER);
        }
        let connection_ids = match (&self.config.connection_id, extensions.connection_id) {
            (_, None) => None,
            (None, Some(_)) => return Err(AlertDescription::UNSUPPORTED_EXTENSION),
            (Some(ours), Some(theirs)) => ConnectionId::new(ours)
                .zip(ConnectionId::new(theirs))
                .map(|(ours, peers)| IdPair { ours, peers })
                .ok_or(AlertDescription::ILLEGAL_PARAMETER)
                .map(Some)?,
        };
        let mut transcript = Transcript::new(suite.hash());
        transcript.add(&self.hello);
        transcript.add(&received.encode());
        Ok(Chosen {
            transcript,
            connection_ids,
            suite,
            server_random: hello.random,
            master_secret: if extensions.extended_master_secret {
                MasterSecretKind::Extended
            } else {
                MasterSecretKind::Plain
            },
            max_plaintext: extensions
                .max_fragment_length
                .map_or(MAX_PLAINTEXT, |limit| usize::from(limit.bytes())),
        })
    }

    /// Makes our next message.
    fn next_message(&mut self, message_type: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(message_type, self.message_seq, body);
        self.message_seq = self.message_seq.saturating_add(1);
        message
    }
}

/// Our half of the agreement, and the secret.
fn agree(point: &ServerPoint) -> Result<(Vec<u8>, SharedSecret), AlertDescription> {
    let key = EphemeralKey::generate(point.group).ok_or(AlertDescription::INTERNAL_ERROR)?;
    let public = key.public().to_vec();
    let secret = key
        .agree(&point.public)
        .ok_or(AlertDescription::ILLEGAL_PARAMETER)?;
    Ok((public, secret))
}

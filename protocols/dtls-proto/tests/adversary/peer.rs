//! A client that says what it is told to say, in any order, with its transcript and its Finished true to what it has said: whoever
//! lets it skip or repeat a message lets it in.

use std::net::SocketAddr;

use dtls_proto::codec::ProtocolVersion;
use dtls_proto::codec::certificate::{
    DigitallySigned, SignatureScheme, SignedServerKeyExchange, encode_chain,
};
use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::extension::{HelloExtensions, MaxFragmentLength, UNCOMPRESSED};
use dtls_proto::codec::handshake::{HandshakeType, message, read_fragments};
use dtls_proto::codec::hello::{ClientHello, HelloVerifyRequest, ServerHello};
use dtls_proto::codec::key_exchange::{
    PskClientKeyExchange, PskServerKeyExchange, encode_client_point,
};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record, split_first};
use dtls_proto::crypto::{
    EphemeralKey, KeyExchange, MasterSecret, PremasterSecret, Side, Transcript, random,
};
use dtls_proto::protection::{IdPair, Protection};
use dtls_proto::reassembly::{Limits, Message, Reassembler};
use dtls_proto::{CipherSuite, Group, Psk, Transmit};

use crate::pki;
use crate::target::{IDENTITY, KEY, Target};

/// A suite of each key exchange.
pub(crate) const SUITES: [CipherSuite; 3] = [
    CipherSuite::PskAes128Ccm8,
    CipherSuite::EcdhePskAes128Ccm8Sha256,
    CipherSuite::EcdheEcdsaAes128Ccm8,
];

/// Something to say after the server's flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Certificate,
    KeyExchange,
    Verify,
    ChangeCipherSpec,
    Finished,
}

pub(crate) struct Peer {
    pub(crate) suite: CipherSuite,
    pub(crate) address: SocketAddr,
    pub(crate) key: Psk,
    /// What the ClientHello offers as connection id.
    pub(crate) connection_id: Option<Vec<u8>>,
    /// What it offers as limit of records.
    pub(crate) max_fragment_length: Option<MaxFragmentLength>,
    random: [u8; 32],
    /// The next record's number in epoch 0.
    pub(crate) sequence: u64,
    /// The next message's number.
    pub(crate) message_seq: u16,
    pub(crate) transcript: Transcript,
    server: Option<Chosen>,
    pub(crate) secrets: Option<(MasterSecret, Protection)>,
}

/// What the server's flight says.
struct Chosen {
    random: [u8; 32],
    point: Option<(Group, Vec<u8>)>,
    ids: Option<IdPair>,
}

impl Peer {
    pub(crate) fn new(suite: CipherSuite, address: SocketAddr) -> Self {
        Self {
            suite,
            address,
            key: Psk::from(KEY),
            connection_id: None,
            max_fragment_length: None,
            random: random().unwrap(),
            sequence: 0,
            message_seq: 0,
            transcript: Transcript::with_messages(suite.hash()),
            server: None,
            secrets: None,
        }
    }

    /// The messages of a good handshake after the server's flight, in their order.
    pub(crate) fn good_order(&self) -> &'static [Piece] {
        if self.suite.key_exchange() == KeyExchange::EcdheEcdsa {
            &[
                Piece::Certificate,
                Piece::KeyExchange,
                Piece::Verify,
                Piece::ChangeCipherSpec,
                Piece::Finished,
            ]
        } else {
            &[Piece::KeyExchange, Piece::ChangeCipherSpec, Piece::Finished]
        }
    }

    /// Both hellos, up to and with the server's flight.
    pub(crate) fn greet(&mut self, target: &mut Target) {
        let address = self.address;
        self.greet_by(|datagram| target.give(address, datagram));
    }

    /// The same with any server.
    pub(crate) fn greet_by(&mut self, mut give: impl FnMut(&[u8]) -> Vec<Transmit>) {
        let first = self.hello(&[]);
        let answer = give(&first);
        let cookie = self.cookie(&answer);
        let second = self.hello(&cookie);
        let flight = give(&second);
        self.read_flight(&flight);
    }

    /// A good handshake, in which nothing may go wrong.
    pub(crate) fn shake(&mut self, target: &mut Target) {
        let before = target.established.len();
        self.greet(target);
        for piece in self.good_order() {
            let datagram = self.say(*piece);
            target.give(self.address, &datagram);
        }
        assert_eq!(target.established.len(), before + 1, "{:?}", self.suite);
    }

    /// The datagram of a ClientHello. The transcript begins anew with it.
    pub(crate) fn hello(&mut self, cookie: &[u8]) -> Vec<u8> {
        let body = self.hello_body(&[], cookie);
        self.transcript = Transcript::with_messages(self.suite.hash());
        self.plain_message(HandshakeType::CLIENT_HELLO, &body)
    }

    pub(crate) fn hello_body(&self, session_id: &[u8], cookie: &[u8]) -> Vec<u8> {
        let groups = Group::ALL.map(|group| group.code().to_be_bytes());
        let schemes = SignatureScheme::ALL.map(|scheme| scheme.0.to_be_bytes());
        let mut extensions = Vec::new();
        HelloExtensions {
            supported_groups: Some(&groups),
            signature_algorithms: Some(&schemes),
            ec_point_formats: Some(&[UNCOMPRESSED]),
            extended_master_secret: true,
            max_fragment_length: self.max_fragment_length,
            // An id of any length, true to what the encoding can say.
            connection_id: self.connection_id.as_deref(),
            ..HelloExtensions::default()
        }
        .encode_offer(&mut extensions);
        ClientHello {
            version: ProtocolVersion::DTLS_1_2,
            random: self.random,
            session_id,
            cookie,
            cipher_suites: &self.suite.code().to_be_bytes(),
            compression_methods: &[0],
            extensions: &extensions,
        }
        .encode()
    }

    pub(crate) fn cookie(&self, answer: &[Transmit]) -> Vec<u8> {
        let messages = messages(answer, 0);
        let request = HelloVerifyRequest::decode(&messages.first().unwrap().body).unwrap();
        request.cookie.to_vec()
    }

    /// Takes the server's flight into the transcript.
    pub(crate) fn read_flight(&mut self, flight: &[Transmit]) {
        let mut chosen = None;
        for received in messages(flight, 1) {
            self.transcript.add(&received.encode());
            match received.message_type {
                HandshakeType::SERVER_HELLO => chosen = Some(self.choice(&received)),
                HandshakeType::SERVER_KEY_EXCHANGE => {
                    chosen.as_mut().unwrap().point = self.point(&received);
                }
                _ => {}
            }
        }
        self.server = chosen;
    }

    fn choice(&self, received: &Message) -> Chosen {
        let hello = ServerHello::decode(&received.body).unwrap();
        let extensions = HelloExtensions::decode(hello.extensions).unwrap();
        let ids = extensions.connection_id.map(|theirs| IdPair {
            ours: ConnectionId::new(self.connection_id.as_deref().unwrap()).unwrap(),
            peers: ConnectionId::new(theirs).unwrap(),
        });
        Chosen {
            random: hello.random,
            point: None,
            ids,
        }
    }

    fn point(&self, received: &Message) -> Option<(Group, Vec<u8>)> {
        let ecdh = if self.suite.key_exchange() == KeyExchange::EcdheEcdsa {
            Some(
                SignedServerKeyExchange::decode(&received.body)
                    .unwrap()
                    .ecdh,
            )
        } else {
            PskServerKeyExchange::decode(&received.body).unwrap().ecdh
        };
        ecdh.map(|ecdh| (Group::from_code(ecdh.group).unwrap(), ecdh.public.to_vec()))
    }

    /// The datagram that says this, under the next numbers.
    pub(crate) fn say(&mut self, piece: Piece) -> Vec<u8> {
        match piece {
            Piece::Certificate => {
                let chain = encode_chain(pki::device().chain());
                self.plain_message(HandshakeType::CERTIFICATE, &chain)
            }
            Piece::KeyExchange => self.key_exchange(),
            Piece::Verify => {
                let device = pki::device();
                let scheme = device.key().native_scheme();
                let signature = device.key().sign(scheme, self.transcript.messages());
                self.verify(scheme, &signature.unwrap())
            }
            Piece::ChangeCipherSpec => self.plain(ContentType::CHANGE_CIPHER_SPEC, &[1]),
            Piece::Finished => {
                let message = self.finished_message();
                self.sealed(ContentType::HANDSHAKE, &message)
            }
        }
    }

    pub(crate) fn verify(&mut self, scheme: SignatureScheme, signature: &[u8]) -> Vec<u8> {
        let body = DigitallySigned { scheme, signature }.encode();
        self.plain_message(HandshakeType::CERTIFICATE_VERIFY, &body)
    }

    /// A handshake message in plaintext that the transcript knows of.
    pub(crate) fn plain_message(&mut self, kind: HandshakeType, body: &[u8]) -> Vec<u8> {
        let message = message(kind, self.message_seq, body);
        self.message_seq = self.message_seq.wrapping_add(1);
        self.transcript.add(&message);
        self.plain(ContentType::HANDSHAKE, &message)
    }

    /// A record of epoch 0.
    pub(crate) fn plain(&mut self, content_type: ContentType, fragment: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        let header = RecordHeader::new(content_type, 0, self.sequence);
        self.sequence += 1;
        put_plain_record(header, fragment, &mut record);
        record
    }

    /// A record of epoch 1.
    pub(crate) fn sealed(&mut self, content_type: ContentType, content: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        self.secrets();
        let (_, protection) = self.secrets.as_mut().unwrap();
        protection.seal(content_type, content, &mut record).unwrap();
        record
    }

    fn key_exchange(&mut self) -> Vec<u8> {
        let point = self.server.as_ref().and_then(|server| server.point.clone());
        let (public, shared) = match &point {
            Some((group, theirs)) => {
                let ephemeral = EphemeralKey::generate(*group).unwrap();
                let public = ephemeral.public().to_vec();
                (Some(public), ephemeral.agree(theirs))
            }
            None => (None, None),
        };
        let body = if self.suite.key_exchange() == KeyExchange::EcdheEcdsa {
            encode_client_point(public.as_deref().unwrap())
        } else {
            PskClientKeyExchange {
                identity: IDENTITY,
                public: public.as_deref(),
            }
            .encode()
        };
        let datagram = self.plain_message(HandshakeType::CLIENT_KEY_EXCHANGE, &body);
        let premaster = match (self.suite.key_exchange(), shared) {
            (KeyExchange::EcdheEcdsa, Some(shared)) => PremasterSecret::ecdhe(shared),
            (_, Some(shared)) => PremasterSecret::ecdhe_psk(&shared, &self.key),
            (_, None) => PremasterSecret::psk(&self.key),
        };
        self.derive(&premaster);
        datagram
    }

    /// A Finished that is true to all that was said.
    pub(crate) fn finished_message(&mut self) -> Vec<u8> {
        self.secrets();
        let hash = self.transcript.hash();
        let (master_secret, _) = self.secrets.as_ref().unwrap();
        let verify_data = master_secret.verify_data(Side::Client, &hash);
        let message = message(HandshakeType::FINISHED, self.message_seq, &verify_data);
        self.message_seq += 1;
        self.transcript.add(&message);
        message
    }

    /// Without a key exchange there is the empty secret, which a confused server may have, too.
    fn secrets(&mut self) {
        if self.secrets.is_none() {
            self.derive(&PremasterSecret::psk(&Psk::from([].as_slice())));
        }
    }

    fn derive(&mut self, premaster: &PremasterSecret) {
        let server = self.server.as_ref().unwrap();
        let session_hash = self.transcript.hash();
        let master_secret = MasterSecret::extended(self.suite.hash(), premaster, &session_hash);
        let keys = master_secret.keys(self.suite.aead(), &self.random, &server.random);
        let protection = Protection::new(Side::Client, keys).with_connection_ids(server.ids);
        self.secrets = Some((master_secret, protection));
    }
}

const PIECES: [Piece; 5] = [
    Piece::Certificate,
    Piece::KeyExchange,
    Piece::Verify,
    Piece::ChangeCipherSpec,
    Piece::Finished,
];

/// All sequences of these pieces with 1 to `longest` of them.
pub(crate) fn sequences(longest: u32) -> impl Iterator<Item = Vec<Piece>> {
    (1..=longest).flat_map(|length| {
        (0..PIECES.len().pow(length)).map(move |mut number| {
            (0..length)
                .map(|_| {
                    let piece = PIECES[number % PIECES.len()];
                    number /= PIECES.len();
                    piece
                })
                .collect()
        })
    })
}

/// The whole messages in plaintext among these datagrams, from number `next` on.
pub(crate) fn messages(datagrams: &[Transmit], next: u16) -> Vec<Message> {
    let mut reassembler = Reassembler::new(next, Limits::default());
    for datagram in datagrams {
        let mut payload = datagram.payload.clone();
        let mut rest = payload.as_mut_slice();
        while let Ok(split) = split_first(rest, 0) {
            if split.header.epoch == 0 && split.header.content_type == ContentType::HANDSHAKE {
                for fragment in read_fragments(split.fragment) {
                    reassembler.insert(&fragment.unwrap()).unwrap();
                }
            }
            rest = split.rest;
        }
    }
    std::iter::from_fn(|| {
        let message = reassembler.peek()?;
        reassembler.advance();
        Some(message)
    })
    .collect()
}

//! One entry a parser for arbitrary bytes; called by `arbtest` under `cargo test`, and by coverage-guided runs by hand.
//!
//! None of these may panic; where something was decoded, encoding it anew must give the same bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::codec::alert::Alert;
use crate::codec::certificate::{
    CertificateRequest, DigitallySigned, SignatureScheme, SignedServerKeyExchange,
    certificate_public_key, decode_chain, encode_chain,
};
use crate::codec::der::element;
use crate::codec::extension::HelloExtensions;
use crate::codec::handshake::{Fragment, HandshakeHeader, HandshakeType, message, read_fragments};
use crate::codec::hello::{ClientHello, HelloVerifyRequest, ServerHello};
use crate::codec::key_exchange::{
    PskClientKeyExchange, PskServerKeyExchange, decode_client_point, encode_client_point,
};
use crate::codec::record::{
    ContentType, HEADER_LENGTH, RecordHeader, put_plain_record, split_first,
};
use crate::codec::ticket::NewSessionTicket;
use crate::codec::{ProtocolVersion, Reader};
use crate::config::Config;
use crate::connection_ids::ConnectionIds;
use crate::crypto::{CipherSuite, Psk, PublicKeyInfo};
use crate::event::Event;
use crate::identity::Identity;
use crate::reassembly::{Limits, Reassembler};
use crate::resumption::{Resumable, TicketKeys};
use crate::saved::{SaveKey, SavedSessions};
use crate::server::{Moment, Server};

/// The records of a datagram.
pub fn records(bytes: &[u8]) {
    for id_length in [0, 1, 8, 20] {
        let mut datagram = bytes.to_vec();
        let mut rest = datagram.as_mut_slice();
        let mut encoded = Vec::new();
        while let Ok(split) = split_first(rest, id_length) {
            put_plain_record(split.header, split.fragment, &mut encoded);
            rest = split.rest;
        }
        assert!(bytes.starts_with(&encoded));
    }
}

/// The bodies of all messages and of the alert.
pub fn messages(bytes: &[u8]) {
    if let Ok(hello) = ClientHello::decode(bytes) {
        let again = hello.encode();
        // An empty extensions block and none at all are the same to us.
        assert!(again == bytes || hello.extensions.is_empty());
        assert_eq!(
            hello.suites().count().saturating_mul(2),
            hello.cipher_suites.len()
        );
    }
    if let Ok(hello) = ServerHello::decode(bytes) {
        assert!(hello.encode() == bytes || hello.extensions.is_empty());
    }
    if let Ok(request) = HelloVerifyRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
    if let Ok(exchange) = PskServerKeyExchange::decode(bytes) {
        assert_eq!(exchange.encode(), bytes);
    }
    if let Ok(exchange) = PskClientKeyExchange::decode(bytes) {
        assert_eq!(exchange.encode(), bytes);
    }
    if let Ok(exchange) = SignedServerKeyExchange::decode(bytes) {
        assert_eq!(exchange.encode(), bytes);
    }
    if let Ok(point) = decode_client_point(bytes) {
        assert_eq!(encode_client_point(point), bytes);
    }
    if let Ok(chain) = decode_chain(bytes) {
        assert_eq!(encode_chain(&chain), bytes);
    }
    if let Ok(request) = CertificateRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
    if let Ok(signed) = DigitallySigned::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
    }
    if let Ok(ticket) = NewSessionTicket::decode(bytes) {
        assert_eq!(ticket.encode(), bytes);
    }
    if let Ok(alert) = Alert::decode(bytes) {
        assert_eq!(alert.encode(), bytes);
    }
    if let Ok(extensions) = HelloExtensions::decode(bytes) {
        let mut offered = Vec::new();
        extensions.encode_offer(&mut offered);
        if extensions.server_name != Some("") {
            assert_eq!(HelloExtensions::decode(&offered), Ok(extensions));
        }
    }
}

/// A certificate, and a key, both as DER and inside PEM.
pub fn certificates(bytes: &[u8]) {
    if let Ok(key) = certificate_public_key(bytes).and_then(PublicKeyInfo::from_der) {
        for scheme in SignatureScheme::ALL {
            assert!(key.verify_scheme(scheme, bytes, bytes).is_err());
        }
    }
    // A key and a certificate in the same bytes that fit each other: nobody finds these by chance.
    assert!(Identity::from_pem(bytes, bytes).is_err());
    let mut reader = Reader::new(bytes);
    while let Ok((_, content)) = element(&mut reader) {
        let mut inner = Reader::new(content);
        while element(&mut inner).is_ok() {}
    }
}

/// A ticket, and what would be in one.
pub fn tickets(bytes: &[u8]) {
    let keys = TicketKeys::new([1; 32], Some([2; 32]));
    assert!(keys.open(bytes).is_none());
    if let Ok(resumable) = Resumable::decode(bytes) {
        let mut encoded = Vec::new();
        resumable.encode(&mut encoded);
        assert_eq!(encoded, bytes);
    }
}

/// Saved sessions, sealed and as what would be sealed: whatever they say, the server that loads them lives on.
pub fn saved_sessions(at: Moment, bytes: &[u8]) {
    assert!(SaveKey::new([3; 32]).open(bytes.to_vec()).is_err());
    let mut server = Server::new(Config::default(), [0; 32]);
    let saved = SavedSessions::of(bytes);
    let loaded = server
        .load(at, &saved)
        .map_or(0, |loaded| loaded.sessions.len());
    assert_eq!(loaded, server.established());
    let again = server.save(at, |_| Some(Vec::new()));
    let mut other = Server::new(Config::default(), [0; 32]);
    let loaded_again = other.load(at, &again).map(|loaded| loaded.sessions.len());
    assert_eq!(loaded_again, Ok(loaded));
}

/// What would be sealed.
#[must_use]
pub fn content(saved: &SavedSessions) -> &[u8] {
    saved.content()
}

/// True content of saved sessions, cut off and changed at each place, as no tear could do it.
pub fn broken_saved_sessions(at: Moment, saved: &SavedSessions) {
    let content = saved.content();
    saved_sessions(at, content);
    for (length, byte) in content.iter().enumerate() {
        let whole = content.get(..length).unwrap_or_default();
        saved_sessions(at, whole);
        let rest = content.get(length..).unwrap_or_default().iter().skip(1);
        for change in [1, 0x80, 0xff] {
            let mut changed = whole.to_vec();
            changed.push(byte ^ change);
            changed.extend(rest.clone());
            saved_sessions(at, &changed);
        }
    }
}

/// Handshake fragments, as they stand in records, put together.
pub fn fragments(bytes: &[u8]) {
    let limits = Limits {
        messages: 4,
        bytes: 4096,
    };
    let mut reassembler = Reassembler::new(0, limits);
    for fragment in read_fragments(bytes).filter_map(Result::ok) {
        // Whether it is taken or not, what comes out must be whole.
        reassembler.insert(&fragment).unwrap_or(());
        while let Some(complete) = reassembler.peek() {
            assert!(complete.body.len() <= limits.bytes);
            let encoded = message(complete.message_type, complete.message_seq, &complete.body);
            let decoded = Fragment::decode(&mut Reader::new(&encoded));
            assert!(decoded.is_ok_and(|fragment| fragment.is_whole()));
            reassembler.advance();
        }
    }
}

/// A datagram for a server that knows nobody: it must answer with no more than it got, and keep nothing.
pub fn datagram(now: Instant, bytes: &[u8]) {
    let config = Config {
        connection_ids: ConnectionIds::new(8, 0, 0).ok(),
        ..Config::default()
    };
    let mut server = Server::new(config, [0; 32]);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5683));
    server.handle_datagram(now, peer, &mut bytes.to_vec());
    let mut answered = 0_usize;
    while let Some(transmit) = server.poll_transmit() {
        answered = answered.saturating_add(transmit.payload.len());
    }
    assert!(answered <= bytes.len());
    assert_eq!(server.poll_event(), None);
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.handshaking(), 0);
}

/// Where the id in a datagram was made, for every length that ids of ours can have.
pub fn connection_ids(bytes: &[u8]) {
    for length in 0..=u8::MAX {
        let route = ConnectionIds::new(length, 1, 2).map(|ids| ids.route(bytes));
        if let Ok(Some(route)) = route {
            assert_eq!(
                bytes.get(12..14),
                Some([route.node, route.shard].as_slice())
            );
        }
    }
}

/// Datagrams, each behind two bytes with its length, for a server in the middle of a handshake whose key nobody here has: they let
/// nobody in, and in time all is forgotten.
pub fn handshake(now: Instant, bytes: &[u8]) {
    let mut server = Server::new(Config::default(), [0; 32]);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5683));
    server.handle_datagram(now, peer, &mut hello(0, &[]));
    let asked = server.poll_transmit().map(|transmit| transmit.payload);
    let body = HEADER_LENGTH.saturating_add(HandshakeHeader::LENGTH)..;
    let body = asked.as_ref().and_then(|asked| asked.get(body));
    let request = HelloVerifyRequest::decode(body.unwrap_or_default());
    let cookie = request.map_or(&[][..], |request| request.cookie);
    server.handle_datagram(now, peer, &mut hello(1, cookie));
    assert_eq!(server.handshaking(), 1);
    let mut reader = Reader::new(bytes);
    while let Ok(datagram) = reader.vector16() {
        server.handle_datagram(now, peer, &mut datagram.to_vec());
        answer(&mut server, now);
    }
    let mut then = now;
    while let Some(due) = server.poll_timeout() {
        then = then.max(due);
        server.handle_timeout(then);
        answer(&mut server, then);
    }
    assert_eq!((server.handshaking(), server.established()), (0, 0));
}

fn answer(server: &mut Server, now: Instant) {
    while let Some(event) = server.poll_event() {
        assert!(!matches!(event, Event::Established { .. }));
        if let Event::PskRequested { association, .. } = event {
            let key = Psk::from(b"known to nobody".as_slice());
            server.provide_psk(now, association, Some(key));
        }
    }
    while server.poll_transmit().is_some() {}
}

/// A datagram with a hello for a pre-shared key.
fn hello(number: u16, cookie: &[u8]) -> Vec<u8> {
    let body = ClientHello {
        version: ProtocolVersion::DTLS_1_2,
        random: [7; 32],
        session_id: &[],
        cookie,
        cipher_suites: &CipherSuite::PskAes128Ccm8.code().to_be_bytes(),
        compression_methods: &[0],
        extensions: &[],
    }
    .encode();
    let mut datagram = Vec::new();
    let header = RecordHeader::new(ContentType::HANDSHAKE, 0, u64::from(number));
    let message = message(HandshakeType::CLIENT_HELLO, number, &body);
    put_plain_record(header, &message, &mut datagram);
    datagram
}

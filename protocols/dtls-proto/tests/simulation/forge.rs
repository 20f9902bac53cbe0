//! Hellos made by hand.

use dtls_proto::codec::ProtocolVersion;
use dtls_proto::codec::handshake::{HandshakeType, message, read_fragments};
use dtls_proto::codec::hello::{ClientHello, HelloVerifyRequest};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record, split_first};

use crate::pair::Pair;

/// Sends a ClientHello with these suites and extensions in the client's name, first without and then with the server's cookie.
pub(crate) fn forged_hello(pair: &mut Pair, suites: &[u16], extensions: &[u8]) {
    forged_hello_of(pair, suites, &[], extensions);
}

/// The same, with a session id.
pub(crate) fn forged_hello_of(
    pair: &mut Pair,
    suites: &[u16],
    session_id: &[u8],
    extensions: &[u8],
) {
    let cipher_suites: Vec<u8> = suites
        .iter()
        .flat_map(|suite| suite.to_be_bytes())
        .collect();
    let mut hello = ClientHello {
        version: ProtocolVersion::DTLS_1_2,
        random: [0x5a; 32],
        session_id,
        cookie: &[],
        cipher_suites: &cipher_suites,
        compression_methods: &[0],
        extensions,
    };
    pair.inject(&record(0, &hello.encode()));
    let mut answer = pair.from_server.last().unwrap().clone();
    let split = split_first(&mut answer, 0).unwrap();
    let fragment = read_fragments(split.fragment).next().unwrap().unwrap();
    let cookie = HelloVerifyRequest::decode(fragment.body)
        .unwrap()
        .cookie
        .to_vec();
    hello.cookie = &cookie;
    pair.inject(&record(1, &hello.encode()));
}

fn record(number: u16, hello: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let header = RecordHeader::new(ContentType::HANDSHAKE, 0, number.into());
    let message = message(HandshakeType::CLIENT_HELLO, number, hello);
    put_plain_record(header, &message, &mut record);
    record
}

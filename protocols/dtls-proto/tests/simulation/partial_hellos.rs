//! ClientHellos in several fragments (RFC 6347 §4.2.3).

use std::net::SocketAddr;
use std::time::Duration;

use dtls_client::Client;
use dtls_proto::codec::handshake::fragments;
use dtls_proto::codec::record::{
    ContentType, HEADER_LENGTH, RecordHeader, put_plain_record, split_first,
};
use dtls_proto::{Config, Server};

use crate::network::Weather;
use crate::pair::{Pair, client_config};

/// The records of a hello that is sent in fragments of at most `size` bytes.
fn cut(hello: &[u8], size: usize) -> Vec<Vec<u8>> {
    let pieces = fragments(&hello[HEADER_LENGTH..], size);
    let mut hello = hello.to_vec();
    let first = split_first(&mut hello, 0).unwrap().header.sequence;
    (first * 100..)
        .zip(pieces)
        .map(|(sequence, piece)| {
            let header = RecordHeader::new(ContentType::HANDSHAKE, 0, sequence);
            let mut record = Vec::new();
            put_plain_record(header, &piece, &mut record);
            record
        })
        .collect()
}

/// A client and a server, with the client's hellos passed on by hand.
struct Stage {
    pair: Pair,
    seen: usize,
}

impl Stage {
    fn new() -> Self {
        let mut client = client_config();
        client.server_name = Some("a-tenant-with-a-long-name.hub.example.com".to_owned());
        let mut pair = Pair::with(client, Config::default(), Weather::FINE, 0);
        // Nothing the client sends gets there by itself until it is established.
        pair.network.path_mtu = 0;
        Self { pair, seen: 0 }
    }

    /// The client's next hello.
    fn hello(&mut self) -> Vec<u8> {
        while self.pair.from_client.len() <= self.seen {
            self.pair.run_for(Duration::from_millis(500));
        }
        self.seen += 1;
        self.pair.from_client[self.seen - 1].clone()
    }

    /// Gives records to the server and its answers to the client; tells how many answers there are.
    fn give(&mut self, records: &[Vec<u8>]) -> usize {
        let before = self.pair.from_server.len();
        for record in records {
            self.pair.inject(record);
        }
        let answers = self.pair.from_server[before..].to_vec();
        for answer in &answers {
            let now = self.pair.now;
            self.pair.client.handle_datagram(now, &mut answer.clone());
        }
        self.pair.network.path_mtu = usize::MAX;
        self.pair.drain();
        self.pair.network.path_mtu = 0;
        answers.len()
    }

    fn is_established(&mut self) -> bool {
        self.pair.network.path_mtu = usize::MAX;
        self.pair.run_for(Duration::from_secs(1));
        self.pair.client.is_established()
    }
}

/// Symptom: a client whose hello has more than one fragment, as with a small MTU or a hybrid key
/// share, never got an answer. Cause: hellos in fragments were dropped.
#[test]
fn a_client_whose_hellos_come_in_fragments_is_served() {
    // How the first and the second hello are cut; a cookie can push the second one over the MTU.
    for (first, second) in [(36, 52), (1000, 52), (36, 1000), (60, 60), (52, 53)] {
        let mut stage = Stage::new();
        let hello = stage.hello();
        assert_eq!(stage.give(&cut(&hello, first)), 1, "{first} {second}");
        let hello = stage.hello();
        assert_eq!(stage.give(&cut(&hello, second)), 1, "{first} {second}");
        assert!(stage.is_established(), "{first} {second}");
        assert_eq!(stage.pair.server.partial_hellos(), 0);
    }
}

/// The first fragment tells who is there, so the others count only after it; what comes again later
/// fills the gaps.
#[test]
fn fragments_in_any_order_make_the_hello_when_they_come_again() {
    let mut stage = Stage::new();
    let hello = stage.hello();
    let mut records = cut(&hello, 52);
    records.reverse();
    assert_eq!(stage.give(&records), 1, "nothing is kept before the cookie");
    let hello = stage.hello();
    let mut records = cut(&hello, 52);
    records.reverse();
    assert!(records.len() > 2);
    assert_eq!(stage.give(&records), 0);
    assert_eq!(stage.pair.server.partial_hellos(), 1);
    assert_eq!(stage.give(&records[1..]), 0);
    assert_eq!(stage.give(&records), 1);
    assert!(stage.is_established());
}

#[test]
fn overlapping_and_doubled_fragments_make_the_hello() {
    let mut stage = Stage::new();
    let hello = stage.hello();
    stage.give(&cut(&hello, 70));
    let hello = stage.hello();
    let mut records = cut(&hello, 64);
    records.pop();
    records.extend(cut(&hello, 50));
    assert_eq!(stage.give(&records), 1);
    // Late copies find a handshake with the same random: its flight is sent again, nothing else.
    assert!(stage.give(&records) <= 1);
    assert!(stage.is_established());
    assert_eq!(stage.pair.server.statistics().handshakes_started, 1);
}

/// Without a good cookie nothing is kept and nothing larger is sent, whatever comes.
#[test]
fn fragments_from_strangers_leave_nothing() {
    let mut stage = Stage::new();
    let hello = stage.hello();
    let records = cut(&hello, 40);
    for port in 1..2000 {
        let from: SocketAddr = ([198, 51, 100, 1], port).into();
        let before = stage.pair.from_server.len();
        for record in &records {
            stage.pair.inject_from(from, record);
        }
        let answers = &stage.pair.from_server[before..];
        assert_eq!(answers.len(), 1);
        assert!(answers[0].len() <= records[0].len());
    }
    assert_eq!(stage.pair.server.partial_hellos(), 0);
    assert_eq!(stage.pair.server.handshaking(), 0);
    assert_eq!(stage.pair.server.poll_timeout(), None);
}

/// Strangers cannot undo what a client has begun, nor fill its gaps with another hello's.
#[test]
fn a_forged_fragment_does_not_keep_a_hello_from_being_whole() {
    let mut stage = Stage::new();
    let hello = stage.hello();
    stage.give(&cut(&hello, 52));
    let hello = stage.hello();
    let records = cut(&hello, 52);
    stage.give(&records[..1]);
    // Another hello of the same client's, without a cookie, and with a forged one.
    let other = Client::new(stage.pair.now, client_config())
        .unwrap()
        .poll_transmit()
        .unwrap();
    let mut forged = cut(&hello, 54);
    // A byte of the cookie: header, fragment header, version, random, session id, length.
    forged[0][HEADER_LENGTH + 12 + 2 + 32 + 1 + 1] ^= 1;
    for record in cut(&other, 54).into_iter().chain(forged.drain(..1)) {
        stage.pair.inject(&record);
    }
    assert_eq!(stage.pair.server.partial_hellos(), 1);
    assert_eq!(stage.give(&records[1..]), 1);
    assert!(stage.is_established());
}

/// Clients with good cookies that never send the rest fill a bounded table, in which others find
/// room.
#[test]
fn incomplete_hellos_are_bounded_and_expire() {
    let mut config = Config::default();
    config.max_partial_hellos = 10;
    let mut server = Server::new(config, [1; 32]);
    let now = crate::pair::start();
    let begin = |server: &mut Server, from: SocketAddr| {
        let mut client = Client::new(now, client_config()).unwrap();
        let mut hello = client.poll_transmit().unwrap();
        server.handle_datagram(now, from, &mut hello);
        let mut answer = server.poll_transmit().unwrap().payload;
        client.handle_datagram(now, &mut answer);
        let records = cut(&client.poll_transmit().unwrap(), 60);
        server.handle_datagram(now, from, &mut records[0].clone());
        assert_eq!(server.poll_transmit(), None);
        records
    };
    let victim: SocketAddr = ([203, 0, 113, 1], 1).into();
    let records = begin(&mut server, victim);
    for port in 1..100 {
        begin(&mut server, ([198, 51, 100, 1], port).into());
    }
    assert_eq!(server.partial_hellos(), 10);
    assert_eq!(server.statistics().partial_hellos_displaced, 90);
    for record in &records[1..] {
        server.handle_datagram(now, victim, &mut record.clone());
    }
    assert!(server.poll_transmit().is_some(), "the victim has its place");
    assert_eq!(server.statistics().reassembled_hellos, 1);
    server.handle_timeout(now + Duration::from_secs(9));
    assert_eq!(server.partial_hellos(), 0);
    assert_eq!(server.statistics().partial_hellos_expired, 9);
}

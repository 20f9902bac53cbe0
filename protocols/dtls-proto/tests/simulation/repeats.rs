//! What is sent again: a flight, an answer to a hello. Nobody may multiply it.

use std::time::Duration;

use dtls_client::Tickets;
use dtls_proto::codec::handshake::{HandshakeType, fragments, message};
use dtls_proto::codec::record::{ContentType, RecordHeader, put_plain_record};
use dtls_proto::{CipherSuite, Config, ConnectionIds, Resumption, TicketKeys};

use crate::forge::{forged_hello, forged_hello_of};
use crate::network::Weather;
use crate::pair::{Pair, client_config};

/// One record with these messages.
fn plain(messages: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    let header = RecordHeader::new(ContentType::HANDSHAKE, 0, 7);
    put_plain_record(header, messages, &mut record);
    record
}

/// Symptom: a datagram with 20 ClientHellos brought 20 HelloVerifyRequests, more bytes on the wire
/// than were sent. Cause: each ClientHello of a record was answered.
#[test]
fn a_datagram_with_many_hellos_gets_one_answer() {
    let mut pair = Pair::new();
    let hello = pair.from_client[0][13..].to_vec();
    for datagram in [plain(&hello.repeat(20)), plain(&hello).repeat(20)] {
        let before = pair.from_server.len();
        pair.inject(&datagram);
        assert_eq!(pair.from_server.len(), before + 1);
    }
    assert_eq!(pair.server.statistics().surplus_hellos, 38);
    // A client is served all the same.
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.is_established());
}

/// Symptom: 50 copies of one hello with a good cookie brought 50 flights. Cause: each copy had the
/// flight sent again at once.
#[test]
fn a_repeated_hello_brings_its_flight_once_in_a_timeout() {
    let mut pair = Pair::new();
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    let hello = pair.from_client[1].clone();
    let before = pair.from_server.len();
    for _ in 0..50 {
        pair.inject(&hello);
    }
    assert_eq!(pair.from_server.len(), before);
    pair.now += pair_timeout();
    for _ in 0..50 {
        pair.inject(&hello);
    }
    assert_eq!(pair.from_server.len(), before + 1);
}

fn pair_timeout() -> Duration {
    Config::default().retransmission_timeout
}

/// A pair with connection ids, a session, and a ticket in the last flight, before any data.
fn with_last_flight() -> Pair {
    let mut server = Config::default();
    server.connection_ids = ConnectionIds::new(8, 1, 2).ok();
    server.resumption = Resumption::default();
    server.resumption.tickets = Some(TicketKeys::new([5; 32], None));
    let mut client = client_config();
    client.connection_id = Some(Vec::new());
    client.tickets = Tickets::Wanted;
    let mut pair = Pair::with(client, server, Weather::FINE, 0);
    pair.run_for(Duration::from_millis(100));
    assert!(pair.client.is_established());
    pair
}

/// The client's next record of these handshake messages, which the network never sees.
fn sealed(pair: &mut Pair, messages: &[u8]) -> Vec<u8> {
    pair.client
        .send_record(ContentType::HANDSHAKE, messages)
        .unwrap();
    pair.client.poll_transmit().unwrap()
}

/// The message number of the client's Finished: two hellos and a ClientKeyExchange come before it.
const FINISHED_SEQ: u16 = 3;

/// The first fragments of a Finished, so many times, without a byte in them or with one.
fn pieces(message_seq: u16, size: usize, count: usize) -> Vec<u8> {
    let finished = message(HandshakeType::FINISHED, message_seq, &[7; 12]);
    let mut piece = finished[..12 + size].to_vec();
    piece[11] = u8::try_from(size).unwrap();
    piece.repeat(count)
}

/// Symptom: one record with 1,000 fragments of a Finished brought 1,000 last flights, 21 bytes for
/// one. Cause: each fragment of type Finished was taken for a retransmission, whatever its number.
#[test]
fn fragments_of_finished_bring_the_last_flight_once() {
    let mut pair = with_last_flight();
    let before = pair.from_server.len();
    for (number, size) in [(99, 0), (99, 1), (FINISHED_SEQ + 1, 12), (FINISHED_SEQ, 0)] {
        let record = sealed(&mut pair, &pieces(number, size, 600));
        pair.inject(&record);
        assert_eq!(pair.from_server.len(), before, "{number} {size}");
    }
    let record = sealed(&mut pair, &pieces(FINISHED_SEQ, 1, 1000));
    pair.inject(&record);
    assert_eq!(pair.from_server.len(), before + 1);
    // Several records in a datagram, several datagrams: not before the next time-out.
    for _ in 0..10 {
        let record = [1, 2].map(|_| sealed(&mut pair, &pieces(FINISHED_SEQ, 12, 10)));
        pair.inject(&record.concat());
    }
    assert_eq!(pair.from_server.len(), before + 1);
    assert!(pair.server.statistics().retransmissions_suppressed > 1_000);
    pair.now += pair_timeout();
    let record = [1, 2].map(|_| sealed(&mut pair, &pieces(FINISHED_SEQ, 12, 1)));
    pair.inject(&record.concat());
    assert_eq!(pair.from_server.len(), before + 2);
}

/// Symptom: the same record from another address made that address get the flights. Cause: the
/// record moves the session, and its answer went to where it had just moved to.
#[test]
fn a_record_that_moves_the_session_brings_no_flight() {
    let mut pair = with_last_flight();
    let before = pair.from_server.len();
    let record = sealed(&mut pair, &pieces(FINISHED_SEQ, 12, 1));
    pair.inject_from(([203, 0, 113, 77], 7777).into(), &record);
    assert_eq!(pair.from_server.len(), before);
    assert_eq!(pair.server.statistics().address_changes, 1);
}

/// Symptom: a record with 1,000 fragments of a ClientHello brought 779 warnings. Cause: each was
/// answered.
#[test]
fn many_hellos_in_a_session_get_one_warning() {
    let (mut pair, _) = Pair::established();
    let hello = message(HandshakeType::CLIENT_HELLO, 5, &[0; 40]);
    let piece = fragments(&hello, 1).first().unwrap().clone();
    let record = sealed(&mut pair, &piece.repeat(1000));
    let before = pair.from_server.len();
    pair.inject(&record);
    assert_eq!(pair.from_server.len(), before + 1);
    assert!(pair.client.is_established());
}

/// Symptom: a device that repeats its random after a reboot got no handshake any more. Cause: as long
/// as the session lived, a hello with the same first bytes counted as a late copy (RFC 6347 §4.2.8).
#[test]
fn a_client_whose_random_repeats_after_a_reboot_gets_a_handshake() {
    // After its first data the same hello is no late copy any more.
    let (mut pair, _) = Pair::established();
    pair.client.send(pair.now, b"data").unwrap();
    pair.run_for(Duration::from_secs(1));
    let hellos = pair.from_client[..2].to_vec();
    pair.inject(&hellos[1]);
    assert_eq!(pair.server.statistics().handshakes_started, 2);
    assert_eq!(pair.server.established(), 1);

    // Before, a copy is passed over, unless the client asks for a cookie, as it has rebooted.
    let (mut pair, _) = Pair::established();
    let hellos = pair.from_client[..2].to_vec();
    pair.inject(&hellos[1]);
    assert_eq!(pair.server.statistics().duplicate_hellos, 1);
    pair.inject(&hellos[0]);
    pair.inject(&hellos[1]);
    assert_eq!(pair.server.statistics().handshakes_started, 2);

    // And once the client does not send it again any more.
    let (mut pair, _) = Pair::established();
    let hellos = pair.from_client[..2].to_vec();
    pair.run_for(Duration::from_secs(62));
    pair.inject(&hellos[1]);
    assert_eq!(pair.server.statistics().handshakes_started, 2);
}

/// Symptom: after the flight of a resumption, a hello with the same random and without a session id
/// was answered with that flight. Cause: copies were recognised by their random alone.
#[test]
fn a_hello_with_the_same_random_and_another_session_id_is_no_copy() {
    let mut pair = Pair::new();
    let suites = [CipherSuite::PskAes128Ccm8.code()];
    forged_hello_of(&mut pair, &suites, &[9; 32], &[]);
    forged_hello(&mut pair, &suites, &[]);
    let statistics = pair.server.statistics();
    assert_eq!(statistics.handshakes_started, 2);
    assert_eq!(statistics.duplicate_hellos, 0);
}

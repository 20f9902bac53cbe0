//! What went wrong in other stacks, a test for each: its name says what must hold here, its comment what did not hold there.

use std::time::Duration;

use dtls_client::Client;
use dtls_proto::codec::certificate::SignedServerKeyExchange;
use dtls_proto::codec::connection_id::ConnectionId;
use dtls_proto::codec::handshake::{HandshakeHeader, HandshakeType, message};
use dtls_proto::codec::record::{
    ContentType, HEADER_LENGTH, MAX_PLAINTEXT, MAX_SEQUENCE, RecordHeader, put_plain_record,
};
use dtls_proto::{AlertDescription, Group, Psk, Transmit};

use crate::epochs::strange_records;
use crate::identifiers::{both_ways, with_ids};
use crate::peer::{Peer, Piece, SUITES, messages};
use crate::pki;
use crate::target::{Target, address};

const CERTIFIED: dtls_proto::CipherSuite = SUITES[2];

/// CVE-2022-39368 (Californium): handshakes that failed kept their place in a throttle; in the end it let nothing through, records of
/// established sessions included.
#[test]
fn failing_handshakes_give_their_places_back() {
    let mut config = pki::server_config();
    config.max_handshakes = 10;
    let mut target = Target::with(config);
    let mut friend = Peer::new(SUITES[0], address(1000));
    friend.shake(&mut target);
    for round in 1..=20_u64 {
        for number in 1..=6 {
            let mut peer = Peer::new(SUITES[0], address(number));
            peer.key = Psk::from(b"wrong".as_slice());
            peer.greet(&mut target);
            for piece in peer.good_order() {
                let datagram = peer.say(*piece);
                target.give(peer.address, &datagram);
            }
        }
        // Clients that have answered have three quarters of the places, of one prefix three quarters
        // of these.
        assert_eq!(target.server.handshaking(), 6);
        Peer::new(SUITES[0], address(11)).greet(&mut target);
        assert_eq!(target.server.handshaking(), 6);
        assert_eq!(target.server.statistics().handshakes_over_limit, round);
        both_ways(&mut friend, &mut target, b"still here");
        target.wait(Duration::from_secs(100));
        assert_eq!(target.server.handshaking(), 0);
    }
    for number in 1..=10 {
        Peer::new(SUITES[0], address(number)).greet(&mut target);
    }
    // A prefix has three quarters of the places.
    assert_eq!(target.server.handshaking(), 8);
    target.end_all();
}

/// CVE-2022-2576 (Californium): a resumption that did not match fell back to a full handshake without a cookie, so that a forged
/// address got a whole flight. `resumption::ids_and_tickets_of_nobody_lead_to_a_full_handshake_with_cookie` has tickets, too.
#[test]
fn a_hello_that_wants_to_resume_gets_no_more_than_a_cookie_request() {
    let mut config = pki::server_config();
    config.resumption.cached_sessions = 10;
    let mut target = Target::with(config);
    Peer::new(SUITES[0], address(1)).shake(&mut target);
    for suite in SUITES {
        for length in 0..=32 {
            let mut peer = Peer::new(suite, address(2));
            let hello = message(
                HandshakeType::CLIENT_HELLO,
                0,
                &peer.hello_body(&[9; 32][..length], &[]),
            );
            let hello = peer.plain(ContentType::HANDSHAKE, &hello);
            let answer = target.give(peer.address, &hello);
            assert_eq!(answer.len(), 1);
            assert!(answer[0].payload.len() <= hello.len());
            let kinds: Vec<_> = messages(&answer, 0)
                .iter()
                .map(|message| message.message_type)
                .collect();
            assert_eq!(kinds, [HandshakeType::HELLO_VERIFY_REQUEST]);
        }
    }
    assert_eq!(target.server.handshaking(), 0);
}

/// CVE-2021-34433 (Californium): a client took a ServerKeyExchange without a signature as if it had been proved whose it was.
#[test]
fn a_server_key_exchange_that_is_not_signed_is_refused_by_the_client() {
    for signature in [&[][..], &[0x30, 6, 2, 1, 0, 2, 1, 0]] {
        let mut target = Target::new();
        let config = dtls_client::Config::with_certificate(pki::device());
        let mut client = Client::new(target.now, config).unwrap();
        for _ in 0..2 {
            let hello = client.poll_transmit().unwrap();
            for answer in target.give(address(1), &hello) {
                let mut payload = changed(answer, signature);
                client.handle_datagram(target.now, &mut payload);
            }
        }
        assert!(client.is_closed());
        let said = client.poll_transmit().unwrap();
        assert_eq!(said[0], ContentType::ALERT.0);
        assert_eq!(client.poll_transmit(), None);
        assert_eq!(target.established, []);
    }
}

/// The flight with another signature in its ServerKeyExchange; all else stands.
fn changed(answer: Transmit, signature: &[u8]) -> Vec<u8> {
    let first = u16::from(answer.payload[HEADER_LENGTH] != 3);
    let mut payload = Vec::new();
    for (number, received) in messages(&[answer], first).into_iter().enumerate() {
        let mut body = received.body.clone();
        if received.message_type == HandshakeType::SERVER_KEY_EXCHANGE {
            let mut exchange = SignedServerKeyExchange::decode(&received.body).unwrap();
            exchange.signed.signature = signature;
            body = exchange.encode();
        }
        let header = RecordHeader::new(ContentType::HANDSHAKE, 0, u64::try_from(number).unwrap());
        let message = message(received.message_type, received.message_seq, &body);
        put_plain_record(header, &message, &mut payload);
    }
    payload
}

/// CVE-2020-27222 (Californium): after one certificate handshake had failed on its parameters, the server stuck in a wrong state, and
/// all that followed failed.
#[test]
fn a_certificate_handshake_that_fails_leaves_the_next_one_alone() {
    let mut config = pki::server_config();
    config.groups = vec![Group::X25519, Group::Secp256r1];
    let mut target = Target::with(config);
    let mut refused = 0;
    for from in [address(1), address(2)] {
        // No common curve, and each way to prove nothing.
        let mut config = dtls_client::Config::with_certificate(pki::device());
        config.groups = vec![Group::Secp384r1];
        assert!(!connects(&mut target, from, config));
        refused += 1;
        assert_eq!(target.server.statistics().handshakes_refused, refused);
        for mischief in [
            dtls_client::Mischief::EmptyChain,
            dtls_client::Mischief::EmptyCertificateVerify,
            dtls_client::Mischief::WrongCertificateVerify,
        ] {
            let mut config = dtls_client::Config::with_certificate(pki::device());
            config.mischief = mischief;
            assert!(!connects(&mut target, from, config), "{mischief:?}");
        }
        let config = dtls_client::Config::with_certificate(pki::device());
        assert!(connects(&mut target, from, config));
    }
    Peer::new(CERTIFIED, address(3)).shake(&mut target);
    target.end_all();
}

fn connects(target: &mut Target, from: std::net::SocketAddr, config: dtls_client::Config) -> bool {
    let mut client = Client::new(target.now, config).unwrap();
    while let Some(datagram) = client.poll_transmit() {
        for mut answer in target.give(from, &datagram) {
            client.handle_datagram(target.now, &mut answer.payload);
        }
    }
    client.is_established()
}

/// CVE-2022-29189 (Pion): fragments were held without a limit.
#[test]
fn fragments_and_early_records_of_one_peer_are_held_within_limits() {
    // Four records of a thousand bytes fit, or eight of none.
    for (length, held) in [(1_000, 4), (0, 8)] {
        for suite in SUITES {
            let mut target = Target::new();
            let mut peer = Peer::new(suite, address(1));
            peer.greet(&mut target);
            for number in 0..2_000_u16 {
                let begun = fragment(HandshakeType(99), 3 + number, 8_000, &[1; 10]);
                let record = peer.plain(ContentType::HANDSHAKE, &begun);
                target.give(peer.address, &record);
                let header = RecordHeader::new(ContentType::HANDSHAKE, 1, u64::from(number));
                let mut sealed = Vec::new();
                put_plain_record(header, &vec![5; length], &mut sealed);
                target.give(peer.address, &sealed);
            }
            let statistics = target.server.statistics();
            // One message of 8,000 bytes fits.
            assert_eq!(statistics.refused_fragments, 1_999);
            assert_eq!(statistics.early_records_dropped, 2_000 - held);
            assert_eq!(target.server.handshaking(), 1);
            target.end_all();
        }
    }
}

/// A fragment that begins a message of `length` bytes.
fn fragment(kind: HandshakeType, message_seq: u16, length: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    HandshakeHeader {
        message_type: kind,
        length,
        message_seq,
        fragment_offset: 0,
        fragment_length: u32::try_from(body.len()).unwrap(),
    }
    .encode(&mut out);
    out.extend_from_slice(body);
    out
}

/// CVE-2022-29190 (Pion): a fragment without content was looked at for ever.
#[test]
fn empty_fragments_end_no_loop_and_no_handshake() {
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        peer.greet(&mut target);
        for piece in peer.good_order() {
            let next = peer.message_seq;
            for number in next..next + 3 {
                // Of the true length, or the true message, empty, could never come.
                let empty = fragment(HandshakeType(0), number.wrapping_add(40), 4, &[]);
                let many = peer.plain(ContentType::HANDSHAKE, &empty.repeat(1_000));
                target.give(peer.address, &many);
            }
            let nothing = peer.plain(ContentType::HANDSHAKE, &[]);
            target.give(peer.address, &nothing);
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1, "{suite:?}");
        target.end_all();
    }
}

/// CVE-2022-29222 (Pion): a client that showed a certificate got in without a CertificateVerify.
#[test]
fn whoever_only_shows_a_certificate_is_not_let_in() {
    let mut target = Target::new();
    let mut peer = Peer::new(CERTIFIED, address(1));
    peer.greet(&mut target);
    for piece in [
        Piece::Certificate,
        Piece::KeyExchange,
        Piece::ChangeCipherSpec,
        Piece::Finished,
    ] {
        let datagram = peer.say(piece);
        target.give(peer.address, &datagram);
    }
    let data = peer.sealed(ContentType::APPLICATION_DATA, b"let me in");
    target.give(peer.address, &data);
    assert_eq!(target.established, []);
    assert_eq!(target.data, [] as [&[u8]; 0]);
    assert_eq!(target.requests, 0);
    target.end_all();
}

/// CVE-2019-20786 (Pion): application data in plaintext was delivered, whatever had been agreed on.
#[test]
fn data_in_plaintext_is_delivered_at_no_time() {
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        let mut count = 0;
        let mut inject = |peer: &mut Peer, target: &mut Target| {
            let datagram = peer.plain(ContentType::APPLICATION_DATA, b"not from the device");
            assert_eq!(target.give(peer.address, &datagram), []);
            count += 1;
            assert_eq!(target.server.statistics().early_application_data, count);
        };
        inject(&mut peer, &mut target);
        let hello = peer.hello(&[]);
        let answer = target.give(peer.address, &hello);
        inject(&mut peer, &mut target);
        let cookie = peer.cookie(&answer);
        let hello = peer.hello(&cookie);
        let flight = target.give(peer.address, &hello);
        peer.read_flight(&flight);
        for piece in peer.good_order() {
            inject(&mut peer, &mut target);
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1);
        inject(&mut peer, &mut target);
        assert_eq!(target.data, [] as [&[u8]; 0]);
        target.end_all();
    }
}

/// CVE-2021-42141 (tinydtls): a handshake was completed although its messages came under different epochs.
#[test]
fn a_message_under_a_wrong_epoch_does_not_count() {
    for suite in SUITES {
        let length = Peer::new(suite, address(1)).good_order().len();
        for place in 0..length {
            for epoch in [0, 1, 2, 3, 0xffff_u16] {
                let mut target = Target::new();
                let mut peer = Peer::new(suite, address(1));
                peer.greet(&mut target);
                let mut true_epoch = 0;
                for (index, piece) in peer.good_order().iter().enumerate() {
                    let mut datagram = peer.say(*piece);
                    if index == place {
                        true_epoch = u16::from_be_bytes([datagram[3], datagram[4]]);
                        datagram[3..5].copy_from_slice(&epoch.to_be_bytes());
                    }
                    target.give(peer.address, &datagram);
                }
                assert_eq!(
                    target.established.len(),
                    usize::from(epoch == true_epoch),
                    "{suite:?} {place} {epoch}"
                );
                target.end_all();
                Peer::new(suite, address(1)).shake(&mut target);
            }
        }
        // The hello, too.
        let mut target = Target::new();
        for epoch in [1, 2, 0xffff_u16] {
            let mut hello = Peer::new(suite, address(1)).hello(&[]);
            hello[3..5].copy_from_slice(&epoch.to_be_bytes());
            assert_eq!(target.give(address(1), &hello), []);
        }
    }
}

/// CVE-2021-42142 (tinydtls): one early record with a large epoch made the server drop all true ones after it.
#[test]
fn a_record_with_a_large_epoch_makes_no_true_record_old() {
    let strange = strange_records(&[0, 1, 2, 0x7fff, 0xffff], &[MAX_SEQUENCE]);
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        for record in &strange {
            target.give(peer.address, record);
        }
        peer.shake(&mut target);
        for number in 0..100_u8 {
            for record in &strange {
                target.give(peer.address, record);
            }
            both_ways(&mut peer, &mut target, &[number]);
        }
        assert_eq!(target.closed, []);
        target.end_all();
    }
}

/// CVE-2022-35409 (Mbed TLS): the lengths of session id and cookie were believed in a ClientHello that came from the address of a
/// live session, and up to 255 bytes behind the buffer read.
#[test]
fn a_hello_with_lying_lengths_at_the_address_of_a_session_is_survived() {
    const SESSION_ID: usize = HEADER_LENGTH + HandshakeHeader::LENGTH + 2 + 32;
    let mut target = Target::new();
    let mut friend = Peer::new(SUITES[0], address(1));
    friend.shake(&mut target);
    let hello = Peer::new(SUITES[0], address(1)).hello(&[]);
    for at in [SESSION_ID, SESSION_ID + 1] {
        for length in 0..=255 {
            for end in [at + 1, at + 2, hello.len() - 1, hello.len()] {
                let mut lying = hello[..end].to_vec();
                lying[at] = length;
                for place in [HEADER_LENGTH - 2, HEADER_LENGTH + 2, HEADER_LENGTH + 10] {
                    let headers = if place < HEADER_LENGTH {
                        0
                    } else {
                        HandshakeHeader::LENGTH
                    };
                    let rest = u16::try_from(end - HEADER_LENGTH - headers).unwrap();
                    lying[place..place + 2].copy_from_slice(&rest.to_be_bytes());
                }
                for answer in target.give(address(1), &lying) {
                    assert!(answer.payload.len() <= lying.len());
                }
                assert_eq!(target.server.handshaking(), 0);
            }
        }
    }
    both_ways(&mut friend, &mut target, b"still here");
    assert_eq!(target.closed, []);
    target.end_all();
}

/// CVE-2022-46393 (Mbed TLS): a record with a long id overran a buffer that was measured for a short one.
/// `connection_ids::ids_of_all_lengths_carry_data_both_ways` has short records.
#[test]
fn the_longest_record_fits_whatever_ids_are_around_it() {
    for ours in [0, 6, 7, 13, 20] {
        for theirs in [0, 1, 10, ConnectionId::MAX_LENGTH] {
            let mut target = Target::with(with_ids(ours));
            let mut peer = Peer::new(SUITES[0], address(1));
            peer.connection_id = Some(vec![3; theirs]);
            peer.shake(&mut target);
            for length in [0, 1, MAX_PLAINTEXT - 1, MAX_PLAINTEXT] {
                both_ways(&mut peer, &mut target, &vec![1; length]);
            }
            target.end_all();
        }
    }
}

/// CVE-2026-55950 (Erlang/OTP): a client that connected anew from its address in quick succession met its own remains in the
/// listener's table, and all sessions of the listener were lost.
#[test]
fn whoever_connects_anew_in_quick_succession_ends_no_session_but_its_own() {
    let mut target = Target::with(with_ids(8));
    let mut friends: Vec<_> = (2..5)
        .map(|number| {
            let mut peer = Peer::new(SUITES[0], address(number));
            peer.connection_id = (number == 3).then(Vec::new);
            peer.shake(&mut target);
            peer
        })
        .collect();
    let associations = target.established.clone();
    for round in 0..300_usize {
        // Some go all the way, some only say hello, some stop in between; no time passes.
        let mut peer = Peer::new(SUITES[0], address(1));
        peer.connection_id = (round % 2 == 0).then(Vec::new);
        peer.greet(&mut target);
        for piece in peer.good_order().iter().take(round % 4) {
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert!(target.server.handshaking() <= 1);
    }
    for (friend, association) in friends.iter_mut().zip(&associations) {
        let record = friend.sealed(ContentType::APPLICATION_DATA, b"still here");
        target.give(friend.address, &record);
        let sent = target.server.send(target.now, *association, b"so am I");
        assert_eq!(sent, Ok(()));
        assert_eq!(target.drain().len(), 1);
    }
    assert_eq!(target.data.len(), 3);
    target.end_all();
}

/// CVE-2016-2179 (OpenSSL): messages that came out of their order stayed in memory after the handshake they belonged to.
#[test]
fn messages_held_for_later_go_with_their_handshake() {
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        peer.greet(&mut target);
        let later = |peer: &mut Peer, target: &mut Target| {
            for number in 5..9 {
                let held = fragment(HandshakeType(99), number, 1_000, &[1; 20]);
                let record = peer.plain(ContentType::HANDSHAKE, &held);
                target.give(peer.address, &record);
            }
        };
        later(&mut peer, &mut target);
        for piece in peer.good_order() {
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1, "{suite:?}");
        // What held them is gone, and a session has nowhere to hold any.
        assert_eq!(target.server.handshaking(), 0);
        let unexpected = target.server.statistics().unexpected_messages;
        later(&mut peer, &mut target);
        let statistics = target.server.statistics();
        assert_eq!(statistics.unexpected_messages, unexpected + 4);
        target.end_all();
    }
}

/// CVE-2014-3506 (OpenSSL): room was made for as much as a message said that it had.
#[test]
fn for_a_message_that_claims_to_be_huge_no_room_is_made() {
    for suite in SUITES {
        let mut target = Target::new();
        let mut peer = Peer::new(suite, address(1));
        peer.greet(&mut target);
        let claims = [8_193, 0xffff, 0x10_0000, 0xff_ffff];
        for claim in claims {
            for kind in [11, 15, 16, 20] {
                let begun = fragment(HandshakeType(kind), peer.message_seq, claim, &[1]);
                let record = peer.plain(ContentType::HANDSHAKE, &begun);
                target.give(peer.address, &record);
            }
        }
        assert_eq!(target.server.statistics().refused_fragments, 16);
        for piece in peer.good_order() {
            let datagram = peer.say(*piece);
            target.give(peer.address, &datagram);
        }
        assert_eq!(target.established.len(), 1, "{suite:?}");
        let alert = [2, AlertDescription::DECRYPT_ERROR.0];
        let record = peer.sealed(ContentType::ALERT, &alert);
        target.give(peer.address, &record);
        assert_eq!(target.closed.len(), 1);
        target.established.clear();
        target.end_all();
    }
}

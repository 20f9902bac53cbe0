//! What hostile or forgetful clients can make the endpoint keep.

use fair_share::HolderHasher;

use super::*;

/// An endpoint with many peers, small limits, and nothing answered by the caller.
fn narrow() -> (Endpoint<u32>, Config) {
    let config = Config {
        max_block_transfers: 1000,
        max_block_transfers_per_peer: 4,
        max_block_bytes: 200_000,
        ..Config::default()
    };
    (Endpoint::new(config.clone(), 1), config)
}

fn within(endpoint: &Endpoint<u32>, config: &Config) {
    assert!(endpoint.transfers() <= config.max_block_transfers);
    assert!(endpoint.transfer_bytes() <= config.max_block_bytes);
}

fn last_code(endpoint: &mut Endpoint<u32>) -> Option<Code> {
    std::iter::from_fn(|| endpoint.poll_transmit())
        .last()
        .map(|transmit| Message::decode(&transmit.payload).unwrap().code)
}

#[test]
fn ten_thousand_uploads_at_a_time_stay_in_bounds() {
    let (mut endpoint, config) = narrow();
    let now = start();
    for round in 0..3 {
        for peer in 0..10_000 {
            let block1 = upload(round, block(round.into(), 1, 512), &body(512));
            endpoint.handle_datagram(now, &peer, &block1.encode().unwrap());
            within(&endpoint, &config);
        }
    }
    assert!(endpoint.statistics().evicted_transfers > 9_000);
    assert_eq!(
        last_code(&mut endpoint),
        Some(Code::REQUEST_ENTITY_INCOMPLETE)
    );
    endpoint.handle_timeout(now + SECOND * 300);
    assert_eq!((endpoint.transfers(), endpoint.transfer_bytes()), (0, 0));
    assert_eq!((endpoint.exchanges(), endpoint.poll_timeout()), (0, None));
}

#[test]
fn small_uploads_are_bounded_by_their_number() {
    let (mut endpoint, config) = narrow();
    for peer in 0..2_000 {
        let first = upload(1, block(0, 1, 16), &body(16));
        endpoint.handle_datagram(start(), &peer, &first.encode().unwrap());
        within(&endpoint, &config);
    }
    assert_eq!(endpoint.transfers(), config.max_block_transfers);
    assert_eq!(endpoint.statistics().evicted_transfers, 1_000);
}

#[test]
fn an_upload_that_goes_on_survives_a_flood_of_others_between_its_blocks() {
    let (mut endpoint, config) = narrow();
    let now = start();
    for num in 0..32 {
        let more = u8::from(num < 31);
        let block1 = upload(u16::try_from(num).unwrap(), block(num, more, 64), &body(64));
        endpoint.handle_datagram(now, &0, &block1.encode().unwrap());
        for peer in 1..200 {
            let other = upload(u16::try_from(num).unwrap(), block(0, 1, 512), &body(512));
            endpoint.handle_datagram(now, &(peer + 200 * num), &other.encode().unwrap());
        }
        within(&endpoint, &config);
    }
    let Some(Event::Request { request, .. }) = endpoint.poll_event() else {
        panic!("the upload comes through")
    };
    assert_eq!(request.payload().len(), 2048);
}

#[test]
fn a_peer_with_too_many_uploads_loses_its_own_oldest() {
    let (mut endpoint, _) = narrow();
    let now = start();
    let to = |name: u8, id, block1| {
        with_option(upload(id, block1, &body(16)), option::URI_QUERY, &[name])
    };
    let mut id = 0;
    let mut send = |peer, name, block1| {
        id += 1;
        endpoint.handle_datagram(now, &peer, &to(name, id, block1).encode().unwrap());
        last_code(&mut endpoint)
    };
    let (first, second) = (block(0, 1, 16), block(1, 1, 16));
    send(1, b'z', first);
    for name in b'a'..=b'd' {
        assert_eq!(send(0, name, first), Some(Code::CONTINUE));
    }
    assert_eq!(
        send(0, b'a', second),
        Some(Code::CONTINUE),
        "now the youngest"
    );
    assert_eq!(send(0, b'e', first), Some(Code::CONTINUE));
    assert_eq!(
        send(0, b'b', second),
        Some(Code::REQUEST_ENTITY_INCOMPLETE),
        "the oldest is gone"
    );
    assert_eq!(send(0, b'a', block(2, 1, 16)), Some(Code::CONTINUE));
    assert_eq!(
        send(1, b'z', second),
        Some(Code::CONTINUE),
        "of another peer"
    );
}

#[test]
fn an_upload_that_never_ends_takes_no_more_than_a_body() {
    let (mut endpoint, config) = narrow();
    let mut now = start();
    for round in 0..5_000_u32 {
        // empty blocks, full ones, jumps, changes of size: whatever keeps it alive
        let (num, size, length) = match round % 7 {
            0 => (0, 16, 16),
            1..=3 => (round % 7, 16, 16),
            4 => (0, 1024, 0),
            5 => (round, 32, 32),
            _ => (0, 512, 1024),
        };
        let id = u16::try_from(round).unwrap();
        let request = upload(id, block(num, 1, size), &body(length));
        endpoint.handle_datagram(now, &0, &request.encode().unwrap());
        assert!(endpoint.transfers() <= 1);
        assert!(endpoint.transfer_bytes() <= 2 * config.max_body + 512);
        now += SECOND;
        endpoint.handle_timeout(now);
    }
    assert_eq!(endpoint.poll_event(), None);
}

#[test]
fn kept_answers_are_bounded_too() {
    let (mut endpoint, config) = narrow();
    let now = start();
    for peer in 0..2_000 {
        endpoint.handle_datagram(now, &peer, &con(1).encode().unwrap());
        let Some(Event::Request { exchange, .. }) = endpoint.poll_event() else {
            panic!("a request")
        };
        endpoint.respond(now, exchange, changed().payload(body(1500)));
        within(&endpoint, &config);
    }
    for (peer, code) in [(0, Code::REQUEST_ENTITY_INCOMPLETE), (1_999, Code::CHANGED)] {
        endpoint.handle_datagram(now, &peer, &fetch(2, block(1, 0, 512)).encode().unwrap());
        assert_eq!(last_code(&mut endpoint), Some(code));
    }
}

#[test]
fn without_room_for_transfers_blocks_are_refused_and_nothing_breaks() {
    for config in [
        Config {
            max_block_transfers: 0,
            ..Config::default()
        },
        Config {
            max_block_transfers_per_peer: 0,
            ..Config::default()
        },
        Config {
            max_block_bytes: 100,
            ..Config::default()
        },
    ] {
        let mut server = Server::with(config);
        answer(&mut server, &upload(1, block(0, 1, 512), &body(512)));
        let second = answer(&mut server, &upload(2, block(1, 0, 512), b"x"));
        assert_eq!(second.code, Code::REQUEST_ENTITY_INCOMPLETE);
        let (exchange, _) = whole(&mut server, &con(3));
        assert_eq!(
            server.respond(exchange, changed().payload(body(1500)))[0].code,
            Code::INTERNAL_SERVER_ERROR
        );
        assert_eq!(server.endpoint.transfers(), 0);
    }
}

#[test]
fn nothing_is_left_of_a_forgotten_peers_transfers() {
    let mut server = Server::new();
    answer(&mut server, &upload(1, block(0, 1, 512), &body(512)));
    let (exchange, _) = whole(&mut server, &with_option(con(2), option::URI_QUERY, b"q"));
    server.respond(exchange, changed().payload(body(1500)));
    server.receive_from(
        1,
        &upload(1, block(0, 1, 512), &body(512)).encode().unwrap(),
    );
    assert_eq!(server.endpoint.transfers(), 3);
    server.endpoint.forget_peer(&0);
    assert_eq!(server.endpoint.transfers(), 1);
    server.endpoint.forget_peer(&1);
    assert!(server.is_empty());
}

/// One device with many sessions evicted the uploads of devices of other tenants, as only the age of
/// a transfer counted.
#[test]
fn a_holder_with_many_peers_evicts_its_own_transfers_only() {
    let hasher = HolderHasher::default();
    // By number and by bytes.
    for (max_block_transfers, max_block_bytes) in [(40, 1 << 20), (1000, 12_000)] {
        for (tenant, members) in [(1, 1), (2, 1), (2, 20)] {
            let mut endpoint = Endpoint::<u32>::new(
                Config {
                    max_block_transfers,
                    max_block_bytes,
                    ..Config::default()
                },
                1,
            );
            let mut send = |peer: u32, holder, id, block1| {
                let datagram = upload(id, block1, &body(64)).encode().unwrap();
                endpoint.handle_datagram_of(start(), &peer, Some(holder), usize::MAX, &datagram);
                last_code(&mut endpoint)
            };
            let victim = hasher.holder(&1, &"victim");
            assert_eq!(send(0, victim, 1, block(0, 1, 64)), Some(Code::CONTINUE));
            for peer in 1..400 {
                let attacker = hasher.holder(&tenant, &(peer % members));
                send(peer, attacker, 1, block(0, 1, 64));
            }
            assert_eq!(
                send(0, victim, 2, block(1, 1, 64)),
                Some(Code::CONTINUE),
                "{members} members of tenant {tenant}"
            );
        }
    }
}

//! What peers without a good cookie can do: nothing.

use std::net::SocketAddr;
use std::time::Duration;

use dtls_client::Client;
use dtls_proto::codec::Reader;
use dtls_proto::codec::handshake::Fragment;
use dtls_proto::codec::record::HEADER_LENGTH;
use dtls_proto::{Config, Server};

use crate::pair::{Pair, client_config, start};

fn address(number: u16) -> SocketAddr {
    ([198, 51, 100, 1], number).into()
}

/// A client's first datagram.
fn hello(config: dtls_client::Config) -> Vec<u8> {
    Client::new(start(), config)
        .unwrap()
        .poll_transmit()
        .unwrap()
}

#[test]
fn ten_thousand_hellos_without_cookie_keep_no_state() {
    let mut server = Server::new(Config::default(), [1; 32]);
    let now = start();
    let hello = hello(client_config());
    for number in 0..10_000 {
        server.handle_datagram(now, address(number), &mut hello.clone());
        let answer = server.poll_transmit().expect("a HelloVerifyRequest");
        assert!(answer.payload.len() <= hello.len());
        assert_eq!(server.poll_transmit(), None);
    }
    assert_eq!(server.handshaking(), 0);
    assert_eq!(server.established(), 0);
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.poll_event(), None);
    assert_eq!(server.statistics().cookies_sent, 10_000);
}

#[test]
fn a_cookie_is_worth_nothing_at_another_address() {
    let mut pair = Pair::new();
    while pair.server.handshaking() == 0 {
        pair.run_for(Duration::from_millis(1));
    }
    let mut stolen = pair.from_client[1].clone();
    let length = stolen.len();
    pair.server
        .handle_datagram(pair.now, address(1), &mut stolen);
    assert_eq!(pair.server.handshaking(), 1);
    assert_eq!(pair.server.statistics().bad_cookies, 1);
    let answer = pair.server.poll_transmit().unwrap();
    assert!(answer.payload.len() <= length);
}

#[test]
fn a_cookie_grows_old() {
    let mut pair = Pair::new();
    while pair.from_client.len() < 2 {
        pair.run_for(Duration::from_millis(1));
    }
    pair.now += Duration::from_secs(180);
    let hello = pair.from_client[1].clone();
    pair.inject(&hello);
    assert_eq!(pair.server.handshaking(), 0);
    assert_eq!(pair.server.statistics().bad_cookies, 1);
}

#[test]
fn the_shortest_hello_is_longer_than_what_it_gets() {
    let mut config = client_config();
    config.suites.truncate(1);
    config.master_secret = dtls_client::MasterSecretKind::Plain;
    let hello = hello(config);
    assert!(
        Fragment::decode(&mut Reader::new(&hello[HEADER_LENGTH..]))
            .unwrap()
            .is_whole()
    );
    let mut server = Server::new(Config::default(), [1; 32]);
    server.handle_datagram(start(), address(1), &mut hello.clone());
    assert!(server.poll_transmit().unwrap().payload.len() < hello.len());
}

#[test]
fn anything_but_a_hello_from_a_stranger_gets_no_answer() {
    let (pair, _) = Pair::established();
    let mut server = Server::new(Config::default(), [1; 32]);
    // All but the two ClientHellos.
    for datagram in pair.from_client.iter().skip(2).chain(&pair.from_server) {
        server.handle_datagram(start(), address(1), &mut datagram.clone());
        assert_eq!(server.poll_transmit(), None);
    }
    assert!(server.statistics().no_association > 0);
}

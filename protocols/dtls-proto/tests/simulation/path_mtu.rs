//! Paths that lose datagrams above a size, as IPv4 paths below an MTU of 1260 do.

use std::net::SocketAddr;
use std::time::Duration;

use dtls_proto::{Config, Server};

use crate::network::Weather;
use crate::pair::{Pair, client_config};
use crate::pki;

/// A client with a certificate whose own flights are small.
fn certified() -> Pair {
    let mut client = dtls_client::Config::with_certificate(pki::device());
    client.mtu = 500;
    Pair::with(client, pki::server_config(), Weather::FINE, 0)
}

fn largest(datagrams: &[Vec<u8>]) -> usize {
    datagrams.iter().map(Vec::len).max().unwrap_or_default()
}

/// Symptom: no session, ever, for a device with a certificate behind an IPv4 path MTU of 576.
/// Cause: each repetition of the server's flight had the size of the first one.
#[test]
fn a_flight_that_got_lost_twice_is_sent_in_small_datagrams() {
    let mut pair = certified();
    pair.network.path_mtu = 548;
    pair.run_for(Duration::from_secs(60));
    assert!(pair.client.is_established());
    assert!(largest(&pair.from_server) > 548, "the first ones are large");

    // A caller that knows better says so.
    let mut server = pki::server_config();
    server.reduced_mtu_ipv4 = 300;
    let mut client = dtls_client::Config::with_certificate(pki::device());
    client.mtu = 300;
    let mut pair = Pair::with(client, server, Weather::FINE, 0);
    pair.network.path_mtu = 300;
    pair.run_for(Duration::from_secs(60));
    assert!(pair.client.is_established());
}

/// No IPv6 path is narrower than 1280, so there smaller datagrams would only be more of them.
#[test]
fn a_flight_over_ipv6_keeps_its_size() {
    for (address, small) in [
        ("[2001:db8::1]:4000", false),
        ("[::ffff:192.0.2.1]:4000", true),
    ] {
        let mut pair = certified();
        pair.address = address.parse::<SocketAddr>().unwrap();
        pair.network.path_mtu = 548;
        pair.run_for(Duration::from_secs(60));
        assert_eq!(pair.client.is_established(), small, "{address}");
    }
}

/// A report of the network (EMSGSIZE) takes effect at once: no timer has to pass first.
#[test]
fn a_reported_path_mtu_repeats_the_flight_in_smaller_datagrams_at_once() {
    let mut client = dtls_client::Config::with_certificate(pki::device());
    client.mtu = 400;
    let mut pair = Pair::with(client, pki::server_config(), Weather::FINE, 0);
    pair.network.path_mtu = 400;
    pair.run_for(Duration::from_millis(100));
    assert!(!pair.client.is_established());
    let (address, before) = (pair.address, pair.from_server.len());
    pair.server.set_path_mtu(address, 400);
    pair.run_for(Duration::from_millis(100));
    assert!(pair.client.is_established());
    assert!(largest(&pair.from_server[before..]) <= 400);
    // The same news again brings no second flight.
    let after = pair.from_server.len();
    pair.server.set_path_mtu(address, 400);
    pair.run_for(Duration::from_millis(100));
    assert_eq!(pair.from_server.len(), after);
}

/// What one record may carry follows the path, down to a floor that no forged report undercuts.
#[test]
fn the_payload_that_fits_sinks_with_the_path_mtu() {
    let mut pair = Pair::with(client_config(), Config::default(), Weather::FINE, 0);
    pair.run_for(Duration::from_secs(1));
    let (association, address) = (pair.association().unwrap(), pair.address);
    assert_eq!(pair.server.max_payload(association), Some(16_384));
    pair.server.set_path_mtu(address, 548);
    // 13 of the header, 8 of the nonce, 8 of the tag.
    assert_eq!(pair.server.max_payload(association), Some(548 - 29));
    pair.server.set_path_mtu(address, 1232);
    assert_eq!(pair.server.max_payload(association), Some(548 - 29));
    pair.server.set_path_mtu(address, 0);
    let floor = Server::MIN_PATH_MTU - 29;
    assert_eq!(pair.server.max_payload(association), Some(floor));
    pair.server.close(pair.now, association);
    assert_eq!(pair.server.max_payload(association), None);
}

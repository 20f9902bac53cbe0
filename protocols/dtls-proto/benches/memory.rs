//! What an idle session takes of the heap, tables included, principals not.
//!
//! `cargo bench -p dtls-proto --bench memory`; the allocator counts every byte asked for and given back.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a bench needs a clock")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::alloc::System;
use std::net::SocketAddr;
use std::time::Instant;

use dtls_client::Client;
use dtls_proto::{CipherSuite, Config, ConnectionIds, Event, Psk, Server};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEY: &[u8] = b"a key of a device";

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let count = if test { 200 } else { 100_000 };
    println!(
        "{:<36} {:>14} {:>14}",
        format!("bytes a session of {count}"),
        "after Finished",
        "after data"
    );
    for (name, id) in [
        ("without connection ids", None),
        ("with connection ids", Some(4)),
    ] {
        let (finished, data) = sessions(count, id);
        println!("{name:<36} {finished:>14} {data:>14}");
    }
}

/// Bytes a session when the last flight may still be asked for, and when the client has sent data.
fn sessions(count: u32, id_length: Option<usize>) -> (usize, usize) {
    let mut client = dtls_client::Config::new("sensor1@DEFAULT_TENANT", KEY);
    client.suites = vec![CipherSuite::PskAes128Ccm8];
    client.connection_id = id_length.map(|length| vec![1; length]);
    let mut config = Config::default();
    config.connection_ids = ConnectionIds::new(8, 0, 0).ok();
    let now = Instant::now();
    let mut server = Server::new(config, [7; 32]);
    // What handshakes need in passing is there before the first count.
    let warm = count / 100;
    for number in 0..warm {
        shake(&mut server, now, &client, address(number));
    }
    let before = live();
    let mut records = Vec::new();
    for number in warm..count {
        let mut client = shake(&mut server, now, &client, address(number));
        client.send(now, b"20.5").unwrap();
        records.push((address(number), client.poll_transmit().unwrap()));
    }
    let theirs: usize = records.iter().map(|(_, record)| record.capacity()).sum();
    let theirs = theirs + records.capacity() * size_of::<(SocketAddr, Vec<u8>)>();
    let sessions = records.len();
    let finished = (live() - before - theirs) / sessions;
    for (address, record) in &mut records {
        server.handle_datagram(now, *address, record);
        while server.poll_event().is_some() {}
    }
    assert_eq!(server.established(), usize::try_from(count).unwrap());
    (finished, (live() - before - theirs) / sessions)
}

fn shake(
    server: &mut Server,
    now: Instant,
    config: &dtls_client::Config,
    address: SocketAddr,
) -> Client {
    let mut client = Client::new(now, config.clone()).unwrap();
    while let Some(mut datagram) = client.poll_transmit() {
        server.handle_datagram(now, address, &mut datagram);
        while let Some(event) = server.poll_event() {
            if let Event::PskRequested { association, .. } = event {
                server.provide_psk(now, association, Some(Psk::from(KEY)));
            }
        }
        while let Some(mut sent) = server.poll_transmit() {
            client.handle_datagram(now, &mut sent.payload);
        }
    }
    assert!(client.is_established());
    client
}

fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 5684).into()
}

/// Bytes asked for and not given back.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

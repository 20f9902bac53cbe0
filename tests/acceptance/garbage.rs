//! Whatever bytes come, they are dropped, and everybody else is served as before.

use std::net::SocketAddr;

use dtls_client::{Client, Config};
use sandbox::{device::Device, northbound::Behaviour};
use tokio::net::UdpSocket;

use crate::scene::{A_WHILE, application, device, is_served, stand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_both_ports_disturbs_nobody() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    for port in [stand.coaps(), stand.coap()] {
        for datagrams in [noise(), records(), handshakes()] {
            send(port, &datagrams).await;
            is_served(&mut known, &mut application, "still there").await;
            let mut newcomer = device(&stand, "sensor").await;
            is_served(&mut newcomer, &mut application, "new").await;
            newcomer.close().await;
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// What comes inside a session is a CoAP message or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_a_session_does_not_end_it() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    for datagram in noise()
        .iter()
        .filter(|datagram| !datagram.is_empty() && datagram.len() < 1500)
    {
        known.send_raw(datagram).await.unwrap();
    }
    is_served(&mut known, &mut application, "still there").await;
    stand.stop().await;
}

/// A datagram larger than any message may be is not answered (spec: observed §4), and the next one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_datagram_is_dropped() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    let mut plain = Device::plain(stand.coap()).await.unwrap();
    plain.send_raw(&[0xff; 60_000]).await.unwrap();
    assert_eq!(plain.receive(A_WHILE).await.unwrap(), None);
    is_served(&mut known, &mut application, "still there").await;
    stand.stop().await;
}

async fn send(server: SocketAddr, datagrams: &[Vec<u8>]) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    for datagram in datagrams {
        socket.send_to(datagram, server).await.unwrap();
    }
}

/// Bytes of no meaning in many lengths.
fn noise() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut byte = || {
        // Marsaglia's xorshift: the same bytes in each run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..500)
        .map(|number| (0..number % 200).map(|_| byte()).collect())
        .collect()
}

/// Records of every type, in versions and epochs that are none, cut off and too long.
fn records() -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    for kind in [0, 20, 21, 22, 23, 24, 25, 26, 64, 255] {
        for version in [
            [0xfe, 0xfd],
            [0xfe, 0xff],
            [0xfe, 0xfc],
            [0x03, 0x03],
            [0, 0],
        ] {
            for epoch in [[0, 0], [0, 1], [0xff, 0xff]] {
                for length in [[0, 0], [0, 8], [0xff, 0xff]] {
                    let header =
                        [&[kind], &version[..], &epoch, &[0, 0, 0, 0, 0, 9], &length].concat();
                    datagrams.push([header.as_slice(), &[1; 8]].concat());
                    datagrams.push(header);
                }
            }
        }
    }
    datagrams
}

/// Handshake messages out of place: a hello with a false cookie, cut at every length, and messages that nobody waits for.
fn handshakes() -> Vec<Vec<u8>> {
    let mut client = Client::new(std::time::Instant::now(), Config::new("sensor@T", b"k")).unwrap();
    let hello = client.poll_transmit().unwrap();
    let mut datagrams: Vec<Vec<u8>> = (0..hello.len())
        .map(|length| hello[..length].to_vec())
        .collect();
    for kind in [0, 2, 3, 4, 11, 12, 14, 16, 20, 99] {
        let mut other = hello.clone();
        other[13] = kind;
        datagrams.push(other);
    }
    datagrams
}

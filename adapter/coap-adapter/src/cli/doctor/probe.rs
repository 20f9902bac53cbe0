//! Whether a port that is silent speaks the other protocol: DTLS instead of plain CoAP, or the other
//! way round.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coap_client::Device;
use dtls_client::{Client, Config};

/// Whether a `ClientHello` without cookie is answered, as any DTLS server does (RFC 6347 §4.2.1).
pub(super) async fn speaks_dtls(address: SocketAddr) -> bool {
    let Ok(mut client) = Client::new(Instant::now(), Config::new("doctor", b"doctor")) else {
        return false;
    };
    let hello = std::iter::from_fn(|| client.poll_transmit()).collect();
    let answer = exchange(address, hello).await;
    let is_dtls = |answer: &[u8]| matches!(answer, [ALERT | HANDSHAKE, 0xfe, 0xfd | 0xff, ..]);
    answer.is_some_and(|answer| is_dtls(&answer))
}

/// Whether an empty confirmable message is answered by a Reset, as any CoAP server does (RFC 7252
/// §4.3).
pub(super) async fn speaks_plain_coap(address: SocketAddr) -> bool {
    let answer = exchange(address, vec![PING.to_vec()]).await;
    answer.is_some_and(|answer| answer == RESET)
}

async fn exchange(address: SocketAddr, datagrams: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let mut device = Device::plain(address).await.ok()?;
    for datagram in datagrams {
        device.send_raw(&datagram).await.ok()?;
    }
    device.receive(WITHIN).await.ok()?
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const PING: [u8; 4] = [0x40, 0, 0x4d, 0x49];
const RESET: [u8; 4] = [0x70, 0, 0x4d, 0x49];
const WITHIN: Duration = Duration::from_secs(2);

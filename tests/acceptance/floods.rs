//! A flood of beginnings of handshakes costs no memory and keeps nobody out.

use std::{net::SocketAddr, time::Duration};

use dtls_client::{Client, Config};
use sandbox::northbound::Behaviour;
use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

use crate::scene::{SOON, application, device, is_served, stand};

const HELLOS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_served_while_ten_thousand_hellos_without_a_cookie_come() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut known = device(&stand, "sensor").await;
    let flood: JoinHandle<usize> = tokio::spawn(send_hellos(stand.coaps()));
    let mut served = 0;
    while !flood.is_finished() || served < 10 {
        is_served(&mut known, &mut application, "still there").await;
        let mut newcomer = device(&stand, "sensor").await;
        is_served(&mut newcomer, &mut application, "new").await;
        newcomer.close().await;
        served += 1;
    }
    let answers = flood.await.unwrap();
    assert!(answers > 0, "no hello was answered, so they did not arrive");
    stand.stop().await;
}

/// Sends them from ten ports and counts the answers, each of which must be smaller than what it answers.
async fn send_hellos(server: SocketAddr) -> usize {
    let hello = hello();
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        sockets.push(socket);
    }
    let (mut answers, mut buffer) = (0, [0; 2048]);
    for number in 0..HELLOS {
        let socket = &sockets[number % sockets.len()];
        let mut datagram = hello.clone();
        // The random of each is another: behind the headers of record and handshake and the version.
        datagram[27..31].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        socket.send(&datagram).await.unwrap();
        while let Ok(length) = socket.try_recv(&mut buffer) {
            answers += 1;
            assert_eq!(buffer[13], HELLO_VERIFY_REQUEST);
            assert!(
                length < hello.len(),
                "{length} bytes answer {}",
                hello.len()
            );
        }
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while let Ok(Ok(_)) = timeout(Duration::from_millis(100), sockets[0].recv(&mut buffer)).await {
        answers += 1;
    }
    answers
}

/// A first `ClientHello`, as a device sends it.
fn hello() -> Vec<u8> {
    let mut client = Client::new(std::time::Instant::now(), Config::new("sensor@T", b"k")).unwrap();
    client.poll_transmit().unwrap()
}

/// RFC 6347 §4.3.2.
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Who begins and does not go on is forgotten, and is in nobody's way meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_keep_nobody_waiting() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut half_open = Vec::new();
    for _ in 0..200 {
        half_open.push(begin(stand.coaps()).await);
    }
    let mut newcomer = device(&stand, "sensor").await;
    is_served(&mut newcomer, &mut application, "served").await;
    drop(half_open);
    stand.stop().await;
}

/// Answers the cookie, and nothing after it.
async fn begin(server: SocketAddr) -> (UdpSocket, Client) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    let now = std::time::Instant::now();
    let mut client = Client::new(now, Config::new("sensor@T", b"k")).unwrap();
    let mut buffer = [0; 2048];
    socket.send(&client.poll_transmit().unwrap()).await.unwrap();
    let length = timeout(SOON, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    client.handle_datagram(now, &mut buffer[..length]);
    socket.send(&client.poll_transmit().unwrap()).await.unwrap();
    (socket, client)
}

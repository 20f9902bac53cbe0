//! This engine as a server: a loop round one socket.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls_proto::{Config, Event, Identity, Psk, Server, Verdict};

use crate::KEY;

/// Sends back what it gets, until it is ended.
pub(crate) fn serve(port: u16, pem: &str) {
    let mut config = Config::default();
    if pem != "-" {
        let pem = std::fs::read(pem).unwrap();
        config.identity = Some(Arc::new(Identity::from_pem(&pem, &pem).unwrap()));
    }
    let mut server = Server::new(config, [42; 32]);
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    println!("listening");
    let mut buffer = [0; 2048];
    loop {
        let received = socket.recv_from(&mut buffer);
        let now = Instant::now();
        if let Ok((length, peer)) = received {
            server.handle_datagram(now, peer, &mut buffer[..length]);
        }
        if server.poll_timeout().is_some_and(|due| due <= now) {
            server.handle_timeout(now);
        }
        while let Some(event) = server.poll_event() {
            match event {
                Event::PskRequested { association, .. } => {
                    server.provide_psk(now, association, Some(Psk::from(KEY)));
                }
                Event::VerdictRequested { association, .. } => {
                    server.provide_verdict(now, association, Verdict::Accepted);
                }
                Event::ApplicationData {
                    association, data, ..
                } => server.send(now, association, &data).unwrap(),
                _ => {}
            }
        }
        while let Some(transmit) = server.poll_transmit() {
            socket.send_to(&transmit.payload, transmit.peer).unwrap();
        }
    }
}

//! The client against an independent server: `openssl s_server`, over real sockets on loopback.
//!
//! Skipped, loudly, where `openssl` is missing.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "here the core meets a real peer, so somebody must own a socket and a clock"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dtls_client::{CipherSuite, Client, CloseReason, Config, Event};

#[test]
fn openssl_is_greeted_with_ccm_8() {
    converse(CipherSuite::PskAes128Ccm8, &[]);
}

#[test]
fn openssl_is_greeted_with_ccm() {
    converse(CipherSuite::PskAes128Ccm, &[]);
}

#[test]
fn openssl_is_greeted_with_gcm() {
    converse(CipherSuite::PskAes128GcmSha256, &[]);
}

#[test]
fn openssl_is_greeted_with_long_keys() {
    for suite in [
        CipherSuite::PskAes256Ccm8,
        CipherSuite::PskAes256Ccm,
        CipherSuite::PskAes256GcmSha384,
    ] {
        converse(suite, &[]);
    }
}

#[test]
fn openssl_that_gives_a_hint_is_greeted() {
    converse(CipherSuite::PskAes128Ccm8, &["-psk_hint", "who are you"]);
}

/// Shakes hands, sends a line each way, and takes leave.
fn converse(suite: CipherSuite, options: &[&str]) {
    let Some(mut server) = Server::start(options) else {
        return;
    };
    let mut config = Config::new("sensor1@DEFAULT_TENANT", b"secret1");
    config.suites = vec![suite];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", server.port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let mut client = Client::new(Instant::now(), config).unwrap();

    assert_eq!(
        next_event(&socket, &mut client),
        Event::Established { suite }
    );
    client.send(Instant::now(), b"from the client\n").unwrap();
    drive(&socket, &mut client);
    server.wait_for("from the client");
    writeln!(server.process.stdin.as_mut().unwrap(), "from the server").unwrap();
    assert_eq!(
        next_event(&socket, &mut client),
        Event::ApplicationData(b"from the server\n".to_vec())
    );
    client.close(Instant::now());
    assert_eq!(
        next_event(&socket, &mut client),
        Event::Closed(CloseReason::Local)
    );
    server.wait_for("DONE");
}

fn next_event(socket: &UdpSocket, client: &mut Client) -> Event {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        drive(socket, client);
        if let Some(event) = client.poll_event() {
            return event;
        }
    }
    panic!("nothing happened to {client:?}");
}

fn drive(socket: &UdpSocket, client: &mut Client) {
    client.handle_timeout(Instant::now());
    while let Some(payload) = client.poll_transmit() {
        // A server that isn't up yet refuses; the flight is sent again.
        let _refused = socket.send(&payload);
    }
    let mut buffer = [0; 2048];
    if let Ok(length) = socket.recv(&mut buffer) {
        client.handle_datagram(Instant::now(), &mut buffer[..length]);
    }
}

/// A running `openssl s_server`.
struct Server {
    process: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Server {
    fn start(options: &[&str]) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED: this test needs openssl (Debian: apt-get install openssl)");
            return None;
        }
        // A port that was free a moment ago.
        let port = {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.local_addr().unwrap().port()
        };
        let mut process = Command::new("openssl")
            .args(["s_server", "-dtls1_2", "-nocert"])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .args(["-psk", "73656372657431"])
            .args(["-psk_identity", "sensor1@DEFAULT_TENANT"])
            .args(["-cipher", "PSK:@SECLEVEL=0"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = process.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Some(Self {
            process,
            lines,
            port,
        })
    }

    fn wait_for(&self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20)).unwrap();
            if line.contains(text) {
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

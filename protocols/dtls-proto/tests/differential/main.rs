//! The same sequences of messages given to this server and to OpenSSL's: whom OpenSSL lets in is let in here, and nobody else, but for
//! the place of ChangeCipherSpec, which has no number and may be overtaken.
//!
//! Not part of a plain `cargo test`, as `cargo xtask interop` installs what OpenSSL's server is compiled with.
#![expect(
    clippy::disallowed_types,
    reason = "OpenSSL's server is met at a socket"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../simulation/pki.rs"]
#[expect(dead_code, reason = "the simulation uses all of it")]
mod pki;
#[path = "../adversary/target.rs"]
#[expect(dead_code, reason = "the adversary uses all of it")]
mod target;
#[path = "../adversary/peer.rs"]
#[expect(dead_code, reason = "the adversary uses all of it")]
mod peer;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dtls_proto::codec::record::ContentType;
use dtls_proto::{AlertDescription, CipherSuite, Transmit};

use crate::peer::{Peer, Piece, SUITES, sequences};
use crate::target::{Target, address};

#[test]
fn openssl_and_we_let_in_the_same_but_for_an_overtaken_change_cipher_spec() {
    for (suite, pem) in [(SUITES[0], "-"), (SUITES[2], "tests/identities/p256.pem")] {
        let mut openssl = OpenSsl::start(pem);
        let (mut both, mut only_we) = (0, 0);
        for sequence in cases(suite) {
            match (
                openssl.lets_in(suite, &sequence),
                we_let_in(suite, &sequence),
            ) {
                (true, we) => {
                    assert!(we, "OpenSSL alone lets in {suite:?} {sequence:?}");
                    both += 1;
                }
                (false, true) => {
                    let change = sequence.iter().position(is_change);
                    let finished = sequence.iter().position(|piece| *piece == Piece::Finished);
                    let once = sequence.iter().filter(|piece| is_change(piece)).count() == 1;
                    let in_place = change.map(|at| at + 1) == finished;
                    assert!(
                        !(once && in_place),
                        "we alone let in {suite:?} {sequence:?}"
                    );
                    only_we += 1;
                }
                (false, false) => {}
            }
        }
        eprintln!("{suite}: {both} let in by both, {only_we} by us alone");
        assert!(both > 0, "{suite:?}");
    }
}

fn is_change(piece: &Piece) -> bool {
    *piece == Piece::ChangeCipherSpec
}

/// All short ones, and with certificates those of full length in which nothing comes twice.
fn cases(suite: CipherSuite) -> Vec<Vec<Piece>> {
    if suite == SUITES[0] {
        return sequences(4).collect();
    }
    let all_once = |sequence: &Vec<Piece>| {
        let others = |at: usize| &sequence[at + 1..];
        (0..sequence.len()).all(|at| !others(at).contains(&sequence[at]))
    };
    sequences(5)
        .filter(|sequence| sequence.len() <= 3 || (sequence.len() == 5 && all_once(sequence)))
        .collect()
}

fn we_let_in(suite: CipherSuite, sequence: &[Piece]) -> bool {
    let mut target = Target::new();
    let mut peer = Peer::new(suite, address(1));
    peer.greet(&mut target);
    for piece in sequence {
        let datagram = peer.say(*piece);
        target.give(peer.address, &datagram);
    }
    target.established.len() == 1
}

/// OpenSSL's server in a process of its own.
struct OpenSsl {
    process: Child,
    address: SocketAddr,
    /// How many clients it has seen; each has an address of its own.
    clients: u16,
}

impl OpenSsl {
    fn start(pem: &str) -> Self {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adversary-openssl-server");
        let compiled = Command::new("cc")
            .arg("-o")
            .arg(&program)
            .args(["benches/beside/openssl.c", "-lssl", "-lcrypto"])
            .output();
        assert!(
            compiled.is_ok_and(|output| output.status.success()),
            "this test needs OpenSSL's headers (Debian: apt-get install build-essential libssl-dev)"
        );
        let address = {
            let free = UdpSocket::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let mut process = Command::new(program)
            .args([&address.port().to_string(), pem])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "listening\n");
        Self {
            process,
            address,
            clients: 16,
        }
    }

    fn lets_in(&mut self, suite: CipherSuite, sequence: &[Piece]) -> bool {
        self.clients += 1;
        let socket = self.socket(self.clients);
        let mut peer = Peer::new(suite, socket.local_addr().unwrap());
        peer.greet_by(|datagram| {
            socket.send(datagram).unwrap();
            vec![receive(&socket)]
        });
        for piece in sequence {
            socket.send(&peer.say(*piece)).unwrap();
        }
        self.catch_up();
        // Only a client that is let in gets anything under the new keys.
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        let mut let_in = false;
        while let Ok(length) = socket.recv(&mut buffer) {
            let changed = [ContentType::CHANGE_CIPHER_SPEC.0, 0xfe, 0xfd];
            let_in |= buffer[..length].windows(3).any(|bytes| bytes == changed);
        }
        socket.send(&fatal_alert(&mut peer)).unwrap();
        let_in
    }

    /// It works off one datagram after the other: when it has answered another client, it has answered all before.
    fn catch_up(&mut self) {
        let socket = self.socket(1);
        let mut peer = Peer::new(SUITES[0], socket.local_addr().unwrap());
        let hello = peer.hello(&[]);
        socket.send(&hello).unwrap();
        receive(&socket);
        socket.send(&fatal_alert(&mut peer)).unwrap();
    }

    fn socket(&self, number: u16) -> UdpSocket {
        let [high, low] = number.to_be_bytes();
        let own = SocketAddr::from(([127, 1, high, low], 0));
        let socket = UdpSocket::bind(own).unwrap();
        socket.connect(self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn receive(socket: &UdpSocket) -> Transmit {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    Transmit {
        peer: socket.peer_addr().unwrap(),
        local: None,
        payload: buffer[..length].to_vec(),
    }
}

/// So that nothing is left of this client.
fn fatal_alert(peer: &mut Peer) -> Vec<u8> {
    peer.plain(
        ContentType::ALERT,
        &[2, AlertDescription::HANDSHAKE_FAILURE.0],
    )
}

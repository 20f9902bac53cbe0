//! The server against an independent client: `openssl s_client`, over real sockets on loopback.
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
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dtls_proto::{Config, Event, Psk, Server, Statistics};

const IDENTITY: &str = "sensor1@DEFAULT_TENANT";
const KEY: &str = "73656372657431";

#[test]
fn openssl_shakes_hands_and_is_echoed_with_ccm_8() {
    echo("PSK-AES128-CCM8", &[]);
}

#[test]
fn openssl_shakes_hands_and_is_echoed_with_ccm() {
    echo("PSK-AES128-CCM", &[]);
}

#[test]
fn openssl_shakes_hands_and_is_echoed_with_gcm() {
    echo("PSK-AES128-GCM-SHA256", &[]);
}

#[test]
fn openssl_shakes_hands_and_is_echoed_with_long_keys() {
    for cipher in ["PSK-AES256-CCM8", "PSK-AES256-CCM", "PSK-AES256-GCM-SHA384"] {
        echo(cipher, &[]);
    }
}

#[test]
fn openssl_shakes_hands_with_server_name_and_small_records() {
    echo(
        "PSK-AES128-CCM8",
        &["-servername", "tenant.example", "-maxfraglen", "512"],
    );
}

#[test]
fn openssl_shakes_hands_without_extended_master_secret() {
    // s_client of OpenSSL 3.0 has no option for it, but its library reads one from a file.
    let path = std::env::temp_dir().join(format!("dtls-proto-no-ems-{}.cnf", std::process::id()));
    let text = "openssl_conf = o\n[o]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nOptions = -ExtendedMasterSecret\n";
    std::fs::write(&path, text).unwrap();
    echo_with(
        "PSK-AES128-CCM8",
        &["-no_ticket"],
        &[("OPENSSL_CONF", path.to_str().unwrap())],
        "Extended master secret: no",
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn openssl_hears_of_no_common_suite() {
    let arguments = Arguments {
        cipher: "PSK-AES128-CBC-SHA256",
        ..Arguments::default()
    };
    let Some(mut client) = Client::start(&arguments, config()) else {
        return;
    };
    client.wait_for("alert handshake failure");
    let statistics = client.stop();
    assert_eq!(statistics.handshakes_refused, 1);
    assert_eq!(statistics.handshakes_started, 0);
}

#[test]
fn openssl_with_a_wrong_key_hears_nothing() {
    silence(IDENTITY, "00112233");
}

#[test]
fn openssl_with_an_unknown_identity_hears_nothing() {
    silence("nobody@DEFAULT_TENANT", KEY);
}

/// Shakes hands, sends lines both ways, and closes.
fn echo(cipher: &str, options: &[&str]) {
    echo_with(cipher, options, &[], "Extended master secret: yes");
}

fn echo_with(cipher: &str, options: &[&str], environment: &[(&str, &str)], told: &str) {
    let arguments = Arguments {
        cipher,
        options,
        environment,
        ..Arguments::default()
    };
    let Some(mut client) = Client::start(&arguments, config()) else {
        return;
    };
    client.wait_for(told);
    for line in ["first line", "second line"] {
        client.say(line);
        client.wait_for(line);
    }
    client.say("Q");
    let closed = Instant::now() + TIMEOUT;
    while client.server.received.recv_timeout(TIMEOUT) != Ok(Seen::Closed) {
        assert!(Instant::now() < closed, "the server did not see the end");
    }
    let statistics = client.stop();
    assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
    assert_eq!(statistics.closed_by_peer, 1, "{statistics:?}");
    assert_eq!(statistics.bad_records, 0, "{statistics:?}");
}

/// The handshake must not be finished, no alert be sent, and the state be forgotten in the end.
fn silence(identity: &str, key: &str) {
    let config = {
        let mut config = config();
        config.retransmission_timeout = Duration::from_millis(100);
        config
    };
    let arguments = Arguments {
        identity,
        key,
        ..Arguments::default()
    };
    let Some(mut client) = Client::start(&arguments, config) else {
        return;
    };
    assert_eq!(
        client.server.received.recv_timeout(TIMEOUT),
        Ok(Seen::Identity)
    );
    assert_eq!(
        client.server.received.recv_timeout(TIMEOUT),
        Ok(Seen::Closed)
    );
    let said = client.output();
    assert!(!said.contains("alert"), "{said}");
    let statistics = client.stop();
    assert_eq!(statistics.handshakes_established, 0, "{statistics:?}");
    assert_eq!(statistics.handshakes_expired, 1, "{statistics:?}");
}

fn config() -> Config {
    Config::default()
}

/// How `openssl s_client` is called.
struct Arguments<'a> {
    cipher: &'a str,
    identity: &'a str,
    key: &'a str,
    options: &'a [&'a str],
    environment: &'a [(&'a str, &'a str)],
}

impl Default for Arguments<'_> {
    fn default() -> Self {
        Self {
            cipher: "PSK-AES128-CCM8",
            identity: IDENTITY,
            key: KEY,
            options: &[],
            environment: &[],
        }
    }
}

/// `openssl s_client` and the server it talks to.
struct Client {
    process: Child,
    lines: Receiver<String>,
    seen: String,
    server: RunningServer,
}

impl Client {
    fn start(arguments: &Arguments<'_>, config: Config) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("SKIPPED: this test needs openssl (Debian: apt-get install openssl)");
            return None;
        }
        let server = RunningServer::start(config);
        let mut process = Command::new("openssl")
            .args([
                "s_client",
                "-dtls1_2",
                "-connect",
                &server.address.to_string(),
            ])
            .args(["-psk", arguments.key, "-psk_identity", arguments.identity])
            .args(["-cipher", &format!("{}:@SECLEVEL=0", arguments.cipher)])
            .args(arguments.options)
            .envs(arguments.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(process.stdout.take().unwrap()),
            Box::new(process.stderr.take().unwrap()),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Some(Self {
            process,
            lines,
            seen: String::new(),
            server,
        })
    }

    fn say(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if found {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} in:\n{}", self.seen)
                }
            }
        }
    }

    fn output(&mut self) -> String {
        self.seen
            .extend(self.lines.try_iter().map(|line| line + "\n"));
        self.seen.clone()
    }

    fn stop(mut self) -> Statistics {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        drop(self.server.stop);
        self.server.thread.join().unwrap()
    }
}

/// What the server's caller saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Identity,
    Established,
    Data,
    Closed,
}

/// A server that knows one identity and sends back what it gets.
struct RunningServer {
    address: SocketAddr,
    received: Receiver<Seen>,
    stop: std::sync::mpsc::Sender<()>,
    thread: JoinHandle<Statistics>,
}

impl RunningServer {
    fn start(config: Config) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = channel::<()>();
        let (sender, received) = channel();
        let thread = std::thread::spawn(move || {
            let mut server = Server::new(config, [42; 32]);
            let mut buffer = [0; 2048];
            while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    server.handle_datagram(Instant::now(), peer, &mut buffer[..length]);
                }
                server.handle_timeout(Instant::now());
                while let Some(event) = server.poll_event() {
                    // The test may have seen enough and gone.
                    let _gone = sender.send(answer(&mut server, event));
                }
                while let Some(transmit) = server.poll_transmit() {
                    socket.send_to(&transmit.payload, transmit.peer).unwrap();
                }
            }
            *server.statistics()
        });
        Self {
            address,
            received,
            stop,
            thread,
        }
    }
}

fn answer(server: &mut Server, event: Event) -> Seen {
    match event {
        Event::PskRequested {
            association,
            identity,
            ..
        } => {
            let key = (identity == IDENTITY.as_bytes()).then(|| Psk::from(b"secret1".as_slice()));
            server.provide_psk(Instant::now(), association, key);
            Seen::Identity
        }
        Event::Established { .. } => Seen::Established,
        Event::ApplicationData {
            association, data, ..
        } => {
            server.send(Instant::now(), association, &data).unwrap();
            Seen::Data
        }
        Event::Closed { .. } => Seen::Closed,
        other => panic!("unknown event {other:?}"),
    }
}

const TIMEOUT: Duration = Duration::from_secs(20);

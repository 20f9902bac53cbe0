//! `gnutls-cli --udp`.

use std::process::Command;
use std::sync::Arc;

use dtls_proto::{Config, Identity, TicketKeys};

use crate::peer::Peer;
use crate::server::{IDENTITY, KEY, RunningServer, Seen};

#[test]
fn gnutls_shakes_hands_with_a_key_and_is_echoed() {
    for cipher in [
        "AES-128-CCM-8",
        "AES-256-CCM-8",
        "AES-128-CCM",
        "AES-256-CCM",
        "AES-128-GCM",
        "AES-256-GCM",
    ] {
        let priority = priority("PSK", cipher);
        let options = ["--pskusername", IDENTITY, "--pskkey", KEY];
        echo(Config::default(), &priority, &options);
    }
}

#[test]
fn gnutls_proves_itself_with_a_certificate_and_is_echoed() {
    for cipher in [
        "AES-128-CCM-8",
        "AES-256-CCM-8",
        "AES-128-CCM",
        "AES-256-CCM",
        "AES-128-GCM",
        "AES-256-GCM",
    ] {
        let priority = priority("ECDHE-ECDSA", cipher);
        let options = [
            "--insecure",
            "--x509certfile",
            CERTIFICATE,
            "--x509keyfile",
            CERTIFICATE_KEY,
        ];
        echo(server_with_certificate(), &priority, &options);
    }
}

#[test]
fn gnutls_without_a_certificate_is_refused() {
    let priority = priority("ECDHE-ECDSA", "AES-128-GCM");
    let server = RunningServer::start(server_with_certificate());
    let Some(mut client) = start(&server, &priority, &["--insecure"]) else {
        return;
    };
    client.wait_for("Certificate is bad");
    let statistics = server.stop();
    assert_eq!(statistics.certificates_unproved, 1, "{statistics:?}");
}

/// By session id and by ticket.
#[test]
fn gnutls_comes_back() {
    for tickets in [None, Some(TicketKeys::new([7; 32], None))] {
        let mut config = Config::default();
        config.resumption.cached_sessions = 10;
        config.resumption.tickets = tickets;
        let server = RunningServer::start(config);
        let priority = priority("PSK", "AES-128-CCM");
        let options = ["--resume", "--pskusername", IDENTITY, "--pskkey", KEY];
        let Some(mut client) = start(&server, &priority, &options) else {
            return;
        };
        client.wait_for("This is a resumed session");
        client.say("line");
        client.wait_for("line");
        server.wait_for(&Seen::Data);
        let statistics = server.stop();
        assert_eq!(statistics.resumptions_established, 1, "{statistics:?}");
        assert_eq!(statistics.handshakes_established, 2, "{statistics:?}");
    }
}

/// What GnuTLS calls one suite.
fn priority(exchange: &str, cipher: &str) -> String {
    format!(
        "NONE:+VERS-DTLS1.2:+{exchange}:+{cipher}:+AEAD:+SIGN-ALL:+COMP-NULL:+GROUP-ALL:%PROFILE_LOW"
    )
}

fn echo(config: Config, priority: &str, options: &[&str]) {
    let server = RunningServer::start(config);
    let Some(mut client) = start(&server, priority, options) else {
        return;
    };
    client.wait_for("Handshake was completed");
    for line in ["first line", "second line"] {
        client.say(line);
        client.wait_for(line);
    }
    server.wait_for(&Seen::Data);
    let statistics = server.stop();
    assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
    assert_eq!(statistics.bad_records, 0, "{statistics:?}");
}

fn start(server: &RunningServer, priority: &str, options: &[&str]) -> Option<Peer> {
    let port = server.address.port().to_string();
    let mut command = Command::new("gnutls-cli");
    command
        .args(["--udp", "--port", &port, "--priority", priority])
        .args(options)
        .arg("127.0.0.1");
    Peer::start(&mut command, "gnutls-bin")
}

fn server_with_certificate() -> Config {
    let read = |path: &str| std::fs::read(path).unwrap();
    let identity = Identity::from_pem(&read(CERTIFICATE), &read(CERTIFICATE_KEY)).unwrap();
    let mut config = Config::default();
    config.identity = Some(Arc::new(identity));
    config
}

/// For both sides, as nobody here asks who vouches for it.
const CERTIFICATE: &str = "tests/identities/p256.crt";
const CERTIFICATE_KEY: &str = "tests/identities/p256-pkcs8.key";

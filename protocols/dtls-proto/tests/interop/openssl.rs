//! `openssl s_client`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dtls_proto::{Config, Identity, Statistics};

use crate::peer::Peer;
use crate::server::{IDENTITY, KEY, RunningServer, Seen, TIMEOUT};

#[test]
fn openssl_shakes_hands_with_server_name_and_small_records() {
    let options = ["-servername", "tenant.example", "-maxfraglen", "512"];
    echo(&options, &[], "Extended master secret: yes");
}

#[test]
fn openssl_shakes_hands_without_extended_master_secret() {
    // s_client of OpenSSL 3.0 has no option for it, but its library reads one from a file.
    let path = std::env::temp_dir().join(format!("dtls-proto-no-ems-{}.cnf", std::process::id()));
    let text = "openssl_conf = o\n[o]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nOptions = -ExtendedMasterSecret\n";
    std::fs::write(&path, text).unwrap();
    echo(
        &["-no_ticket"],
        &[("OPENSSL_CONF", path.to_str().unwrap())],
        "Extended master secret: no",
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn openssl_without_a_certificate_is_refused() {
    let arguments = Arguments {
        cipher: "ECDHE-ECDSA-AES128-GCM-SHA256",
        ..Arguments::default()
    };
    let Some((mut client, server)) = start(&arguments, server_with_certificate()) else {
        return;
    };
    client.wait_for("alert handshake failure");
    let statistics = server.stop();
    assert_eq!(statistics.certificates_unproved, 1, "{statistics:?}");
    assert_eq!(statistics.handshakes_established, 0, "{statistics:?}");
}

#[test]
fn openssl_hears_of_no_common_suite() {
    let arguments = Arguments {
        cipher: "PSK-AES128-CBC-SHA256",
        ..Arguments::default()
    };
    let Some((mut client, server)) = start(&arguments, Config::default()) else {
        return;
    };
    client.wait_for("alert handshake failure");
    let statistics = server.stop();
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

/// Symptom: OpenSSL with a small MTU sends its hello in fragments and never got an answer.
#[test]
fn openssl_sends_its_hello_in_fragments() {
    let name = "a-long-name.".repeat(15) + "example";
    let options = ["-mtu", "256", "-servername", &name];
    let Some(statistics) = echo(&options, &[], "Extended master secret: yes") else {
        return;
    };
    assert_eq!(statistics.reassembled_hellos, 1, "{statistics:?}");
}

/// Shakes hands, sends lines both ways, and closes.
fn echo(options: &[&str], environment: &[(&str, &str)], told: &str) -> Option<Statistics> {
    let arguments = Arguments {
        options,
        environment,
        ..Arguments::default()
    };
    let (mut client, server) = start(&arguments, Config::default())?;
    client.wait_for(told);
    for line in ["first line", "second line"] {
        client.say(line);
        client.wait_for(line);
    }
    client.say("Q");
    server.wait_for(&Seen::Closed);
    let statistics = server.stop();
    assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
    assert_eq!(statistics.closed_by_peer, 1, "{statistics:?}");
    assert_eq!(statistics.bad_records, 0, "{statistics:?}");
    Some(statistics)
}

/// The handshake must not be finished, no alert be sent, and the state be forgotten in the end.
fn silence(identity: &str, key: &str) {
    let mut config = Config::default();
    config.retransmission_timeout = Duration::from_millis(100);
    let arguments = Arguments {
        identity,
        key,
        ..Arguments::default()
    };
    let Some((mut client, server)) = start(&arguments, config) else {
        return;
    };
    assert_eq!(server.received.recv_timeout(TIMEOUT), Ok(Seen::Identity));
    assert_eq!(server.received.recv_timeout(TIMEOUT), Ok(Seen::Closed));
    let said = client.output();
    assert!(!said.contains("alert"), "{said}");
    let statistics = server.stop();
    assert_eq!(statistics.handshakes_established, 0, "{statistics:?}");
    assert_eq!(statistics.handshakes_expired, 1, "{statistics:?}");
}

fn server_with_certificate() -> Config {
    let pem = std::fs::read("tests/identities/p256.pem").unwrap();
    let mut config = Config::default();
    config.identity = Some(Arc::new(Identity::from_pem(&pem, &pem).unwrap()));
    config
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
fn start(arguments: &Arguments<'_>, config: Config) -> Option<(Peer, RunningServer)> {
    let server = RunningServer::start(config);
    let address = server.address.to_string();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-dtls1_2", "-connect", &address])
        .args(["-psk", arguments.key, "-psk_identity", arguments.identity])
        .args(["-cipher", &format!("{}:@SECLEVEL=0", arguments.cipher)])
        .args(arguments.options)
        .envs(arguments.environment.iter().copied());
    Some((Peer::start(&mut command, "openssl")?, server))
}

//! `openssl s_client`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dtls_proto::{Config, Identity, TicketKeys};

use crate::peer::Peer;
use crate::server::{IDENTITY, KEY, RunningServer, Seen, TIMEOUT};

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
fn openssl_proves_itself_with_a_certificate_and_is_echoed() {
    for cipher in [
        "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES256-CCM",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ] {
        let options = ["-cert", CERTIFICATE, "-key", CERTIFICATE_KEY];
        let told = "Extended master secret: yes";
        echo_to(server_with_certificate(), cipher, &options, &[], told);
    }
}

#[test]
fn openssl_agrees_on_every_curve() {
    for curves in ["X25519:P-256", "P-256", "P-384:P-256"] {
        // The curve of the certificates must be among them.
        let options = [
            "-cert",
            CERTIFICATE,
            "-key",
            CERTIFICATE_KEY,
            "-curves",
            curves,
        ];
        let cipher = "ECDHE-ECDSA-AES128-GCM-SHA256";
        let told = "Extended master secret: yes";
        echo_to(server_with_certificate(), cipher, &options, &[], told);
    }
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
    client.wait_for("alert bad certificate");
    let statistics = server.stop();
    assert_eq!(statistics.certificates_unproved, 1, "{statistics:?}");
    assert_eq!(statistics.handshakes_established, 0, "{statistics:?}");
}

#[test]
fn openssl_comes_back_by_session_id() {
    let mut config = config();
    config.resumption.cached_sessions = 10;
    comes_back(config, &["-no_ticket"], "by-id");
}

#[test]
fn openssl_comes_back_by_ticket() {
    let mut config = config();
    config.resumption.tickets = Some(TicketKeys::new([7; 32], None));
    comes_back(config, &[], "by-ticket");
}

/// Shakes hands, writes its session into a file, and comes back with that.
fn comes_back(config: Config, options: &[&str], name: &str) {
    let path = std::env::temp_dir().join(format!("dtls-proto-{name}-{}", std::process::id()));
    let path = path.to_str().unwrap().to_owned();
    let server = RunningServer::start(config);
    for (option, told) in [
        ("-sess_out", "New, TLSv1.2"),
        ("-sess_in", "Reused, TLSv1.2"),
    ] {
        let options = [options, &[option, &path]].concat();
        let arguments = Arguments {
            options: &options,
            ..Arguments::default()
        };
        let Some(mut client) = start_to(&arguments, &server) else {
            return;
        };
        client.wait_for(told);
        client.say("line");
        client.wait_for("line");
        client.say("Q");
        server.wait_for(&Seen::Closed);
    }
    let statistics = server.stop();
    assert_eq!(statistics.handshakes_established, 2, "{statistics:?}");
    assert_eq!(statistics.resumptions_established, 1, "{statistics:?}");
    assert_eq!(statistics.bad_records, 0, "{statistics:?}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn openssl_hears_of_no_common_suite() {
    let arguments = Arguments {
        cipher: "PSK-AES128-CBC-SHA256",
        ..Arguments::default()
    };
    let Some((mut client, server)) = start(&arguments, config()) else {
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

/// Shakes hands, sends lines both ways, and closes.
fn echo(cipher: &str, options: &[&str]) {
    echo_with(cipher, options, &[], "Extended master secret: yes");
}

fn echo_with(cipher: &str, options: &[&str], environment: &[(&str, &str)], told: &str) {
    echo_to(config(), cipher, options, environment, told);
}

fn echo_to(
    config: Config,
    cipher: &str,
    options: &[&str],
    environment: &[(&str, &str)],
    told: &str,
) {
    let arguments = Arguments {
        cipher,
        options,
        environment,
        ..Arguments::default()
    };
    let Some((mut client, server)) = start(&arguments, config) else {
        return;
    };
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

fn config() -> Config {
    Config::default()
}

fn server_with_certificate() -> Config {
    let mut config = config();
    let (chain, key) = (CERTIFICATE, CERTIFICATE_KEY);
    let read = |path: &str| std::fs::read(path).unwrap();
    let identity = Identity::from_pem(&read(chain), &read(key)).unwrap();
    config.identity = Some(Arc::new(identity));
    config
}

/// For both sides, as nobody here asks who vouches for it.
const CERTIFICATE: &str = "tests/identities/p256.crt";
const CERTIFICATE_KEY: &str = "tests/identities/p256-pkcs8.key";

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
    Some((start_to(arguments, &server)?, server))
}

fn start_to(arguments: &Arguments<'_>, server: &RunningServer) -> Option<Peer> {
    let address = server.address.to_string();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-dtls1_2", "-connect", &address])
        .args(["-psk", arguments.key, "-psk_identity", arguments.identity])
        .args(["-cipher", &format!("{}:@SECLEVEL=0", arguments.cipher)])
        .args(arguments.options)
        .envs(arguments.environment.iter().copied());
    Peer::start(&mut command, "openssl")
}

//! Scandium, the DTLS stack of Californium: the only other one here with suites of `ECDHE_PSK` and AEAD, and with connection ids.

mod jars;

use std::process::Command;
use std::sync::{Arc, LazyLock};

use dtls_proto::{CipherSuite, Config, ConnectionIds, Identity};

use crate::nat::Nat;
use crate::peer::{Peer, is_required};
use crate::server::{RunningServer, Seen};

#[test]
fn scandium_goes_on_through_a_nat_that_forgets_it() {
    for (clients, ours, suite) in [
        ("0", 6, CipherSuite::PskAes128Ccm8),
        ("4", 8, CipherSuite::EcdhePskAes256GcmSha384),
        ("20", 20, CipherSuite::PskAes128Ccm),
    ] {
        let ids = ConnectionIds::new(ours, 1, 2).ok();
        let server = RunningServer::start(config(ids));
        let nat = Nat::new(server.address);
        let Some(mut client) = start(nat.port, suite, clients, "-") else {
            return;
        };
        client.say("at home");
        client.wait_for("< at home");
        for number in 0..3 {
            nat.rebind();
            let line = format!("moved {number}");
            client.say(&line);
            client.wait_for(&format!("< {line}"));
        }
        drop(client);
        let statistics = server.stop();
        assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
        assert_eq!(statistics.address_changes, 3, "{statistics:?}");
        assert_eq!(statistics.bad_records, 0, "{statistics:?}");
    }
}

#[test]
fn scandium_comes_back_with_a_key_and_with_a_certificate() {
    for (suite, credentials) in [
        (CipherSuite::PskAes128Ccm8, "-"),
        (CipherSuite::EcdheEcdsaAes128Ccm8, PEM),
    ] {
        let mut config = config(ConnectionIds::new(6, 0, 0).ok());
        config.resumption.cached_sessions = 10;
        let server = RunningServer::start(config);
        let port = server.address.port();
        let Some(mut client) = start(port, suite, "4", credentials) else {
            return;
        };
        for (number, line) in ["first", "second", "third"].into_iter().enumerate() {
            if number > 0 {
                client.say("RESUME");
                client.wait_for("will resume");
            }
            client.say(line);
            client.wait_for(&format!("< {line}"));
        }
        let statistics = server.stop();
        assert_eq!(statistics.handshakes_established, 3, "{statistics:?}");
        assert_eq!(statistics.resumptions_established, 2, "{statistics:?}");
    }
}

/// Only the client wants an id in what it receives.
#[test]
fn scandium_gets_an_id_from_a_server_that_wants_none() {
    let server = RunningServer::start(config(ConnectionIds::new(0, 0, 0).ok()));
    let suite = CipherSuite::PskAes128GcmSha256;
    let Some(mut client) = start(server.address.port(), suite, "7", "-") else {
        return;
    };
    client.say("with an id");
    client.wait_for("< with an id");
    server.wait_for(&Seen::Data);
    let statistics = server.stop();
    assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
}

fn config(ids: Option<ConnectionIds>) -> Config {
    let pem = std::fs::read(PEM).unwrap();
    let mut config = Config::default();
    config.identity = Some(Arc::new(Identity::from_pem(&pem, &pem).unwrap()));
    config.connection_ids = ids;
    config
}

fn start(port: u16, suite: CipherSuite, id_length: &str, credentials: &str) -> Option<Peer> {
    if !*COMPILED {
        assert!(!is_required(), "Scandium is not there");
        return None;
    }
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars::class_path())
        .arg("Client")
        .args([port.to_string(), suite.code().to_string()])
        .args([id_length, credentials]);
    Peer::start(&mut command, "default-jdk-headless")
}

/// Compiled once.
static COMPILED: LazyLock<bool> =
    LazyLock::new(|| jars::compile("tests/interop/scandium/Client.java"));

/// Key and certificate, for both sides, as nobody here asks who vouches for it.
const PEM: &str = "tests/identities/p256.pem";

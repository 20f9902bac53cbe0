//! `openssl s_client`.

use std::process::Command;

use dtls_proto::crypto::KeyExchange;

use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack, Suite, first_line};
use crate::server::{IDENTITY, KEY, Seen};

pub(crate) struct OpenSsl;

impl Stack for OpenSsl {
    fn name(&self) -> &'static str {
        "openssl"
    }

    fn version(&self) -> Option<String> {
        first_line(Command::new("openssl").arg("version"))
    }

    fn needs(&self) -> &'static str {
        "openssl (Debian: apt-get install openssl)"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        if scenario.suite.key_exchange() == KeyExchange::EcdhePsk {
            return Some("OpenSSL has this key exchange with CBC and ChaCha20 only");
        }
        let has_id = scenario.feature.id_length().is_some();
        has_id.then_some("OpenSSL has no connection ids")
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        if scenario.feature.comes_back() {
            let name = format!("matrix-{}-{scenario}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let path = path.to_str().unwrap();
            session(scenario, place, &["-sess_out", path], "New, TLSv1.2");
            session(scenario, place, &["-sess_in", path], "Reused, TLSv1.2");
            std::fs::remove_file(path).unwrap();
        } else {
            session(scenario, place, &[], "New, TLSv1.2");
        }
    }
}

/// From the handshake to the closing alert.
fn session(scenario: Scenario, place: &Place, options: &[&str], told: &str) {
    let address = format!("127.0.0.1:{}", place.port);
    let cipher = format!("{}:@SECLEVEL=0", cipher(scenario.suite));
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-dtls1_2", "-connect", &address])
        .args(["-cipher", &cipher])
        .args(options);
    match scenario.pem() {
        Some(pem) => command.args(["-cert", pem, "-key", pem]),
        None => command.args(["-psk", KEY, "-psk_identity", IDENTITY]),
    };
    if scenario.feature != Feature::Ticket {
        command.arg("-no_ticket");
    }
    if let Some(mtu) = scenario.mtu() {
        command.args(["-mtu", mtu]);
    }
    let mut client = Peer::start(&mut command, "openssl").unwrap();
    client.wait_for(told);
    for line in ["first line", "second line"] {
        client.say(line);
        client.wait_for(line);
    }
    client.say("Q");
    place.server.wait_for(&Seen::Closed);
}

/// What OpenSSL calls it, such as `PSK-AES128-CCM8`.
fn cipher(suite: Suite) -> String {
    let exchange = match suite.key_exchange() {
        KeyExchange::EcdheEcdsa => "ECDHE-ECDSA",
        _ => "PSK",
    };
    let cipher = match suite.cipher() {
        "AES_128_GCM" => "AES128-GCM-SHA256",
        "AES_256_GCM" => "AES256-GCM-SHA384",
        "AES_128_CCM" => "AES128-CCM",
        "AES_256_CCM" => "AES256-CCM",
        "AES_128_CCM_8" => "AES128-CCM8",
        "AES_256_CCM_8" => "AES256-CCM8",
        other => panic!("no name for {other}"),
    };
    format!("{exchange}-{cipher}")
}

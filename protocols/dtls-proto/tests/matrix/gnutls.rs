//! `gnutls-cli --udp`.

use std::process::Command;

use dtls_proto::crypto::KeyExchange;

use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack, Suite, first_line};
use crate::server::{IDENTITY, KEY, Seen};

pub(crate) struct GnuTls;

impl Stack for GnuTls {
    fn name(&self) -> &'static str {
        "gnutls"
    }

    fn version(&self) -> Option<String> {
        first_line(Command::new("gnutls-cli").arg("--version"))
    }

    fn needs(&self) -> &'static str {
        "gnutls-cli (Debian: apt-get install gnutls-bin)"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        if scenario.suite.key_exchange() == KeyExchange::EcdhePsk {
            return Some("GnuTLS has this key exchange with CBC and ChaCha20 only");
        }
        let has_id = scenario.feature.id_length().is_some();
        has_id.then_some("GnuTLS has no connection ids")
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        let (port, priority) = (place.port.to_string(), priority(scenario.suite));
        let mut command = Command::new("gnutls-cli");
        command.args(["--udp", "--port", &port, "--priority", &priority]);
        match scenario.pem() {
            Some(pem) => {
                command
                    .arg("--insecure")
                    .args(["--x509certfile", pem, "--x509keyfile", pem])
            }
            None => command.args(["--pskusername", IDENTITY, "--pskkey", KEY]),
        };
        if let Some(mtu) = scenario.mtu() {
            command.args(["--mtu", mtu]);
        }
        if scenario.feature.comes_back() {
            command.arg("--resume");
        }
        if scenario.feature != Feature::Ticket {
            command.arg("--noticket");
        }
        let mut client = Peer::start(command.arg("127.0.0.1"), "gnutls-bin").unwrap();
        client.wait_for(match scenario.feature.comes_back() {
            true => "This is a resumed session",
            false => "Handshake was completed",
        });
        for line in ["first line", "second line"] {
            client.say(line);
            client.wait_for(line);
        }
        place.server.wait_for(&Seen::Data);
    }
}

/// What GnuTLS calls this one suite.
fn priority(suite: Suite) -> String {
    let exchange = match suite.key_exchange() {
        KeyExchange::EcdheEcdsa => "ECDHE-ECDSA",
        _ => "PSK",
    };
    let cipher = suite.cipher().replace('_', "-");
    format!(
        "NONE:+VERS-DTLS1.2:+{exchange}:+{cipher}:+AEAD:+SIGN-ALL:+COMP-NULL:+GROUP-ALL:%PROFILE_LOW"
    )
}

//! The crate `dtls` of webrtc-rs, in a program of its own, which `cargo xtask interop` builds.

use std::path::PathBuf;
use std::process::Command;

use dtls_proto::crypto::KeyExchange;

use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack, first_line};

pub(crate) struct WebRtc;

impl Stack for WebRtc {
    fn name(&self) -> &'static str {
        "webrtc"
    }

    fn version(&self) -> Option<String> {
        first_line(Command::new(program()).arg("version"))
    }

    fn needs(&self) -> &'static str {
        "the crate dtls, built by cargo xtask interop"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        if scenario.suite.key_exchange() == KeyExchange::EcdhePsk {
            return Some("the crate dtls does not have this key exchange");
        }
        if !matches!(
            scenario.suite.cipher(),
            "AES_128_CCM" | "AES_128_CCM_8" | "AES_128_GCM"
        ) {
            return Some("the crate dtls has no AEAD with AES-256");
        }
        match scenario.feature {
            Feature::CertificateP384 => Some("the crate dtls takes no key on P-384"),
            Feature::SessionId | Feature::Ticket => Some("the crate dtls does not resume sessions"),
            Feature::ConnectionId | Feature::EmptyConnectionId => {
                Some("the crate dtls has no connection ids")
            }
            _ => None,
        }
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        let mut command = Command::new(program());
        command
            .arg("client")
            .arg(place.port.to_string())
            .arg(scenario.suite.get().code().to_string())
            .arg(scenario.mtu().unwrap_or("1200"))
            .arg(scenario.pem().unwrap_or("-"));
        let mut client = Peer::start(&mut command, "cargo").unwrap();
        client.wait_for("established");
        scenario.talk_by_lines(&mut client, place);
    }
}

/// In the folder in which `cargo xtask interop` installs, beside that of the tests' own files.
fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../interop/webrtc/debug/webrtc-peer")
}

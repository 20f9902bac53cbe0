//! A small client of ours on Mbed TLS, compiled here.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use dtls_proto::crypto::KeyExchange;

use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack, first_line};

pub(crate) struct MbedTls;

impl Stack for MbedTls {
    fn name(&self) -> &'static str {
        "mbedtls"
    }

    fn version(&self) -> Option<String> {
        first_line(Command::new(CLIENT.as_ref()?).arg("version"))
    }

    fn needs(&self) -> &'static str {
        "Mbed TLS and a C compiler (Debian: apt-get install libmbedtls-dev build-essential)"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        if scenario.suite.key_exchange() == KeyExchange::EcdhePsk {
            return Some("Mbed TLS has this key exchange with CBC and ChaCha20 only");
        }
        let has_id = scenario.feature.id_length().is_some();
        has_id.then_some("Debian builds Mbed TLS without connection ids")
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        let tickets = scenario.feature == Feature::Ticket;
        let mut command = Command::new(CLIENT.as_ref().unwrap());
        command
            .arg(place.port.to_string())
            .arg(scenario.suite.get().code().to_string())
            .arg(scenario.mtu().unwrap_or("0"))
            .arg(if tickets { "tickets" } else { "ids" })
            .arg(scenario.pem().unwrap_or("-"));
        let mut client = Peer::start(&mut command, "libmbedtls-dev").unwrap();
        client.wait_for("established");
        scenario.talk_by_lines(&mut client, place);
    }
}

/// The compiled client; `None` if it can't be compiled.
static CLIENT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mbedtls-client");
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg("tests/matrix/mbedtls/client.c")
        .args(["-lmbedtls", "-lmbedx509", "-lmbedcrypto"])
        .stdin(Stdio::null())
        .output();
    compiled
        .is_ok_and(|output| output.status.success())
        .then_some(program)
});

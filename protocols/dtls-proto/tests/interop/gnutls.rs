//! `gnutls-cli --udp`.

use std::process::Command;
use std::sync::Arc;

use dtls_proto::{Config, Identity};

use crate::peer::Peer;
use crate::server::RunningServer;

#[test]
fn gnutls_without_a_certificate_is_refused() {
    let pem = std::fs::read("tests/identities/p256.pem").unwrap();
    let mut config = Config::default();
    config.identity = Some(Arc::new(Identity::from_pem(&pem, &pem).unwrap()));
    let server = RunningServer::start(config);
    let port = server.address.port().to_string();
    let mut command = Command::new("gnutls-cli");
    command
        .args(["--udp", "--insecure", "--port", &port])
        .args(["--priority", PRIORITY, "127.0.0.1"]);
    let Some(mut client) = Peer::start(&mut command, "gnutls-bin") else {
        return;
    };
    client.wait_for("Handshake failed");
    let statistics = server.stop();
    assert_eq!(statistics.certificates_unproved, 1, "{statistics:?}");
}

/// What GnuTLS calls one suite.
const PRIORITY: &str = "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+AES-128-GCM:+AEAD:+SIGN-ALL:+COMP-NULL:+GROUP-ALL:%PROFILE_LOW";

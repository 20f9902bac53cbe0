//! Scandium, the DTLS stack of Californium: the only other one here with suites of `ECDHE_PSK` and AEAD, and with connection ids.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dtls_proto::{CipherSuite, Config, ConnectionIds, Identity};

use crate::nat::Nat;
use crate::peer::Peer;
use crate::server::{RunningServer, Seen};

#[test]
fn scandium_shakes_hands_with_every_suite_and_is_echoed() {
    for suite in CipherSuite::ALL {
        let server = RunningServer::start(config(None));
        let credentials = match suite.name().contains("ECDSA") {
            true => PEM,
            false => "-",
        };
        let port = server.address.port();
        let Some(mut client) = start(port, suite, "-", credentials) else {
            return;
        };
        for line in ["first line", "second line"] {
            client.say(line);
            client.wait_for(&format!("< {line}"));
        }
        let statistics = server.stop();
        assert_eq!(statistics.handshakes_established, 1, "{statistics:?}");
        assert_eq!(statistics.bad_records, 0, "{statistics:?}");
    }
}

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
    let jars = JARS.as_ref()?;
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-cp"])
        .arg(class_path(jars))
        .arg("Client")
        .args([port.to_string(), suite.code().to_string()])
        .args([id_length, credentials]);
    Peer::start(&mut command, "default-jdk-headless")
}

/// Where the jars and our class are, fetched and compiled once; `None`, and a loud word about it, if they can't be had.
static JARS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scandium");
    for artifact in [
        "org.eclipse.californium:scandium:3.14.0",
        "org.eclipse.californium:element-connector:3.14.0",
        "org.slf4j:slf4j-api:1.7.36",
    ] {
        let mut parts = artifact.split(':').skip(1);
        let name = [parts.next()?, parts.next()?].join("-") + ".jar";
        if !folder.join(name).is_file() && !fetch(artifact, &folder) {
            eprintln!(
                "SKIPPED: this test needs {artifact} from Maven Central (Debian: apt-get install maven default-jdk-headless)"
            );
            return None;
        }
    }
    if !compile(&folder) {
        eprintln!("SKIPPED: this test needs javac (Debian: apt-get install default-jdk-headless)");
        return None;
    }
    Some(folder)
});

fn compile(folder: &Path) -> bool {
    let compiled = Command::new("javac")
        .arg("-cp")
        .arg(class_path(folder))
        .arg("-d")
        .arg(folder)
        .arg("tests/interop/scandium/Client.java")
        .status();
    compiled.is_ok_and(|status| status.success())
}

/// Our class, and the jars.
fn class_path(folder: &Path) -> String {
    format!("{}:{}/*", folder.display(), folder.display())
}

fn fetch(artifact: &str, folder: &Path) -> bool {
    let spawned = Command::new("mvn")
        .args(["--quiet", "--batch-mode", PLUGIN])
        .arg(format!("-Dartifact={artifact}"))
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut fetching) = spawned else {
        return false;
    };
    let end = Instant::now() + Duration::from_secs(180);
    while Instant::now() < end {
        if let Some(status) = fetching.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    fetching.kill().unwrap();
    fetching.wait().unwrap();
    false
}

const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

/// Key and certificate, for both sides, as nobody here asks who vouches for it.
const PEM: &str = "tests/identities/p256.pem";

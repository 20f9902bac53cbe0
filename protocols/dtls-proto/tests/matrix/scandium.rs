//! Scandium, the DTLS stack of Californium, in few processes for many sessions, as Java takes long to start.

use std::process::Command;
use std::sync::{LazyLock, Mutex};

use crate::jars;
use crate::peer::Peer;
use crate::scenario::{Feature, Place, Scenario, Stack};

pub(crate) struct Scandium;

impl Stack for Scandium {
    fn name(&self) -> &'static str {
        "scandium"
    }

    fn version(&self) -> Option<String> {
        COMPILED.then(|| format!("Scandium {}", jars::VERSION))
    }

    fn needs(&self) -> &'static str {
        "Scandium from Maven Central (Debian: apt-get install maven default-jdk-headless)"
    }

    fn lacks(&self, scenario: Scenario) -> Option<&'static str> {
        (scenario.feature == Feature::Ticket).then_some("Scandium has no tickets")
    }

    fn talk(&self, scenario: Scenario, place: &Place) {
        let idle = IDLE.lock().unwrap().pop();
        let mut client = idle.unwrap_or_else(start);
        let id = scenario.feature.id_length();
        client.say(&format!(
            "OPEN {} {} {} {} {}",
            place.port,
            scenario.suite.get().code(),
            id.map_or_else(|| "-".to_owned(), |length| length.to_string()),
            scenario.mtu().unwrap_or("-"),
            scenario.pem().unwrap_or("-")
        ));
        client.wait_for("opened");
        scenario.talk_by_lines(&mut client, place);
        client.say("CLOSE");
        client.wait_for("closed");
        IDLE.lock().unwrap().push(client);
    }
}

/// Those that wait for work; as many as there are threads.
static IDLE: Mutex<Vec<Peer>> = Mutex::new(Vec::new());

static COMPILED: LazyLock<bool> =
    LazyLock::new(|| jars::compile("tests/matrix/scandium/Matrix.java"));

fn start() -> Peer {
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars::class_path())
        .arg("Matrix");
    Peer::start(&mut command, "default-jdk-headless").unwrap()
}

//! `openssl s_client` as a device: it shakes hands with each suite, and what it sends arrives.

use std::{fmt::Write, time::Duration};

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::{
    device::CoapRequest,
    northbound::{Application, Behaviour},
    world::World,
};
use tokio::{process::Command, time::Instant};

use crate::{Outcome, Runner, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for suite in SUITES {
        let name = format!("telemetry_under_{}", suite.to_lowercase().replace('-', "_"));
        trials.push(runner.trial(Tool::Openssl, &name, move || telemetry(suite)));
    }
    for mtu in ["256", "300", "508"] {
        let name = format!("telemetry_after_a_hello_in_fragments_for_an_mtu_of_{mtu}");
        let trial = move || a_hello_in_fragments_is_answered(mtu);
        trials.push(runner.trial(Tool::Openssl, &name, trial));
    }
    trials.push(runner.trial(
        Tool::Openssl,
        "no_suite_in_common_is_a_handshake_failure",
        refused,
    ));
}

/// OpenSSL's names of the suites with a plain pre-shared key (spec: coap-adapter §9).
const SUITES: [&str; 6] = [
    "PSK-AES128-CCM8",
    "PSK-AES128-CCM",
    "PSK-AES128-GCM-SHA256",
    "PSK-AES256-CCM8",
    "PSK-AES256-CCM",
    "PSK-AES256-GCM-SHA384",
];

async fn telemetry(suite: &str) -> Outcome {
    arrives(suite, suite, &[]).await
}

/// Symptom: OpenSSL with a small MTU sends its hello in fragments and never got an answer (RFC 6347
/// §4.2.3). With all its suites and a long name of the server, the hello has more than 600 bytes.
async fn a_hello_in_fragments_is_answered(mtu: &str) -> Outcome {
    let name = "a-long-name.".repeat(20) + "example";
    let words = ["-mtu", mtu, "-servername", &name];
    arrives("ALL:PSK", "", &words).await
}

async fn arrives(suites: &str, wanted: &str, words: &[&str]) -> Outcome {
    let suite = if wanted.is_empty() { "any" } else { wanted };
    let stand = Stand::start(World::default(), &[])
        .await
        .map_err(|error| error.to_string())?;
    let application =
        Application::attach(stand.amqp(), "DEFAULT_TENANT", &[], Behaviour::Accept).await;
    let mut application = application.map_err(|error| error.to_string())?;
    let mut client = client(&stand, suites, words)?;
    wait_for(&mut client, &format!("Cipher is {wanted}")).await?;
    client
        .write(&CoapRequest::post("t").body(50, suite).encode(7, b"tok"))
        .await?;
    let message = application.receive(SOON).await.ok_or("nothing arrived")?;
    if message.payload != suite.as_bytes() {
        return Err(format!("another message arrived: {}", message.sections));
    }
    client.kill().await;
    application.detach().await;
    stand.stop().await;
    Ok(())
}

async fn refused() -> Outcome {
    let stand = Stand::start(World::default(), &[])
        .await
        .map_err(|error| error.to_string())?;
    let printed = client(&stand, "PSK-AES128-CBC-SHA256", &[])?
        .rest(SOON)
        .await?;
    if !printed.contains("handshake failure") {
        return Err(format!(
            "the client does not report a handshake failure:\n{printed}"
        ));
    }
    stand.stop().await;
    Ok(())
}

fn client(stand: &Stand, suites: &str, words: &[&str]) -> Result<Program, String> {
    let mut key = String::new();
    for byte in b"hono-secret" {
        write!(key, "{byte:02x}").map_err(|error| error.to_string())?;
    }
    let mut command = Command::new(Tool::Openssl.program());
    command.args([
        "s_client",
        "-dtls1_2",
        "-connect",
        &stand.coaps().to_string(),
        "-cipher",
        suites,
    ]);
    command.args(words);
    command.args(["-psk_identity", "sensor1@DEFAULT_TENANT", "-psk", &key]);
    Program::start(command)
}

/// Waits for a line with these words.
pub(crate) async fn wait_for(client: &mut Program, wanted: &str) -> Outcome {
    let (deadline, mut printed) = (Instant::now() + SOON, String::new());
    while let Some(line) = client
        .line(deadline.saturating_duration_since(Instant::now()))
        .await
    {
        if line.contains(wanted) {
            return Ok(());
        }
        printed += &line;
        printed.push('\n');
    }
    Err(format!(
        "`{wanted}` is not in the client's output within {:?}:\n{printed}",
        Duration::from_secs(10)
    ))
}

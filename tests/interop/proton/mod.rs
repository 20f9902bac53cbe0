//! qpid-proton as the application: it receives the same messages as from Hono, and its dispositions
//! reach the device.

mod commands;
mod sections;

use std::{net::SocketAddr, path::Path, time::Duration};

use acceptance::{
    golden::{Folder, differences},
    outcome::OUTCOMES,
    stand::Stand,
};
use libtest_mimic::Trial;
use sandbox::{
    Sandbox, SandboxConfig,
    device::{CoapRequest, Device},
    northbound::{Application, ApplicationConfig, Behaviour},
    world::World,
};
use serde_json::Value;
use tokio::process::Command;

use crate::{Outcome, Runner, process::Program, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "recorded_messages_pass_the_sandbox_unchanged";
    trials.push(runner.trial(Tool::Proton, name, recorded_messages));
    let name = "messages_have_the_sections_types_and_values_of_the_reference";
    trials.push(runner.trial(Tool::Proton, name, sections::telemetry_and_events));
    let name = "commands_of_every_form_are_delivered_or_rejected_with_the_reason";
    trials.push(runner.trial(Tool::Proton, name, commands::every_form));
    for (behaviour, code, text) in OUTCOMES {
        // A slow consumer looks the same to the adapter whichever library it uses.
        if !behaviour.starts_with("delay") {
            let name = format!("{}_is_told_as_{code}", behaviour.replace([':', '-'], "_"));
            let test = move || told_as(behaviour, code, text);
            trials.push(runner.trial(Tool::Proton, &name, test));
        }
    }
}

/// A consumer that is a program of its own.
pub(crate) struct Consumer(Program);

impl Consumer {
    /// Attaches to `addresses`; what `behaviour` says it does with messages is in the words of the recordings.
    pub(crate) async fn attach(
        peer: SocketAddr,
        behaviour: &str,
        addresses: &[&str],
    ) -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/proton/receiver.py");
        let mut command = Command::new(Tool::Proton.program());
        command
            .arg(script)
            .arg(peer.to_string())
            .arg(behaviour)
            .args(addresses);
        let mut consumer = Self(Program::start(command)?);
        match consumer.receive(SOON).await? {
            Some(Value::String(word)) if word == "ready" => Ok(consumer),
            other => Err(format!("the consumer is not ready but tells {other:?}")),
        }
    }

    /// The next message as printed; `None` if none arrives in time.
    pub(crate) async fn receive(&mut self, within: Duration) -> Result<Option<Value>, String> {
        let Some(line) = self.0.line(within).await else {
            return Ok(None);
        };
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|_| format!("the consumer failed: {line}"))
    }

    /// Closes its connection.
    pub(crate) async fn detach(self) {
        self.0.leave().await;
    }
}

/// Both the sandbox and the consumer's script are right: what was recorded comes out as it was recorded.
async fn recorded_messages() -> Outcome {
    let sandbox = Sandbox::start(SandboxConfig::default())
        .await
        .map_err(|error| error.to_string())?;
    let peer = sandbox.amqp_address();
    let mut consumer = Consumer::attach(peer, "accept", &["event/T"]).await?;
    let mut config = ApplicationConfig::of_tenant(peer, "nobody", Behaviour::Accept);
    config.addresses.clear();
    let sender = Application::start(config)
        .await
        .map_err(|error| error.to_string())?;
    let cases = Folder::chosen()
        .cases()
        .map_err(|error| error.to_string())?;
    let messages: Vec<Value> = cases
        .iter()
        .flat_map(|case| &case.exchanges)
        .flat_map(|exchange| exchange.downstream.clone())
        .collect();
    if messages.len() < 50 {
        return Err(format!("only {} messages were found", messages.len()));
    }
    for mut recorded in messages {
        let raw = unhex(recorded["raw_hex"].as_str().unwrap_or_default());
        let outcome = sender
            .sender()
            .send_bytes("event/T", raw, SOON)
            .await
            .map_err(|error| error.to_string())?;
        let printed = consumer
            .receive(SOON)
            .await?
            .ok_or("a message did not arrive")?;
        recorded["link"] = "event/T".into();
        let lines = differences(&without_raw(recorded), &printed);
        if !lines.is_empty() {
            return Err(lines.join("\n"));
        }
        if outcome != Some(sandbox::northbound::Outcome::Accepted) {
            return Err(format!("the outcome is {outcome:?}"));
        }
    }
    consumer.detach().await;
    sender.detach().await;
    sandbox.stop().await;
    Ok(())
}

/// What the application does with telemetry and with an event becomes the code and the text that the device gets.
async fn told_as(behaviour: &str, code: &str, text: &str) -> Outcome {
    let stand = Stand::start(World::default(), &[])
        .await
        .map_err(|error| error.to_string())?;
    let addresses = ["telemetry/DEFAULT_TENANT", "event/DEFAULT_TENANT"];
    let mut consumer = Consumer::attach(stand.amqp(), behaviour, &addresses).await?;
    let device = Device::connect(
        stand.coaps(),
        "sensor1@DEFAULT_TENANT",
        b"hono-secret",
        SOON,
    )
    .await;
    let mut device = device.map_err(|error| error.to_string())?;
    for resource in ["t", "e"] {
        let request = CoapRequest::post(resource).body(0, resource);
        let response = device
            .request(&request, SOON)
            .await
            .map_err(|error| format!("{resource}: {error}"))?;
        let printed = String::from_utf8_lossy(&response.payload);
        if (response.code().as_str(), &*printed) != (code, text) {
            return Err(format!(
                "{resource}: {} `{printed}` instead of {code} `{text}`",
                response.code()
            ));
        }
        if behaviour != "no-credit" && consumer.receive(SOON).await?.is_none() {
            return Err(format!("{resource}: nothing arrived"));
        }
    }
    device.close().await;
    consumer.detach().await;
    stand.stop().await;
    Ok(())
}

fn without_raw(mut message: Value) -> Value {
    if let Some(members) = message.as_object_mut() {
        members.remove("raw_hex");
    }
    message
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// How long anything may take that should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

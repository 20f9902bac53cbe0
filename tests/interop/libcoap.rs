//! libcoap's clients as devices: with DTLS by OpenSSL and by GnuTLS, and without.

use std::{net::SocketAddr, time::Duration};

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::{
    northbound::{Application, Behaviour, Received},
    world::World,
};
use tokio::process::Command;

use crate::{Outcome, Runner, process::Program, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for (tool, library) in [
        (Tool::LibcoapOpenssl, "openssl"),
        (Tool::LibcoapGnutls, "gnutls"),
    ] {
        let name = |what: &str| format!("{what}_over_{library}");
        let uploads = move || uploads(tool);
        trials.push(runner.trial(tool, &name("telemetry_and_an_event"), uploads));
        let wrong = move || stranger(tool, "sensor1@DEFAULT_TENANT", "wrong");
        trials.push(runner.trial(tool, &name("a_wrong_key_is_met_with_silence"), wrong));
        let unknown = move || stranger(tool, "nobody@DEFAULT_TENANT", "hono-secret");
        trials.push(runner.trial(
            tool,
            &name("an_unknown_identity_is_met_with_silence"),
            unknown,
        ));
    }
    trials.push(runner.trial(
        Tool::LibcoapPlain,
        "put_forms_on_the_port_without_security",
        put_forms,
    ));
}

async fn uploads(tool: Tool) -> Outcome {
    let (stand, mut application) = scene().await?;
    for (resource, method) in [
        ("telemetry", "post"),
        ("t", "post"),
        ("event", "post"),
        ("e//4711", "put"),
    ] {
        let body = format!("{{\"to\":\"{resource}\"}}");
        let words = ["-m", method, "-t", "application/json", "-e", &body];
        let told = client(
            tool,
            &as_sensor("sensor1@DEFAULT_TENANT", "hono-secret", &words),
            stand.coaps(),
            resource,
            20,
        )
        .await?;
        arrived(&mut application, resource, &body, &told).await?;
    }
    leave(stand, application).await
}

async fn put_forms() -> Outcome {
    let (stand, mut application) = scene().await?;
    for resource in ["telemetry", "t", "event", "e"] {
        for (device, kind) in [("4711", &[][..]), ("4712", &["-N"])] {
            if resource.starts_with('e') && !kind.is_empty() {
                continue;
            }
            let body = format!("{{\"to\":\"{resource}/{device}\"}}");
            let mut words = vec!["-m", "put", "-t", "application/json", "-e", &body];
            words.extend(kind);
            let path = format!("{resource}/DEFAULT_TENANT/{device}");
            let told = client(Tool::LibcoapPlain, &words, stand.coap(), &path, 20).await?;
            arrived(&mut application, resource, &body, &told).await?;
        }
    }
    leave(stand, application).await
}

/// A peer that cannot prove who it is gets nothing, not even an alert, and nothing of it arrives.
async fn stranger(tool: Tool, identity: &str, key: &str) -> Outcome {
    let (stand, mut application) = scene().await?;
    let words = as_sensor(
        identity,
        key,
        &["-m", "post", "-t", "application/json", "-e", "{}"],
    );
    let told = client(tool, &words, stand.coaps(), "telemetry", 4).await?;
    if told.contains(" c:2.")
        || told.contains(" c:4.")
        || told.contains(" c:5.")
        || told.to_lowercase().contains("alert")
    {
        return Err(format!("the client was answered:\n{told}"));
    }
    if let Some(message) = application.receive(Duration::from_millis(200)).await {
        return Err(format!(
            "a stranger's message arrived: {}",
            message.sections
        ));
    }
    leave(stand, application).await
}

async fn scene() -> Result<(Stand, Application), String> {
    let stand = Stand::start(World::default(), &[])
        .await
        .map_err(|error| error.to_string())?;
    let application =
        Application::attach(stand.amqp(), "DEFAULT_TENANT", &[], Behaviour::Accept).await;
    Ok((stand, application.map_err(|error| error.to_string())?))
}

async fn leave(stand: Stand, application: Application) -> Outcome {
    application.detach().await;
    stand.stop().await;
    Ok(())
}

fn as_sensor<'a>(identity: &'a str, key: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&["-u", identity, "-k", key], words].concat()
}

/// Runs the client to its end and gives all that it writes.
async fn client(
    tool: Tool,
    words: &[&str],
    server: SocketAddr,
    path: &str,
    seconds: u64,
) -> Result<String, String> {
    let scheme = if tool == Tool::LibcoapPlain {
        "coap"
    } else {
        "coaps"
    };
    let mut command = Command::new(tool.program());
    command
        .args(["-v", "7", "-B", &seconds.to_string()])
        .args(words)
        .arg(format!("{scheme}://{server}/{path}"));
    Program::start(command)?
        .rest(Duration::from_secs(seconds + 10))
        .await
}

/// The client was told 2.04, and the message came where it should.
async fn arrived(application: &mut Application, resource: &str, body: &str, told: &str) -> Outcome {
    if !told.contains(" c:2.04 ") {
        return Err(format!(
            "{resource}: no 2.04 in what the client tells:\n{told}"
        ));
    }
    let endpoint = if resource.starts_with('e') {
        "event"
    } else {
        "telemetry"
    };
    let message: Received = application
        .receive(crate::proton::SOON)
        .await
        .ok_or(format!("{resource}: nothing arrived"))?;
    let content_type = message.sections.pointer("/properties/content-type/symbol");
    let found = (
        message.link.as_str(),
        message.payload.as_slice(),
        content_type.and_then(|it| it.as_str()),
    );
    let wanted = format!("{endpoint}/DEFAULT_TENANT");
    if found != (wanted.as_str(), body.as_bytes(), Some("application/json")) {
        return Err(format!(
            "{resource}: another message arrived over {}: {}",
            message.link, message.sections
        ));
    }
    Ok(())
}

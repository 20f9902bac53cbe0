//! libcoap's clients as devices: with DTLS by OpenSSL and by GnuTLS, and without.

use std::{net::SocketAddr, time::Duration};

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::{
    northbound::{Application, Behaviour, Received},
    world::World,
};
use tokio::process::Command;

use crate::{Outcome, Runner, process::Program, tap::Tap, tool::Tool};

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
    for (security, sizes) in [
        ("psk", &["1500", "1500"][..]),
        ("psk", &["2000", "1100", "2048", "1025"]),
        ("plain", &["1500", "1500"]),
        ("plain", &["2048", "1025", "1500"]),
    ] {
        let name = format!(
            "{}_uploads_at_a_time_of_libcoap_over_{security}",
            sizes.len()
        );
        let trial = move || uploads_at_a_time_arrive_whole(security, sizes);
        trials.push(runner.trial(Tool::Libcoap, &name, trial));
    }
    trials.push(runner.trial(
        Tool::LibcoapPlain,
        "a_repeated_request_after_its_separate_response_gets_an_empty_ack",
        a_repeated_request_after_its_separate_response_gets_an_empty_ack,
    ));
    for tool in [Tool::LibcoapOpenssl, Tool::LibcoapPlain] {
        let name = format!(
            "each_address_answers_for_itself_{}",
            tool.program().display()
        );
        let trial = move || each_address_answers_for_itself(tool);
        trials.push(runner.trial(tool, &name.replace('-', "_"), trial));
    }
}

/// Symptom: one mixed body, or 4.08 for both. Cause: Request-Tag, which libcoap gives to each upload,
/// was not part of the key of a transfer (RFC 9175 §3).
async fn uploads_at_a_time_arrive_whole(security: &str, sizes: &[&str]) -> Outcome {
    let (stand, mut application) = scene().await?;
    let (server, path) = match security {
        "psk" => (stand.coaps(), "telemetry"),
        _ => (stand.coap(), "telemetry/DEFAULT_TENANT/4711"),
    };
    let mut command = Command::new(Tool::Libcoap.program());
    command.args([&server.ip().to_string(), &server.port().to_string()]);
    command.args([security, path]).args(sizes);
    let said = Program::start(command)?
        .rest(Duration::from_secs(40))
        .await?;
    let mut wanted = Vec::new();
    for (letter, size) in (b'a'..).zip(sizes) {
        let length = size.parse().map_err(|_| "no length")?;
        wanted.push(vec![letter; length]);
        let line = format!("{} 2.04", char::from(letter));
        if !said.lines().any(|it| it == line) {
            return Err(format!("no `{line}` in what the client says:\n{said}"));
        }
    }
    let mut arrived = Vec::new();
    for _ in sizes {
        let message = application.receive(crate::proton::SOON).await;
        arrived.push(message.ok_or("a message is missing")?.payload);
    }
    arrived.sort();
    if arrived != wanted {
        return Err(format!("other bodies arrived of {sizes:?}"));
    }
    leave(stand, application).await
}

/// The network delivers a copy of the request after the client has acknowledged the separate response.
/// The response was sent again then, as CON.
async fn a_repeated_request_after_its_separate_response_gets_an_empty_ack() -> Outcome {
    let (stand, application) = scene().await?;
    let tap = Tap::start(stand.coap()).await;
    let tap = tap.map_err(|error| error.to_string())?;
    let words = ["-m", "put"];
    let path = "event/DEFAULT_TENANT/4711?hono-ttd=2&empty";
    let said = client(Tool::LibcoapPlain, &words, tap.address(), path, 20).await?;
    tap.acknowledged().await;
    let kinds = |datagrams: &[Vec<u8>]| -> Vec<(u8, u8)> {
        let kind = |datagram: &Vec<u8>| Some((datagram.first()? >> 4 & 3, *datagram.get(1)?));
        datagrams.iter().filter_map(kind).collect()
    };
    // An empty acknowledgement, then the response as CON.
    let mut sent = kinds(&tap.of_server().await);
    // A busy machine may be slow enough for a retransmission.
    sent.dedup();
    if sent != [(2, 0), (0, 0x44)] {
        return Err(format!("{sent:?} was sent; the client says:\n{said}"));
    }
    let again = kinds(&tap.repeat_first().await?);
    if again != [(2, 0)] {
        return Err(format!("{again:?} is the answer to the repeated request"));
    }
    leave(stand, application).await
}

/// Symptom: a client that asked the second address of a host heard nothing. Cause: answers left from
/// the first one (RFC 7252 §5.3.2).
async fn each_address_answers_for_itself(tool: Tool) -> Outcome {
    let stand = Stand::start(
        World::default(),
        &[
            ("HONO_COAP_BINDADDRESS", "0.0.0.0"),
            ("HONO_COAP_INSECUREPORTBINDADDRESS", "0.0.0.0"),
        ],
    )
    .await
    .map_err(|error| error.to_string())?;
    let attached =
        Application::attach(stand.amqp(), "DEFAULT_TENANT", &[], Behaviour::Accept).await;
    let mut application = attached.map_err(|error| error.to_string())?;
    for last in [1, 2, 77] {
        let body = format!("to {last}");
        let (port, path, words) = match tool {
            Tool::LibcoapPlain => (stand.coap().port(), "telemetry/DEFAULT_TENANT/4711", vec![]),
            _ => {
                let (identity, key) = ("sensor1@DEFAULT_TENANT", "hono-secret");
                (
                    stand.coaps().port(),
                    "telemetry//4711",
                    as_sensor(identity, key, &[]),
                )
            }
        };
        let further = ["-m", "put", "-t", "application/json", "-e", &body];
        let words = [words, further.to_vec()].concat();
        let server = SocketAddr::from(([127, 0, 0, last], port));
        let said = client(tool, &words, server, path, 10).await?;
        arrived(&mut application, "telemetry", &body, &said).await?;
    }
    leave(stand, application).await
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
        let printed = client(
            tool,
            &as_sensor("sensor1@DEFAULT_TENANT", "hono-secret", &words),
            stand.coaps(),
            resource,
            20,
        )
        .await?;
        arrived(&mut application, resource, &body, &printed).await?;
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
            let printed = client(Tool::LibcoapPlain, &words, stand.coap(), &path, 20).await?;
            arrived(&mut application, resource, &body, &printed).await?;
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
    let printed = client(tool, &words, stand.coaps(), "telemetry", 4).await?;
    if printed.contains(" c:2.")
        || printed.contains(" c:4.")
        || printed.contains(" c:5.")
        || printed.to_lowercase().contains("alert")
    {
        return Err(format!("the client was answered:\n{printed}"));
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

/// The client got 2.04, and the message arrived.
async fn arrived(
    application: &mut Application,
    resource: &str,
    body: &str,
    printed: &str,
) -> Outcome {
    if !printed.contains(" c:2.04 ") {
        return Err(format!(
            "{resource}: no 2.04 in the client's output:\n{printed}"
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

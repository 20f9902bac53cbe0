//! A device on Californium with a DTLS connection id: it goes on, without a handshake, from another address and after the adapter was
//! replaced.

use std::{net::UdpSocket, path::Path, time::Duration};

use acceptance::{
    pki::Folder,
    stand::{Stand, config, page, status},
};
use adapter::app::App;
use libtest_mimic::Trial;
use sandbox::{
    northbound::{Application, Behaviour},
    world::World,
};
use tokio::{process::Command, time::sleep};

use crate::{Outcome, Runner, nat::Nat, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    trials.push(runner.trial(
        Tool::Californium,
        "a_session_outlives_its_address_and_the_adapter",
        outlives,
    ));
}

async fn outlives() -> Outcome {
    let said = |error: std::io::Error| error.to_string();
    let folder = Folder::new("californium").map_err(said)?;
    let key = folder.file("key", &"5e".repeat(32)).map_err(said)?;
    let store = folder.path().join("sessions").display().to_string();
    let port = free_port().map_err(said)?.to_string();
    let settings = [
        ("HONO_COAP_PORT", port.as_str()),
        ("HONO_COAP_CONNECTIONIDLENGTH", "8"),
        ("HONO_COAP_SESSIONSTOREPATH", &store),
        ("HONO_COAP_SESSIONSTOREKEYPATH", &key),
    ];
    let stand = Stand::start(World::default(), &settings)
        .await
        .map_err(|error| error.to_string())?;
    let (amqp, coaps) = (stand.amqp(), stand.coaps());
    let application = Application::attach(amqp, "DEFAULT_TENANT", &[], Behaviour::Accept).await;
    let mut application = application.map_err(|error| error.to_string())?;
    let nat = Nat::start(coaps).await.map_err(said)?;
    let mut device = device(folder.path(), nat.port()).await?;

    let first = event(&mut device, &mut application, "at home").await?;
    nat.rebind().await.map_err(said)?;
    let moved = event(&mut device, &mut application, "moved").await?;
    let sandbox = stand.stop_adapter().await.ok_or("no sandbox")?;
    let app = start(amqp, &settings).await?;
    let replaced = event(&mut device, &mut application, "replaced").await?;
    handshakes(&app, 0).await?;
    app.stop().await;
    let app = start(amqp, &settings).await?;
    nat.rebind().await.map_err(said)?;
    let both = event(&mut device, &mut application, "moved and replaced").await?;
    handshakes(&app, 0).await?;
    if [&moved, &replaced, &both] != [&first; 3] {
        return Err(format!(
            "the device made a new handshake: {first}, {moved}, {replaced}, {both}"
        ));
    }
    device.kill().await;
    app.stop().await;
    application.detach().await;
    sandbox.stop().await;
    Ok(())
}

/// Sends an event, which arrives; what the device tells of its session.
async fn event(
    device: &mut Program,
    application: &mut Application,
    text: &str,
) -> Result<String, String> {
    device.write(format!("{text}\n").as_bytes()).await?;
    let mut printed = Vec::new();
    let session = loop {
        let Some(line) = device.line(SOON).await else {
            return Err(format!(
                "{text}: no response; the device prints {printed:?}"
            ));
        };
        if let Some(answer) = line.strip_prefix("answer ") {
            let session = answer.strip_prefix("2.04 write-cid ");
            break session.ok_or(format!("{text}: {answer}"))?.to_owned();
        }
        printed.push(line);
    };
    if session.starts_with("null") {
        return Err(format!("{text}: there is no connection id: {session}"));
    }
    let message = application.receive(SOON).await;
    let message = message.ok_or(format!("{text}: nothing arrived"))?;
    if message.payload != text.as_bytes() {
        return Err(format!("{text}: another message: {}", message.sections));
    }
    Ok(session)
}

/// Compiles the device and starts it.
async fn device(folder: &Path, port: u16) -> Result<Program, String> {
    let jars = Tool::Californium.program().join("*").display().to_string();
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/interop/californium/Device.java"
    );
    let mut compile = Command::new("javac");
    compile.args(["-cp", &jars, "-d"]).arg(folder).arg(source);
    let printed = Program::start(compile)?
        .rest(Duration::from_secs(60))
        .await?;
    let class_path = format!("{}:{jars}", folder.display());
    let mut java = Command::new("java");
    java.args(["-XX:TieredStopAtLevel=1", "-cp", &class_path, "Device"]);
    java.arg(port.to_string());
    Program::start(java).map_err(|error| format!("{error}; javac: {printed}"))
}

/// Another adapter at the same port, once it is ready.
async fn start(amqp: std::net::SocketAddr, settings: &[(&str, &str)]) -> Result<App, String> {
    let config = config(amqp, settings).map_err(|error| error.to_string())?;
    let app = App::start(config).await;
    let app = app.map_err(|error| error.to_string())?;
    while !matches!(status(app.health_address(), "/readiness").await, Ok(200)) {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(app)
}

/// How many handshakes this adapter has seen the end of, as its metrics tell.
async fn handshakes(app: &App, expected: u64) -> Outcome {
    let name = "coap_adapter_dtls_handshakes_established_total";
    // Written twice a second.
    sleep(Duration::from_secs(1)).await;
    loop {
        let page = page(app.health_address(), "/prometheus").await;
        let (_, page) = page.map_err(|error| error.to_string())?;
        let line = page.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split(' ').next_back()?.parse::<f64>().ok());
        match value {
            Some(value) if value == expected as f64 => return Ok(()),
            Some(value) => return Err(format!("{value} handshakes, not {expected}")),
            None => sleep(Duration::from_millis(50)).await,
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

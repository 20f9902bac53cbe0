//! A Secret that Kubernetes swaps under the running adapter, seen by `openssl s_client`: the next handshake shows the new
//! certificate, the old session goes on.

use std::{fs, io, os::unix::fs::symlink, path::Path, time::Duration};

use acceptance::{
    pki::{Authority, Folder, Issued},
    stand::Stand,
};
use libtest_mimic::Trial;
use sandbox::{
    device::CoapRequest,
    northbound::{Application, Behaviour},
    world::{Device, Tenant, World},
};
use serde_json::json;
use tokio::{process::Command, time::Instant};

use crate::{Outcome, Runner, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "a_swapped_secret_is_shown_and_the_old_session_goes_on";
    trials.push(runner.trial(Tool::Openssl, name, swapped));
}

async fn swapped() -> Outcome {
    let text = |error: io::Error| error.to_string();
    let (servers, devices) = (Authority::new("Servers"), Authority::new("Devices"));
    let secret = Folder::new("secret").map_err(text)?;
    publish(secret.path(), "..1", &servers.issue("first")).map_err(text)?;
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), secret.path().join(name)).map_err(text)?;
    }
    let file = |name| secret.path().join(name).to_string_lossy().into_owned();
    let settings = [
        ("HONO_COAP_KEYPATH", file("tls.key")),
        ("HONO_COAP_CERTPATH", file("tls.crt")),
        ("HONO_APP_RELOADINTERVAL", "100".to_owned()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, text)| (*name, text.as_str()));
    let stand = Stand::start(world(&devices), &settings).await;
    let stand = stand.map_err(|error| error.to_string())?;
    let application = Application::attach(stand.amqp(), "T", &[], Behaviour::Accept).await;
    let mut application = application.map_err(|error| error.to_string())?;
    let device = Files::write(&devices.issue("Device")).map_err(text)?;

    let mut old = device.client(&stand)?;
    shows(&mut old, "first").await?;
    publish(secret.path(), "..2", &servers.issue("second")).map_err(text)?;
    let deadline = Instant::now() + SOON;
    loop {
        let mut new = device.client(&stand)?;
        let shown = shows(&mut new, "second").await;
        new.kill().await;
        if shown.is_ok() || Instant::now() > deadline {
            shown?;
            break;
        }
    }
    let telemetry = CoapRequest::post("t").body(0, "still here");
    old.write(&telemetry.encode(7, b"tok")).await?;
    let message = application.receive(SOON).await.ok_or("nothing arrived")?;
    if message.payload != b"still here" {
        return Err(format!("another message arrived: {}", message.sections));
    }
    old.kill().await;
    application.detach().await;
    stand.stop().await;
    Ok(())
}

/// As the kubelet does: a new folder, and a rename that makes `..data` point to it.
fn publish(secret: &Path, version: &str, issued: &Issued) -> io::Result<()> {
    fs::create_dir(secret.join(version))?;
    fs::write(secret.join(version).join("tls.crt"), &issued.certificate)?;
    fs::write(secret.join(version).join("tls.key"), &issued.key)?;
    symlink(version, secret.join("..data_tmp"))?;
    fs::rename(secret.join("..data_tmp"), secret.join("..data"))
}

/// Files by which `openssl` is a device.
struct Files {
    folder: Folder,
}

impl Files {
    fn write(issued: &Issued) -> io::Result<Self> {
        let folder = Folder::new("renewal-device")?;
        folder.file("cert.pem", &issued.certificate)?;
        folder.file("key.pem", &issued.key)?;
        Ok(Self { folder })
    }

    fn client(&self, stand: &Stand) -> Result<Program, String> {
        let mut command = Command::new(Tool::Openssl.program());
        command.args(["s_client", "-dtls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM8"]);
        command.args(["-connect", &stand.coaps().to_string()]);
        command
            .arg("-cert")
            .arg(self.folder.path().join("cert.pem"));
        command.arg("-key").arg(self.folder.path().join("key.pem"));
        Program::start(command)
    }
}

/// Waits until the client has shaken hands with a server of this name.
async fn shows(client: &mut Program, name: &str) -> Outcome {
    let (deadline, mut text) = (Instant::now() + Duration::from_secs(5), String::new());
    let mut named = false;
    while let Some(line) = client
        .line(deadline.saturating_duration_since(Instant::now()))
        .await
    {
        named |= line.starts_with("subject=") && line.contains(name);
        // What follows the certificates and the cipher; data may be sent now.
        if named && line.contains("Verify return code") {
            return Ok(());
        }
        text += &line;
        text.push('\n');
    }
    Err(format!("`{name}` is not shown:\n{text}"))
}

fn world(devices: &Authority) -> World {
    let trusted = json!({"trusted-ca": [devices.trusted(&json!({}))]});
    let device = Device::default().with_certificate("CN=Device,OU=Works,O=ACME");
    let mut world = World::empty();
    world.tenants.insert(
        "T".to_owned(),
        Tenant::from_json(trusted).with_device("d", device),
    );
    world
}

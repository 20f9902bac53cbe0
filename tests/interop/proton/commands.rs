//! qpid-proton sends commands of every form that its messages have: what is one reaches the device, what is none comes back with the
//! reason, and the device waits on.

use std::path::Path;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour},
    world::World,
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::SOON;
use crate::{Outcome, process::Program, tool::Tool};

/// The forms that `sender.py` knows: the body that the device gets.
const TAKEN: [(&str, &[u8]); 7] = [
    ("good", b"x"),
    ("bytes", b"\0\xff"),
    ("value-bytes", b"on"),
    ("value-text", b"on"),
    ("no-body", b""),
    ("annotations", b"x"),
    ("properties", b"x"),
];
/// And those that are no commands.
const REJECTED: [&str; 10] = [
    "value-int",
    "value-list",
    "value-map",
    "value-uuid",
    "sequence",
    "no-subject",
    "id-ulong",
    "id-uuid",
    "id-bytes",
    "reply-to-nonsense",
];

pub(super) async fn every_form() -> Outcome {
    let stand = Stand::start(World::default(), &[]).await;
    let stand = stand.map_err(|error| error.to_string())?;
    let attached = Application::attach(stand.amqp(), TENANT, &[], Behaviour::Accept);
    let mut application = attached.await.map_err(|error| error.to_string())?;
    let forms = TAKEN.iter().map(|(form, _)| *form);
    // After what is rejected, the same wait ends with what is not.
    let forms: Vec<&str> = REJECTED.into_iter().chain(forms).collect();
    let mut sender = sender(&stand, &forms)?;
    if printed(&mut sender).await? != "ready" {
        return Err("the sender is not ready".to_owned());
    }
    let mut forms = forms.into_iter();
    for (_, body) in TAKEN {
        let waiting = tokio::spawn(wait(stand.coap()));
        application.receive(SOON).await.ok_or("nobody waits")?;
        loop {
            let form = forms.next().ok_or("there are no more forms")?;
            sender.write(b"\n").await?;
            let outcome = printed(&mut sender).await?;
            let rejected = REJECTED.contains(&form);
            let expected = if rejected {
                json!(["rejected", "malformed command message"])
            } else {
                json!(["accepted", null])
            };
            if outcome != expected {
                return Err(format!("{form}: {outcome} instead of {expected}"));
            }
            if !rejected {
                break;
            }
        }
        let got = waiting.await.map_err(|error| error.to_string())??;
        if got != body {
            return Err(format!("the device got {got:?} instead of {body:?}"));
        }
    }
    sender.leave().await;
    application.detach().await;
    stand.stop().await;
    Ok(())
}

/// Lets the device wait, and tells the body of its command.
async fn wait(server: std::net::SocketAddr) -> Result<Vec<u8>, String> {
    let mut device = Device::plain(server)
        .await
        .map_err(|error| error.to_string())?;
    let request = CoapRequest::put(&format!("e/{TENANT}/{DEVICE}"));
    let request = request.query("empty").query("hono-ttd=60");
    let response = device.request(&request, 3 * SOON).await;
    response
        .map(|response| response.payload)
        .map_err(|error| error.to_string())
}

fn sender(stand: &Stand, forms: &[&str]) -> Result<Program, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/proton/sender.py");
    let mut command = Command::new(Tool::Proton.program());
    command
        .arg(script)
        .arg(stand.amqp().to_string())
        .args([TENANT, DEVICE])
        .args(forms);
    Program::start(command)
}

async fn printed(sender: &mut Program) -> Result<Value, String> {
    let line = sender.line(SOON).await.ok_or("the sender is silent")?;
    serde_json::from_str(&line).map_err(|_| format!("the sender failed: {line}"))
}

const TENANT: &str = "DEFAULT_TENANT";
const DEVICE: &str = "4711";

//! Devices on Mbed TLS and OpenSSL behind a router whose link takes small datagrams only.
//!
//! The test makes the namespaces and runs itself in that of the server.

use std::{env, net::SocketAddr, path::Path};

use acceptance::{
    pki::{Authority, Folder, Issued},
    stand::Stand,
};
use libtest_mimic::Trial;
use rcgen::SanType;
use sandbox::world::{Device, Tenant, World};
use serde_json::json;
use tokio::process::Command;

use crate::{
    Outcome, Runner,
    lab::{self, Lab},
    mbedtls::{Pipe, application},
    openssl::wait_for,
    process::Program,
    tool::Tool,
};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for mtu in ["576", "1240", "1280"] {
        let name = format!("devices_behind_a_link_of_{mtu}_bytes_are_served");
        let words = name.clone();
        let trial = move || devices_behind_a_small_link_are_served(mtu, words);
        trials.push(runner.trial(Tool::Namespaces, &name, trial));
    }
}

/// Symptom: flights and commands above the MTU of the path vanished for ever. Cause: datagrams left
/// with the don't-fragment flag, and were never made smaller.
async fn devices_behind_a_small_link_are_served(mtu: &str, name: String) -> Outcome {
    if let Ok(namespace) = env::var(DEVICE) {
        return serve(&namespace, mtu).await;
    }
    let lab = Lab::new(mtu);
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let mut inside = Command::from(lab::command(&lab.of("server"), &this));
    inside
        .args([&name, "--exact"])
        .env(DEVICE, lab.of("device"));
    let output = inside.kill_on_drop(true).output().await;
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    // Without this line it may have found nothing to run.
    if output.status.success() && said.contains("1 passed") {
        Ok(())
    } else {
        Err(said.into_owned())
    }
}

/// The part in the namespace of the server.
async fn serve(namespace: &str, mtu: &str) -> Outcome {
    let said = |error: std::io::Error| error.to_string();
    let folder = Folder::new(&format!("mtu-{mtu}")).map_err(said)?;
    let write = |name: &str, text: &str| folder.file(name, text).map_err(said);
    let (servers, devices) = (Authority::new("Servers"), Authority::new("Devices"));
    let server = large_certificate(&servers);
    let device = devices.issue("Device");
    let known = Device::default().with_certificate("CN=Device,OU=Works,O=ACME");
    let members = json!({
        "trusted-ca": [devices.trusted(&json!({}))],
        "trust-anchor-group": "devices"
    });
    let mut world = World::default();
    let tenant = Tenant::from_json(members).with_device("4711", known);
    world.tenants.insert("T".to_owned(), tenant);
    let settings = [
        ("HONO_COAP_BINDADDRESS", "::"),
        ("HONO_COAP_KEYPATH", &*write("server.key", &server.key)?),
        (
            "HONO_COAP_CERTPATH",
            &*write("server.pem", &server.certificate)?,
        ),
    ];
    let stand = Stand::start(world, &settings).await;
    let stand = stand.map_err(|error| error.to_string())?;
    let identity = write("device.pem", &(device.certificate.clone() + &device.key))?;
    let mut hosts = vec!["10.78.1.1"];
    if mtu.parse::<u32>().is_ok_and(|mtu| mtu >= 1280) {
        hosts.push("fd78:1::1");
    }
    let mut application = application(&stand).await?;
    for host in hosts {
        let port = stand.coaps().port().to_string();
        let program = Tool::MbedTls.program();
        let with_key = with_words(namespace, &program, &[host, &port, "0", "-"]);
        let mut device = Pipe::start(with_key).await?;
        for length in [100, 1024, 1900, 2048] {
            device.uploads(&mut application, length).await?;
        }
        for length in [100, 500, 700, 1024, 1200, 3000] {
            device.fetches_a_command(&mut application, length).await?;
        }
        let with_certificate = with_words(namespace, &program, &[host, &port, "0", &identity]);
        let device = Pipe::start(with_certificate).await;
        device.map_err(|error| format!("a certificate over Mbed TLS: {error}"))?;
        let address = host.parse().map_err(|_| "no address")?;
        let place = SocketAddr::new(address, stand.coaps().port()).to_string();
        let words = [
            "s_client", "-dtls1_2", "-connect", &place, "-cert", &identity,
        ];
        let openssl = with_words(namespace, Path::new("openssl"), &words);
        let mut client = Program::start(openssl)?;
        wait_for(&mut client, "Cipher is ECDHE-ECDSA").await?;
        client.kill().await;
    }
    application.detach().await;
    stand.stop().await;
    Ok(())
}

/// One that takes a flight of more than 1,240 bytes.
fn large_certificate(authority: &Authority) -> Issued {
    authority.issue_with("adapter", |params| {
        let names = (0..30).map(|it| format!("a-long-name-of-the-adapter-{it}.example.org"));
        params.subject_alt_names = names
            .filter_map(|name| Some(SanType::DnsName(name.try_into().ok()?)))
            .collect();
    })
}

fn with_words(namespace: &str, program: &Path, words: &[&str]) -> Command {
    let mut command = Command::from(lab::command(namespace, program));
    command.args(words);
    command
}

/// The namespace of the device; set where the test runs in that of the server.
const DEVICE: &str = "INTEROP_DEVICE_NAMESPACE";

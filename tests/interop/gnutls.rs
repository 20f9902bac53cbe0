//! `gnutls-cli` as a device with a small buffer for records (RFC 8449).

use acceptance::{
    pki::{Authority, Folder},
    stand::Stand,
};
use libtest_mimic::Trial;
use rcgen::SanType;
use sandbox::{
    device::CoapRequest,
    world::{Device, Tenant, World},
};
use serde_json::json;
use tokio::process::Command;

use crate::{
    Outcome, Runner, mbedtls::application, openssl::wait_for, process::Program, proton::SOON,
    tap::Tap, tool::Tool,
};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for limit in [512, 700, 1024] {
        let name = format!("gnutls_gets_no_record_above_its_limit_of_{limit}");
        let trial = move || gnutls_gets_no_record_above_its_limit(limit);
        trials.push(runner.trial(Tool::Gnutls, &name, trial));
    }
}

/// Symptom: a device with `record_size_limit` got its server's certificate in a record of 795 bytes.
/// Cause: the extension was ignored. GnuTLS adds `max_fragment_length` to a limit of 512.
async fn gnutls_gets_no_record_above_its_limit(limit: usize) -> Outcome {
    let said = |error: std::io::Error| error.to_string();
    let folder = Folder::new(&format!("gnutls-{limit}")).map_err(said)?;
    let write = |name: &str, text: &str| folder.file(name, text).map_err(said);
    let (servers, devices) = (Authority::new("Servers"), Authority::new("Devices"));
    let server = servers.issue_with("adapter", |params| {
        let names = (0..30).map(|it| format!("a-long-name-of-the-adapter-{it}.example.org"));
        params.subject_alt_names = names
            .filter_map(|name| Some(SanType::DnsName(name.try_into().ok()?)))
            .collect();
    });
    let device = devices.issue("Device");
    let known = Device::default().with_certificate("CN=Device,OU=Works,O=ACME");
    let members = json!({
        "trusted-ca": [devices.trusted(&json!({}))],
        "trust-anchor-group": "devices"
    });
    let mut world = World::empty();
    let tenant = Tenant::from_json(members).with_device("4711", known);
    world.tenants.insert("DEFAULT_TENANT".to_owned(), tenant);
    let settings = [
        ("HONO_COAP_KEYPATH", &*write("server.key", &server.key)?),
        (
            "HONO_COAP_CERTPATH",
            &*write("server.pem", &server.certificate)?,
        ),
    ];
    let stand = Stand::start(world, &settings).await;
    let stand = stand.map_err(|error| error.to_string())?;
    let mut application = application(&stand).await?;
    let tap = Tap::start(stand.coaps()).await.map_err(said)?;
    let mut command = Command::new(Tool::Gnutls.program());
    command.args(["--udp", "--insecure", "--priority", PRIORITY]);
    command.args(["--recordsize", &limit.to_string()]);
    command.args(["--x509certfile", &write("device.pem", &device.certificate)?]);
    command.args(["--x509keyfile", &write("device.key", &device.key)?]);
    command.args(["--port", &tap.address().port().to_string(), "127.0.0.1"]);
    let mut client = Program::start(command)?;
    wait_for(&mut client, "Handshake was completed").await?;
    // The program sends lines, and no zeros.
    let request = CoapRequest::post("t").body(50, "21 degrees\n");
    client.write(&request.encode(0x2121, b"tok")).await?;
    let message = application.receive(SOON).await.ok_or("nothing arrived")?;
    if message.payload != b"21 degrees\n" {
        return Err(format!("another message arrived: {}", message.sections));
    }
    let sent = tap.of_server().await;
    let lengths: Vec<usize> = sent.iter().flat_map(|it| plaintexts(it)).collect();
    let largest = lengths.iter().max().copied().unwrap_or(0);
    if largest > limit || largest == 0 {
        return Err(format!("records of {lengths:?} bytes"));
    }
    client.kill().await;
    application.detach().await;
    stand.stop().await;
    Ok(())
}

/// The lengths of what the records of a datagram carry (RFC 6347 §4.1). Sealed ones have an explicit
/// nonce of 8 bytes and a tag of 16.
fn plaintexts(datagram: &[u8]) -> Vec<usize> {
    let (mut rest, mut lengths) = (datagram, Vec::new());
    while let [
        _,
        _,
        _,
        first,
        second,
        _,
        _,
        _,
        _,
        _,
        _,
        high,
        low,
        body @ ..,
    ] = rest
    {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let sealed = (*first, *second) != (0, 0);
        lengths.push(if sealed {
            length.saturating_sub(24)
        } else {
            length
        });
        rest = body.get(length..).unwrap_or_default();
    }
    lengths
}

const PRIORITY: &str = "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+AES-128-GCM:+AEAD:+SIGN-ALL:+COMP-NULL:\
    +GROUP-ALL:+CTYPE-ALL:%PROFILE_LOW";

//! OpenSSL's and libcoap's clients prove themselves with certificates, of issuers with EC and with RSA keys.

use std::path::Path;

use acceptance::{
    pki::{Authority, Folder, Issued, trusted},
    stand::Stand,
};
use libtest_mimic::Trial;
use rcgen::SanType;
use sandbox::{
    device::CoapRequest,
    northbound::{Application, Behaviour},
    world::{Device, Tenant, World},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Outcome, Runner, openssl::wait_for, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for suite in SUITES {
        let name = format!("a_certificate_under_{}", suite.to_lowercase());
        let name = name.replace('-', "_");
        trials.push(runner.trial(Tool::Openssl, &name, move || suite_of(suite)));
    }
    let name = "a_certificate_of_an_issuer_with_an_rsa_key";
    trials.push(runner.trial(Tool::Openssl, name, rsa));
    for curve in CURVES {
        for hash in ["SHA256", "SHA384", "SHA512"] {
            let name = format!("a_server_key_on_{curve}_signs_with_{hash}");
            let name = name.replace('-', "").to_lowercase();
            trials.push(runner.trial(Tool::Openssl, &name, move || signs(curve, hash)));
        }
    }
    let name = "a_client_that_accepts_no_signature_of_ours_is_refused";
    trials.push(runner.trial(Tool::Openssl, name, no_shared_signature));
    for device in ["P-256", "P-384", "P-521", "ed25519"] {
        for authority in ["P-256", "P-384", "P-521", "rsa"] {
            let name = format!("a_device_key_{device}_of_an_authority_{authority}");
            let name = name.replace('-', "").to_lowercase();
            let trial =
                move || each_kind_of_device_key_and_of_authority_is_served(device, authority);
            trials.push(runner.trial(Tool::Openssl, &name, trial));
        }
    }
    let name = "the_host_name_tells_the_tenant";
    trials.push(runner.trial(Tool::Openssl, name, host));
    let name = "a_certificate_of_nobody_trusted_is_a_bad_certificate";
    trials.push(runner.trial(Tool::Openssl, name, refused));
    for (tool, library) in [
        (Tool::LibcoapOpenssl, "openssl"),
        (Tool::LibcoapGnutls, "gnutls"),
    ] {
        let name = format!("a_certificate_over_{library}");
        trials.push(runner.trial(tool, &name, move || libcoap(tool)));
    }
}

/// Curves of keys, as OpenSSL calls them.
const CURVES: [&str; 3] = ["P-256", "P-384", "P-521"];

/// OpenSSL's names of the suites with certificates (spec: coap-adapter §9).
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM",
];

async fn suite_of(suite: &'static str) -> Outcome {
    let authority = Authority::new("Devices");
    let scene = Scene::new(suite, json!({"T": authority.trusted(&json!({}))})).await?;
    let mut client = scene.client(&authority.issue(DEVICE), &["-cipher", suite])?;
    wait_for(&mut client, &format!("Cipher is {suite}")).await?;
    scene.serves(client, "T").await
}

async fn host() -> Outcome {
    let authority = Authority::new("Devices");
    let entry = authority.trusted(&json!({}));
    let scene = Scene::new("host", json!({"ONE": entry, "TWO": entry})).await?;
    let words = ["-servername", "TWO.example.org"];
    let client = scene.client(&authority.issue(DEVICE), &words)?;
    scene.serves(client, "TWO").await
}

async fn refused() -> Outcome {
    let authority = Authority::new("Devices");
    let scene = Scene::new("refused", json!({"T": authority.trusted(&json!({}))})).await?;
    let stranger = Authority::new("Devices").issue(DEVICE);
    let printed = scene.client(&stranger, &[])?.rest(SOON).await?;
    if !printed.contains("alert bad certificate") {
        return Err(format!("the client does not report the alert:\n{printed}"));
    }
    scene.stand.stop().await;
    Ok(())
}

/// OpenSSL makes the authority too, as Hono's registry assumes RSA by default.
async fn rsa() -> Outcome {
    let folder = folder("rsa")?;
    let at = folder.path();
    let own = "req -x509 -nodes -days 2 -newkey rsa:2048 -subj /O=ACME/CN=Rsa";
    openssl(at, &format!("{own} -keyout ca.key -out ca.pem")).await?;
    openssl(at, "x509 -in ca.pem -outform DER -out ca.der").await?;
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout device.key";
    let issuer = "-CA ca.pem -CAkey ca.key";
    let device = format!("req -x509 -nodes -days 2 {curve} {issuer} -out device.pem");
    openssl(at, &format!("{device} -subj /O=ACME/OU=Works/CN=Device")).await?;
    let read = |name: &str| std::fs::read(at.join(name)).map_err(|error| error.to_string());
    let text = |name: &str| String::from_utf8(read(name)?).map_err(|error| error.to_string());
    let issued = Issued {
        certificate: text("device.pem")?,
        key: text("device.key")?,
    };
    let entry = trusted("CN=Rsa,O=ACME", &read("ca.der")?, "RSA", &json!({}));
    let scene = Scene::new("rsa-scene", json!({"T": entry})).await?;
    let client = scene.client(&issued, &[])?;
    scene.serves(client, "T").await
}

/// As Californium's clients do by default, this one accepts a single hash, whatever curve the server's key is on.
async fn signs(curve: &'static str, hash: &'static str) -> Outcome {
    let authority = Authority::new("Devices");
    let name = format!("signs-{curve}-{hash}");
    let keys = folder(&format!("{name}-keys"))?;
    let words = format!(
        "req -x509 -nodes -days 2 {} -keyout server.key -out server.pem -subj /CN=adapter \
         -addext subjectAltName=IP:127.0.0.1",
        new_key(curve)
    );
    openssl(keys.path(), &words).await?;
    let server = issued(&keys, "server")?;
    let trusts = json!({"T": authority.trusted(&json!({}))});
    let scene = Scene::with_server(&name, trusts, &server, server.certificate.clone()).await?;
    let sigalgs = format!("ECDSA+{hash}");
    let words = ["-sigalgs", &sigalgs, "-groups", "P-256:P-384:P-521"];
    let mut client = scene.client(&authority.issue(DEVICE), &words)?;
    wait_for(&mut client, &format!("Peer signing digest: {hash}")).await?;
    scene.serves(client, "T").await
}

async fn no_shared_signature() -> Outcome {
    let authority = Authority::new("Devices");
    let trusts = json!({"T": authority.trusted(&json!({}))});
    let scene = Scene::new("no-signature", trusts).await?;
    let words = ["-sigalgs", "RSA+SHA256"];
    let printed = scene
        .client(&authority.issue(DEVICE), &words)?
        .rest(SOON)
        .await?;
    if !printed.contains("handshake failure") {
        return Err(format!(
            "the client does not report a handshake failure:\n{printed}"
        ));
    }
    scene.stand.stop().await;
    Ok(())
}

/// Certificates of version 1, signed with SHA-512.
async fn each_kind_of_device_key_and_of_authority_is_served(
    device: &'static str,
    authority: &'static str,
) -> Outcome {
    let name = format!("kinds-{device}-{authority}");
    let keys = folder(&format!("{name}-keys"))?;
    let at = keys.path();
    let own = format!(
        "req -x509 -nodes -days 2 {} -keyout ca.key -out ca.pem -subj /O=ACME/CN=Kinds",
        new_key(authority)
    );
    openssl(at, &own).await?;
    openssl(at, "x509 -in ca.pem -outform DER -out ca.der").await?;
    let request = format!(
        "req -nodes {} -keyout device.key -out device.csr -subj /O=ACME/OU=Works/CN={DEVICE}",
        new_key(device)
    );
    openssl(at, &request).await?;
    let sign = "x509 -req -in device.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -sha512";
    openssl(at, &format!("{sign} -out device.pem")).await?;
    let authority = std::fs::read(at.join("ca.der")).map_err(|error| error.to_string())?;
    let entry = trusted("CN=Kinds,O=ACME", &authority, "EC", &json!({}));
    let scene = Scene::new(&name, json!({"T": entry})).await?;
    let client = scene.client(&issued(&keys, "device")?, &[])?;
    scene.serves(client, "T").await
}

/// The words that make `openssl req` create a key of this kind.
fn new_key(kind: &str) -> String {
    match kind {
        "rsa" => "-newkey rsa:2048".to_owned(),
        "ed25519" => "-newkey ed25519".to_owned(),
        curve => format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve}"),
    }
}

/// Certificate and key that `openssl` has written.
fn issued(folder: &Folder, name: &str) -> Result<Issued, String> {
    let read = |ending: &str| {
        let path = folder.path().join(format!("{name}.{ending}"));
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    };
    Ok(Issued {
        certificate: read("pem")?,
        key: read("key")?,
    })
}

async fn libcoap(tool: Tool) -> Outcome {
    let authority = Authority::new("Devices");
    let scene = Scene::new(
        &format!("{tool:?}"),
        json!({"T": authority.trusted(&json!({}))}),
    )
    .await?;
    let mut application = scene.application("T").await?;
    let issued = authority.issue(DEVICE);
    let mut command = Command::new(tool.program());
    command.args([
        "-v", "7", "-B", "20", "-m", "post", "-t", "text", "-e", BODY,
    ]);
    command.args(["-c", &scene.write("device.pem", &issued.certificate)?]);
    command.args(["-j", &scene.write("device.key", &issued.key)?]);
    command.args(["-C", &scene.write("ca.pem", &scene.servers)?]);
    command.arg(format!("coaps://{}/telemetry", scene.stand.coaps()));
    let printed = Program::start(command)?.rest(3 * SOON).await?;
    if !printed.contains(" c:2.04 ") {
        return Err(format!("no 2.04 in the client's output:\n{printed}"));
    }
    arrived(&mut application).await?;
    application.detach().await;
    scene.stand.stop().await;
    Ok(())
}

/// An adapter with a certificate, and tenants that each trust somebody and have the same device.
struct Scene {
    stand: Stand,
    folder: Folder,
    /// Who vouches for the adapter, in PEM.
    servers: String,
}

impl Scene {
    /// `trusts` has, by tenant, the authority that it trusts.
    async fn new(name: &str, trusts: Value) -> Result<Self, String> {
        let servers = Authority::new("Servers");
        let server = servers.issue_with("adapter", |params| {
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            params.subject_alt_names = vec![SanType::IpAddress(address)];
        });
        Self::with_server(name, trusts, &server, servers.pem()).await
    }

    /// As [`Scene::new`], with this certificate of the adapter, for which `servers` vouches (in PEM).
    async fn with_server(
        name: &str,
        trusts: Value,
        server: &Issued,
        servers: String,
    ) -> Result<Self, String> {
        let folder = folder(name)?;
        let write =
            |name: &str, text: &str| folder.file(name, text).map_err(|error| error.to_string());
        let (key, chain) = (
            write("server.key", &server.key)?,
            write("server.pem", &server.certificate)?,
        );
        let settings = [
            ("HONO_COAP_KEYPATH", key.as_str()),
            ("HONO_COAP_CERTPATH", &chain),
        ];
        let mut world = World::empty();
        for (tenant, authority) in trusts.as_object().into_iter().flatten() {
            let device = Device::default().with_certificate(format!("CN={DEVICE},OU=Works,O=ACME"));
            let members = json!({"trusted-ca": [authority], "trust-anchor-group": "devices"});
            let known = Tenant::from_json(members).with_device("4711", device);
            world.tenants.insert(tenant.clone(), known);
        }
        let stand = Stand::start(world, &settings).await;
        Ok(Self {
            stand: stand.map_err(|error| error.to_string())?,
            folder,
            servers,
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let written = self.folder.file(name, text);
        written.map_err(|error| error.to_string())
    }

    /// `openssl s_client` that believes the adapter only if its authority vouches for it.
    fn client(&self, issued: &Issued, words: &[&str]) -> Result<Program, String> {
        let mut command = Command::new(Tool::Openssl.program());
        let server = self.stand.coaps().to_string();
        command.args(["s_client", "-dtls1_2", "-connect", &server]);
        command.args(["-verify_return_error", "-CAfile"]);
        command.arg(self.write("ca.pem", &self.servers)?);
        command.args(["-cert", &self.write("device.pem", &issued.certificate)?]);
        command.args(["-key", &self.write("device.key", &issued.key)?]);
        command.args(words);
        Program::start(command)
    }

    async fn application(&self, tenant: &str) -> Result<Application, String> {
        let peer = self.stand.amqp();
        let attached = Application::attach(peer, tenant, &[], Behaviour::Accept).await;
        attached.map_err(|error| error.to_string())
    }

    /// What the client sends arrives at this tenant's application.
    async fn serves(self, mut client: Program, tenant: &str) -> Outcome {
        let mut application = self.application(tenant).await?;
        wait_for(&mut client, "Verify return code: 0 (ok)").await?;
        let request = CoapRequest::post("t").body(0, BODY);
        client.write(&request.encode(7, b"tok")).await?;
        arrived(&mut application).await?;
        client.kill().await;
        application.detach().await;
        self.stand.stop().await;
        Ok(())
    }
}

async fn arrived(application: &mut Application) -> Outcome {
    let message = application.receive(SOON).await.ok_or("nothing arrived")?;
    if message.payload == BODY.as_bytes() {
        Ok(())
    } else {
        Err(format!("another message arrived: {}", message.sections))
    }
}

fn folder(name: &str) -> Result<Folder, String> {
    Folder::new(&format!("certificates-{name}")).map_err(|error| error.to_string())
}

/// Runs `openssl` in a folder; the words stand between blanks.
async fn openssl(folder: &Path, words: &str) -> Outcome {
    let mut command = Command::new(Tool::Openssl.program());
    command.current_dir(folder).args(words.split(' '));
    let output = command.output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        let printed = String::from_utf8_lossy(&output.stderr);
        Err(format!("openssl {words} fails:\n{printed}"))
    }
}

const DEVICE: &str = "Device";
const BODY: &str = "21 degrees";

//! `openssl ocsp` as the responder that says which certificates were revoked (RFC 6960).

use std::{sync::Arc, time::Duration};

use acceptance::{
    pki::{Authority, Folder, Issued},
    stand::Stand,
};
use dtls_client::{Config, Identity};
use libtest_mimic::Trial;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, SerialNumber};
use sandbox::{
    device::{Device as Client, Error},
    world::{Device, Tenant, World},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    task::JoinHandle,
};

use crate::{Outcome, Runner, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "a_certificate_counts_only_if_its_responder_says_it_is_good";
    trials.push(runner.trial(Tool::Openssl, name, responders));
    let name = "what_a_responder_once_said_of_others_or_changed_is_not_believed";
    trials.push(runner.trial(Tool::Openssl, name, replays));
}

/// Who signs what the responder says.
enum Signer {
    Authority,
    /// A responder that the authority certified.
    Delegate,
    /// Somebody with any certificate of the authority.
    Device,
    /// Somebody whose certificate the tenant knows.
    Named,
    /// The same, but the tenant doesn't.
    Stranger,
}

async fn responders() -> Outcome {
    use Signer::{Authority, Delegate, Device, Named, Stranger};
    let nonce = || json!({"ocsp-nonce-enabled": true});
    let rows = [
        ("the authority itself", Authority, GOOD, json!({}), true),
        ("with a nonce", Authority, GOOD, nonce(), true),
        ("revoked", Authority, REVOKED, json!({}), false),
        ("not known there", Authority, UNKNOWN, json!({}), false),
        ("a delegate", Delegate, GOOD, nonce(), true),
        (
            "a delegate about a revoked one",
            Delegate,
            REVOKED,
            nonce(),
            false,
        ),
        ("a device", Device, GOOD, json!({}), false),
        ("named by the tenant", Named, GOOD, json!({}), true),
        ("a stranger", Stranger, GOOD, json!({}), false),
    ];
    for (what, signer, serial, further, served) in rows {
        let scene = Scene::new(what)?;
        let (mut responder, port) = scene.responder(&signer).await?;
        let mut entry = json!({"ocsp-responder-uri": format!("http://127.0.0.1:{port}")});
        if matches!(signer, Named) {
            entry["ocsp-responder-cert"] = json!(scene.other.base64());
        }
        merge(&mut entry, further);
        scene.expect(what, entry, serial, served).await?;
        // Where the tenant names no place, the certificate does.
        let issued = scene.issue(serial, Some(port));
        let mut entry = json!({});
        if matches!(signer, Named) {
            entry["ocsp-responder-cert"] = json!(scene.other.base64());
        }
        scene.expect_of(what, entry, &issued, served).await?;
        responder.line(Duration::ZERO).await;
        responder.kill().await;
    }
    let scene = Scene::new("nobody")?;
    let away = json!({"ocsp-responder-uri": "http://127.0.0.1:1"});
    scene.expect("nobody is there", away, GOOD, false).await?;
    scene
        .expect("nobody is named", json!({}), GOOD, false)
        .await
}

async fn replays() -> Outcome {
    let scene = Scene::new("replay")?;
    let (responder, port) = scene.responder(&Signer::Authority).await?;
    let said = scene.said(GOOD, port).await?;
    responder.kill().await;
    let mut changed = said.clone();
    // The last digit of the first time in it.
    let end = changed.iter().position(|byte| *byte == b'Z');
    if let Some(digit) = end.and_then(|end| changed.get_mut(end - 1)) {
        *digit ^= 1;
    }
    let (plain, nonce) = (json!({}), json!({"ocsp-nonce-enabled": true}));
    let rows = [
        ("as it was said", said.clone(), GOOD, &plain, true),
        ("said before", said.clone(), GOOD, &nonce, false),
        ("said of another", said.clone(), REVOKED, &plain, false),
        ("changed", changed, GOOD, &plain, false),
        (
            "cut off",
            said[..said.len() / 2].to_vec(),
            GOOD,
            &plain,
            false,
        ),
        ("nothing", Vec::new(), GOOD, &plain, false),
    ];
    for (what, said, serial, further, served) in rows {
        let (parrot, port) = parrot(said).await.map_err(|error| error.to_string())?;
        let mut entry = json!({"ocsp-responder-uri": format!("http://127.0.0.1:{port}")});
        merge(&mut entry, further.clone());
        scene.expect(what, entry, serial, served).await?;
        parrot.abort();
    }
    Ok(())
}

/// An authority, somebody else, and a folder for their files.
struct Scene {
    authority: Authority,
    other: Authority,
    folder: Folder,
}

impl Scene {
    fn new(name: &str) -> Result<Self, String> {
        let name = format!("ocsp-{}", name.replace(' ', "-"));
        Ok(Self {
            authority: Authority::new("Devices"),
            other: Authority::new("Others"),
            folder: Folder::new(&name).map_err(|error| error.to_string())?,
        })
    }

    /// A device's certificate with this number, which may tell the responder's port.
    fn issue(&self, serial: u8, port: Option<u16>) -> Issued {
        self.authority.issue_with("Device", |params| {
            params.serial_number = Some(SerialNumber::from(vec![serial]));
            let place = port.map(|port| authority_information(&format!("http://127.0.0.1:{port}")));
            params.custom_extensions.extend(place);
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let written = self.folder.file(name, text);
        written.map_err(|error| error.to_string())
    }

    /// Starts `openssl ocsp` and tells its port.
    async fn responder(&self, signer: &Signer) -> Result<(Program, u16), String> {
        let signing = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        };
        let signer = match signer {
            Signer::Authority => own(&self.authority),
            Signer::Named | Signer::Stranger => own(&self.other),
            Signer::Delegate => self.authority.issue_with("Responder", signing),
            Signer::Device => self.authority.issue("Device"),
        };
        let index = format!(
            "V\t991231235959Z\t\t{GOOD:02X}\tunknown\t/CN=Device\n\
             R\t991231235959Z\t250101000000Z\t{REVOKED:02X}\tunknown\t/CN=Device\n"
        );
        let mut command = Command::new(Tool::Openssl.program());
        command.args(["ocsp", "-port", "0", "-nmin", "5"]);
        command.args(["-index", &self.write("index.txt", &index)?]);
        command.args(["-CA", &self.write("ca.pem", &self.authority.pem())?]);
        command.args(["-rsigner", &self.write("signer.pem", &signer.certificate)?]);
        command.args(["-rkey", &self.write("signer.key", &signer.key)?]);
        let mut program = Program::start(command)?;
        let mut printed = String::new();
        while let Some(line) = program.line(SOON).await {
            // ACCEPT [::]:34187 PID=14930
            let address = line
                .strip_prefix("ACCEPT ")
                .and_then(|it| it.split(' ').next());
            let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
            if let Some(port) = port {
                return Ok((program, port));
            }
            printed += &line;
        }
        Err(format!("the responder does not print its port: {printed}"))
    }

    /// What the responder says of a certificate, to somebody else.
    async fn said(&self, serial: u8, port: u16) -> Result<Vec<u8>, String> {
        let mut command = Command::new(Tool::Openssl.program());
        let file = self.folder.path().join("said.der");
        command.args(["ocsp", "-noverify", "-issuer"]);
        command.arg(self.write("ca.pem", &self.authority.pem())?);
        command.args(["-serial", &serial.to_string()]);
        command.args(["-url", &format!("http://127.0.0.1:{port}"), "-respout"]);
        let output = command.arg(&file).output().await;
        let output = output.map_err(|error| error.to_string())?;
        std::fs::read(file).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    async fn expect(&self, what: &str, entry: Value, serial: u8, served: bool) -> Outcome {
        let issued = self.issue(serial, None);
        self.expect_of(what, entry, &issued, served).await
    }

    /// An adapter whose tenant wants certificates asked about lets the device in, or tells it `bad_certificate`.
    async fn expect_of(
        &self,
        what: &str,
        mut entry: Value,
        issued: &Issued,
        served: bool,
    ) -> Outcome {
        merge(&mut entry, json!({"ocsp-revocation-enabled": true}));
        let device = Device::default().with_certificate("CN=Device,OU=Works,O=ACME");
        let members = json!({"trusted-ca": [self.authority.trusted(&entry)]});
        let tenant = Tenant::from_json(members).with_device("4711", device);
        let mut world = World::empty();
        world.tenants.insert("T".to_owned(), tenant);
        let server = self.other.issue("adapter");
        let (key, chain) = (
            self.write("server.key", &server.key)?,
            self.write("server.pem", &server.certificate)?,
        );
        let settings = [
            ("HONO_COAP_KEYPATH", key.as_str()),
            ("HONO_COAP_CERTPATH", &chain),
        ];
        let stand = Stand::start(world, &settings).await;
        let stand = stand.map_err(|error| error.to_string())?;
        let identity = Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes());
        let config = Config::with_certificate(Arc::new(identity.map_err(|it| it.to_string())?));
        let ended = Client::connect_with(stand.coaps(), config, SOON).await;
        stand.stop().await;
        match ended {
            Ok(_) if served => Ok(()),
            Err(Error::Handshake { reason, .. })
                if !served && reason == "PeerAlert(bad_certificate(42))" =>
            {
                Ok(())
            }
            other => Err(format!("{what}: {other:?}")),
        }
    }
}

/// The authority as the owner of its own certificate.
fn own(authority: &Authority) -> Issued {
    Issued {
        certificate: authority.pem(),
        key: authority.key(),
    }
}

fn merge(entry: &mut Value, further: Value) {
    if let (Some(entry), Value::Object(further)) = (entry.as_object_mut(), further) {
        entry.extend(further);
    }
}

/// Where a responder is, as a certificate tells it (RFC 5280 §4.2.2.1).
fn authority_information(place: &str) -> CustomExtension {
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
        [&[tag, length], content].concat()
    };
    let method = element(0x06, &[0x2b, 6, 1, 5, 5, 7, 48, 1]);
    let way = element(0x30, &[method, element(0x86, place.as_bytes())].concat());
    let kind = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    CustomExtension::from_oid_content(&kind, element(0x30, &way))
}

/// A responder that says the same whatever it is asked.
async fn parrot(said: Vec<u8>) -> std::io::Result<(JoinHandle<()>, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let answer = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = said.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let answer = [head.as_bytes(), &said].concat();
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_err() || stream.write_all(&answer).await.is_err()
            {
                return;
            }
        }
    };
    Ok((tokio::spawn(answer), port))
}

const GOOD: u8 = 1;
const REVOKED: u8 = 2;
const UNKNOWN: u8 = 3;

//! What goes wrong for somebody new, and that each of log, metrics, `recent` and `doctor` alone tells what to do about it. The built
//! binary runs against sandboxes in this process; `--nocapture` shows all output.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and may show what it saw"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    PublicKeyData,
};
use sandbox::{
    Sandbox, SandboxConfig,
    world::{Device, Tenant, World},
};
use serde_json::{Value, json};

const WORLD: &str = "
tenants:
  T:
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k3y }] }
      off: { enabled: false, credentials: [{ type: psk, auth-id: off, key: k3y }] }
      locked: { credentials: [{ type: psk, auth-id: locked, key: k3y, enabled: false }] }
";

const TOKEN: &str = "a-token-nobody-guesses";

/// The adapter as a process, with the lines of its log.
struct Adapter {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    token: PathBuf,
}

impl Adapter {
    fn start(registry: SocketAddr, network: SocketAddr, more: &[(&str, &str)]) -> Self {
        let name = format!(
            "coap-adapter-newcomer-{}-{}",
            std::process::id(),
            registry.port()
        );
        let token = std::env::temp_dir().join(name);
        fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
        command.arg("run").env_clear().env("NO_COLOR", "1");
        for (service, peer) in [
            ("MESSAGING", network),
            ("COMMAND", network),
            ("TENANT", registry),
            ("REGISTRATION", registry),
            ("CREDENTIALS", registry),
            ("COMMANDROUTER", registry),
        ] {
            let set = |suffix: &str| format!("HONO_{service}_{suffix}");
            command
                .env(set("HOST"), peer.ip().to_string())
                .env(set("PORT"), peer.port().to_string())
                .env(set("REQUESTTIMEOUT"), "5000")
                .env(set("FLOWLATENCY"), "500");
        }
        for (name, value) in [
            ("HONO_COAP_PORT", "0"),
            ("HONO_COAP_INSECUREPORT", "0"),
            ("HONO_COAP_AUTHENTICATIONREQUIRED", "false"),
            ("HONO_COAP_OPERATORPORT", "0"),
            ("QUARKUS_HTTP_HOST", "127.0.0.1"),
            ("QUARKUS_HTTP_PORT", "0"),
        ]
        .iter()
        .chain(more)
        {
            command.env(name, value);
        }
        command.env("HONO_COAP_OPERATORTOKENPATH", &token);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log, token }
    }

    /// The first line with all these words, once it is there.
    fn line(&self, words: &[&str]) -> String {
        wait_for(&format!("{words:?}"), || {
            let log = self.log.lock().unwrap();
            let fits = |line: &&String| words.iter().all(|word| line.contains(word));
            log.iter().find(fits).cloned()
        })
    }

    /// An address that the adapter said it listens on.
    fn address(&self, name: &str) -> SocketAddr {
        let line = self.line(&["the adapter is up"]);
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        let text = rest.split_whitespace().next().unwrap();
        let text = text.trim_start_matches("Some(").trim_end_matches(')');
        text.parse().unwrap()
    }

    fn metric(&self, name: &str, labels: &[&str]) -> String {
        wait_for(&format!("{name} {labels:?}"), || {
            let (_, page) = get(self.address("health"), "/prometheus", "");
            let fits = |line: &&str| {
                line.starts_with(name)
                    && labels.iter().all(|label| line.contains(label))
                    && !line.ends_with(" 0")
            };
            page.lines().find(fits).map(str::to_owned)
        })
    }

    /// The newest event of a device that has this reason.
    fn recent(&self, tenant: &str, device: &str, reason: &str) -> Value {
        let path = format!("/operator/devices/{tenant}/{device}/recent");
        wait_for(&path, || {
            let (status, body) = get(self.address("operator"), &path, TOKEN);
            assert_eq!(status, 200, "{body}");
            let page: Value = serde_json::from_str(&body).unwrap();
            let events = page["events"].as_array().unwrap();
            events.iter().find(|it| it["reason"] == reason).cloned()
        })
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.token));
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

fn get(server: SocketAddr, path: &str, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// What `doctor` prints, and whether it found everything well.
fn doctor(arguments: &[&str], key: Option<&str>) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
    command.arg("doctor").args(arguments).env_clear();
    if let Some(key) = key {
        command.env("COAP_PSK", key);
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!printed.is_empty(), "{errors}");
    (output.status.success(), printed)
}

/// A typical error, and how it is reported.
struct Row<'a> {
    name: &'static str,
    doctor: Vec<String>,
    key: Option<&'static str>,
    reason: &'static str,
    log: &'a [&'a str],
    recent: (&'a str, &'a str),
    advice: &'a [&'a str],
}

const HANDSHAKES: &str = "coap_adapter_handshakes_total";
const REFUSED: &str = "coap_adapter_requests_refused_total";

#[test]
fn each_place_alone_tells_what_is_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let world = || World::from_yaml("newcomer", WORLD).unwrap();
    let start = || {
        runtime
            .block_on(Sandbox::start(SandboxConfig::new(anywhere, world())))
            .unwrap()
    };
    let (registry, network) = (start(), start());
    let adapter = Adapter::start(registry.amqp_address(), network.amqp_address(), &[]);
    let (coaps, coap) = (adapter.address("coaps"), adapter.address("coap"));
    wait_for("readiness", || {
        (get(adapter.address("health"), "/readiness", "").0 == 200).then_some(())
    });
    let secured = |identity: &str| {
        let arguments = [
            &format!("coaps://{coaps}"),
            "-u",
            identity,
            "--timeout",
            "5",
        ];
        arguments.map(str::to_owned).to_vec()
    };
    let plain = |path: &str| {
        let arguments = [&format!("coap://{coap}/{path}"), "--payload", "x"];
        arguments.map(str::to_owned).to_vec()
    };
    let rows = [
        Row {
            name: "wrong key",
            doctor: secured("sensor@T"),
            key: Some("other"),
            reason: "wrong-key",
            log: &[
                "handshake failed",
                "tenant=\"T\"",
                "auth_id=\"sensor\"",
                "device=\"d\"",
            ],
            recent: ("T", "d"),
            advice: &[
                "FAIL prove",
                "went silent",
                "5 bytes were used",
                "/operator/devices/T/sensor/recent",
            ],
        },
        Row {
            name: "unknown tenant",
            doctor: secured("sensor@NONE"),
            key: Some("k3y"),
            reason: "unknown-identity",
            log: &["handshake failed", "tenant=\"NONE\"", "auth_id=\"sensor\""],
            recent: ("NONE", "sensor"),
            advice: &["FAIL prove", "`sensor` in tenant `NONE`"],
        },
        Row {
            name: "disabled credentials",
            doctor: secured("locked@T"),
            key: Some("k3y"),
            reason: "unknown-identity",
            log: &["handshake failed", "auth_id=\"locked\""],
            recent: ("T", "locked"),
            advice: &["FAIL prove", "disabled credentials"],
        },
        Row {
            name: "unknown tenant, without security",
            doctor: plain("t/NONE/d"),
            key: None,
            reason: "tenant-unknown",
            log: &["request refused", "tenant=\"NONE\"", "code=4.04"],
            recent: ("NONE", "d"),
            advice: &["FAIL request", "4.04", "does not know the tenant"],
        },
        Row {
            name: "disabled device",
            doctor: secured("off@T"),
            key: Some("k3y"),
            reason: "device-unknown",
            log: &["request refused", "device=\"off\"", "code=4.04"],
            recent: ("T", "off"),
            advice: &[
                "ok   prove",
                "FAIL request",
                "The credentials are right, but the device itself is disabled",
            ],
        },
        Row {
            name: "no consumer",
            doctor: secured("sensor@T"),
            key: Some("k3y"),
            reason: "no-consumer",
            log: &["request refused", "device=\"d\"", "code=5.03"],
            recent: ("T", "d"),
            advice: &["ok   prove", "FAIL request", "Start the application"],
        },
    ];
    for row in &rows {
        tried(&adapter, row);
    }
    runtime.block_on(network.stop());
    wait_for("that the adapter is not ready", || {
        (get(adapter.address("health"), "/readiness", "").0 == 503).then_some(())
    });
    tried(
        &adapter,
        &Row {
            name: "broker down",
            doctor: secured("sensor@T"),
            key: Some("k3y"),
            reason: "broker-unreachable",
            log: &["request refused", "device=\"d\"", "code=5.03"],
            recent: ("T", "d"),
            advice: &[
                "ok   prove",
                "FAIL request",
                "cannot reach a service it needs",
                "/readiness",
            ],
        },
    );
    adapter.metric("coap_adapter_table_entries", &["kept_registrations"]);
    let (status, _) = get(
        adapter.address("operator"),
        "/operator/devices/T/d/recent",
        "wrong",
    );
    assert_eq!(status, 401);
    let log = adapter.log.lock().unwrap();
    let secrets = |line: &&String| line.contains("k3y") || line.contains(TOKEN);
    assert_eq!(log.iter().find(secrets), None);
}

fn tried(adapter: &Adapter, row: &Row<'_>) {
    let arguments: Vec<_> = row.doctor.iter().map(String::as_str).collect();
    let (well, printed) = doctor(&arguments, row.key);
    assert!(!well, "{}: {printed}", row.name);
    for advice in row.advice {
        assert!(
            printed.contains(advice),
            "{}: {advice}\n{printed}",
            row.name
        );
    }
    let reason = format!("reason={}", row.reason);
    let words: Vec<_> = row
        .log
        .iter()
        .copied()
        .chain([reason.as_str(), "remedy="])
        .collect();
    let line = adapter.line(&words);
    let name = if row.log[0] == "handshake failed" {
        HANDSHAKES
    } else {
        REFUSED
    };
    let label = format!("reason=\"{}\"", row.reason);
    let metric = adapter.metric(name, &[&label]);
    let (tenant, device) = row.recent;
    let event = adapter.recent(tenant, device, row.reason);
    assert!(!event["remedy"].as_str().unwrap().is_empty(), "{event}");
    println!(
        "== {}\nlog:    {line}\nmetric: {metric}\nrecent: {event}\ndoctor:\n{printed}",
        row.name
    );
}

/// For the README's first steps: it is a client, too.
#[test]
fn it_is_a_client_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let world = World::from_yaml("newcomer", WORLD).unwrap();
    let sandbox = runtime
        .block_on(Sandbox::start(SandboxConfig::new(anywhere, world)))
        .unwrap();
    let adapter = Adapter::start(sandbox.amqp_address(), sandbox.amqp_address(), &[]);
    let coaps = adapter.address("coaps");
    wait_for("readiness", || {
        (get(adapter.address("health"), "/readiness", "").0 == 200).then_some(())
    });
    let url = format!("coaps://{coaps}/.well-known/core");
    let (well, printed) = doctor(&[&url, "-u", "sensor@T", "--method", "get"], Some("k3y"));
    assert!(well && printed.contains("</telemetry>"), "{printed}");
    let (well, printed) = doctor(
        &[
            &url, "-u", "sensor@T", "--method", "get", "--json", "-k", "k3y",
        ],
        None,
    );
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert!(well && report["ok"] == true, "{printed}");
    assert_eq!(report["response"]["code"], "2.05", "{printed}");
    assert!(!printed.contains("k3y"), "{printed}");
    // Nobody is at the port without security of this one, nor anywhere near.
    let closed = std::net::UdpSocket::bind(anywhere)
        .unwrap()
        .local_addr()
        .unwrap();
    let (well, printed) = doctor(
        &[&format!("coaps://{closed}"), "-u", "a@T", "--timeout", "3"],
        Some("k"),
    );
    assert!(!well && printed.contains("no program listens"), "{printed}");
    let silent = std::net::UdpSocket::bind(anywhere).unwrap();
    let url = format!("coaps://{}", silent.local_addr().unwrap());
    let (well, printed) = doctor(&[&url, "-u", "a@T", "--timeout", "1"], Some("k"));
    assert!(!well && printed.contains("Check firewalls"), "{printed}");
}

/// A file that is gone when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("coap-adapter-newcomer-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// An authority, and what it issues.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named(name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Certificate and key in files.
    fn issue(&self, name: &str, hosts: &[&str]) -> (File, File) {
        let hosts = hosts.iter().map(|host| (*host).to_owned());
        let mut params = CertificateParams::new(hosts.collect::<Vec<_>>()).unwrap();
        params.distinguished_name = named(name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            File::new(&format!("{name}.pem"), &certificate.pem()),
            File::new(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    fn trust(&self, name: &str) -> File {
        File::new(&format!("{name}.pem"), &self.issuer.pem())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

#[test]
fn certificates_of_both_sides_are_examined() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (works, nobody) = (Authority::new("Works"), Authority::new("Nobody"));
    let trusted = json!({"trusted-ca": [{
        "id": "works",
        "subject-dn": "CN=Works",
        "public-key": BASE64_STANDARD.encode(works.issuer.key().subject_public_key_info()),
        "algorithm": "EC",
    }]});
    let mut world = World::from_yaml("newcomer", WORLD).unwrap();
    let device = Device::default().with_certificate("CN=device");
    let tenant = Tenant::from_json(trusted).with_device("c", device);
    world.tenants.insert("CERTIFIED".to_owned(), tenant);
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sandbox = runtime
        .block_on(Sandbox::start(SandboxConfig::new(anywhere, world)))
        .unwrap();
    let (certificate, key) = works.issue("server", &["127.0.0.1"]);
    let adapter = Adapter::start(
        sandbox.amqp_address(),
        sandbox.amqp_address(),
        &[
            ("HONO_COAP_CERTPATH", certificate.path()),
            ("HONO_COAP_KEYPATH", key.path()),
        ],
    );
    let url = format!("coaps://{}/.well-known/core", adapter.address("coaps"));
    wait_for("readiness", || {
        (get(adapter.address("health"), "/readiness", "").0 == 200).then_some(())
    });
    let (good, bad) = (works.trust("works"), nobody.trust("nobody"));
    let examine = |issuer: &Authority, name: &str, trust: &File| {
        let (certificate, key) = issuer.issue(name, &[]);
        doctor(
            &[
                &url,
                "--cert",
                certificate.path(),
                "--key-file",
                key.path(),
                "--trust",
                trust.path(),
                "--method",
                "get",
                "--timeout",
                "5",
            ],
            None,
        )
    };
    let (well, printed) = examine(&works, "device", &good);
    assert!(well, "{printed}");
    assert!(
        printed.contains("ok   trust") && printed.contains("</telemetry>"),
        "{printed}"
    );

    let (well, printed) = examine(&works, "device", &bad);
    assert!(
        !well && printed.contains("FAIL trust") && printed.contains("No request was sent"),
        "{printed}"
    );

    for (issuer, name, reason) in [
        (&nobody, "device", "certificate-untrusted"),
        (&works, "stranger", "certificate-unknown"),
    ] {
        let (well, printed) = examine(issuer, name, &good);
        assert!(!well && printed.contains("FAIL prove"), "{printed}");
        assert!(printed.contains("The tenant's trusted-ca"), "{printed}");
        let reason_told = format!("reason={reason}");
        let subject = format!("for CN={name}");
        let line = adapter.line(&["handshake failed", &reason_told, &subject]);
        let metric = adapter.metric(HANDSHAKES, &[&format!("reason=\"{reason}\"")]);
        println!("== {reason}\nlog:    {line}\nmetric: {metric}\ndoctor:\n{printed}");
    }
    let event = adapter.recent("CERTIFIED", "CN=stranger", "certificate-unknown");
    assert_eq!(event["auth-id"], "CN=stranger");
    adapter.metric(
        "coap_adapter_certificate_expiry_timestamp_seconds",
        &["server"],
    );
}

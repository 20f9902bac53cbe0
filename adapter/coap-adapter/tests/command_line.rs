//! The command line of the built binary: exit codes and output.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

fn coap_adapter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
    command.args(arguments).env_clear();
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A file of this test's own, gone when it ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coap-adapter-{}-{name}", std::process::id()));
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

const LEAST: &str = "
hono:
  coap.port: 0
  messaging: {host: broker, username: adapter, password: v3ry-secret}
  command.host: broker
  tenant.host: registry
  registration.host: registry
  credentials.host: registry
  commandRouter.host: router
";

#[test]
fn without_a_subcommand_help_is_printed() {
    let (code, _, printed) = output(&mut coap_adapter(&[]));
    assert_eq!(code, 64);
    for subcommand in ["run", "sandbox", "check-config"] {
        assert!(printed.contains(subcommand), "{printed}");
    }
    assert_eq!(output(&mut coap_adapter(&["--help"])).0, 0);
    assert_eq!(output(&mut coap_adapter(&["--version"])).0, 0);
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let (code, _, printed) = output(&mut coap_adapter(&["sandbox", "--coapps", "1"]));
    assert_eq!(code, 64);
    assert!(printed.contains("--coaps"), "{printed}");
    assert_eq!(
        output(&mut coap_adapter(&["sandbox", "--coaps", "70000"])).0,
        64
    );
    let (code, _, printed) = output(&mut coap_adapter(&[
        "sandbox", "--coaps", "7", "--coap", "7",
    ]));
    assert_eq!(
        (code, printed.as_str()),
        (
            64,
            "coap-adapter: --coaps and --coap are both 7: give them different ports\n"
        )
    );
}

#[test]
fn the_start_is_refused_with_every_mistake() {
    let file = File::new("broken.yml", &format!("{LEAST}  coap.maxPaylodSize: 1\n"));
    let mut command = coap_adapter(&["run", "--config", file.path()]);
    let (code, out, printed) = output(command.env("HONO_COAP_TIMEOUTTOACK", "soon"));
    assert_eq!((code, out.as_str()), (64, ""));
    let file = file.path();
    assert_eq!(
        printed,
        format!(
            "error: {file}:10: there is no setting `hono.coap.maxPaylodSize`; did you mean `hono.coap.maxPayloadSize`?\n\
             error: HONO_COAP_TIMEOUTTOACK: `hono.coap.timeoutToAck` is `soon`, but should be a whole number from -1 to 2147483647 ms\n"
        )
    );
}

#[test]
fn files_that_settings_name_must_be_there() {
    let file = File::new(
        "key.yml",
        &format!("{LEAST}  coap: {{keyPath: /no/key.pem, certPath: /no/cert.pem}}\n"),
    );
    for command in ["run", "check-config"] {
        let (code, _, printed) = output(&mut coap_adapter(&[command, "--config", file.path()]));
        assert_eq!(code, 64, "{printed}");
        assert!(
            printed.contains(":10: `hono.coap.keyPath` should be a readable file; `/no/key.pem`:"),
            "{printed}"
        );
        assert!(
            printed
                .contains(":10: `hono.coap.certPath` should be a readable file; `/no/cert.pem`:"),
            "{printed}"
        );
    }
}

/// A certificate and a key that do not belong together.
fn mismatch() -> (File, File) {
    let issue = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["adapter".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, _) = issue();
    let (_, key) = issue();
    (
        File::new("mismatch.crt", &certificate),
        File::new("mismatch.key", &key),
    )
}

/// Symptom: `check-config` exited 0, and `run` connected to the services before it exited 1.
#[test]
fn an_identity_that_cannot_be_used_stops_the_start_before_anything_is_connected() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let (certificate, key) = mismatch();
    let mut printed = Vec::new();
    for command in ["check-config", "run"] {
        let mut command = coap_adapter(&[command]);
        command
            .env("HONO_COAP_KEYPATH", key.path())
            .env("HONO_COAP_CERTPATH", certificate.path());
        command.envs(sandbox::variables(service.local_addr().unwrap(), &[]));
        let (code, _, text) = output(&mut command);
        assert_eq!(code, 64, "{text}");
        assert!(
            text.contains("the key does not belong to the first certificate"),
            "{text}"
        );
        printed.push(text);
    }
    assert_eq!(printed[0], printed[1]);
    assert!(service.accept().is_err(), "a service was connected");
}

/// Symptom: seven lines `not configured: …` came before the one about the file.
#[test]
fn a_configuration_file_that_cannot_be_read_is_the_only_error() {
    for command in ["run", "check-config"] {
        let (code, out, printed) = output(&mut coap_adapter(&[
            command,
            "--config",
            "/does/not/exist.yml",
        ]));
        assert_eq!((code, out.as_str()), (64, ""));
        assert_eq!(
            printed,
            "error: /does/not/exist.yml: cannot be read: No such file or directory (os error 2)\n"
        );
    }
}

/// Hono starts with any name of a sampler.
#[test]
fn a_sampler_never_stops_the_start() {
    let file = File::new("sampler.yml", LEAST);
    for (sampler, warned) in [("jaeger_remote", true), ("what", true), ("ratio", false)] {
        let mut command = coap_adapter(&["check-config", "--config", file.path()]);
        let (code, shown, printed) = output(command.env("OTEL_TRACES_SAMPLER", sampler));
        assert_eq!(code, 0, "{printed}");
        assert_eq!(
            shown.contains("warning: `otel.traces.sampler`"),
            warned,
            "{shown}"
        );
    }
}

#[test]
fn the_configuration_is_shown_with_origins_and_without_secrets() {
    let file = File::new("good.yml", LEAST);
    let mut command = coap_adapter(&["check-config", "--config", file.path()]);
    let (code, shown, printed) = output(
        command
            .env("HONO_COAP_MAXPAYLOADSIZE", "4096")
            .env("HONO_COAP_DTLSTHREADS", "4"),
    );
    assert_eq!((code, printed.as_str()), (0, ""));
    let line = |name: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let path = file.path();
    assert_eq!(
        line("hono.coap.port"),
        format!("hono.coap.port = 0 # {path}:3")
    );
    assert_eq!(
        line("hono.coap.maxPayloadSize"),
        "hono.coap.maxPayloadSize = 4096 # HONO_COAP_MAXPAYLOADSIZE"
    );
    assert_eq!(
        line("hono.coap.timeoutToAck"),
        "hono.coap.timeoutToAck = 500 # default"
    );
    assert_eq!(
        line("hono.messaging.password"),
        format!("hono.messaging.password = *** # {path}:4")
    );
    assert!(!shown.contains("v3ry-secret"));
    assert!(
        shown.contains("no effect: HONO_COAP_DTLSTHREADS: "),
        "{shown}"
    );
    assert!(
        shown.contains("hono.resourceLimits.prometheusBased.host is not set"),
        "{shown}"
    );
}

#[test]
fn an_empty_configuration_is_shown_with_what_is_missing() {
    let (code, shown, printed) = output(&mut coap_adapter(&["check-config"]));
    assert_eq!(code, 64);
    assert!(shown.contains("hono.coap.maxPayloadSize"));
    assert!(
        printed.contains("error: not configured: `hono.tenant.host` should be set"),
        "{printed}"
    );
}

#[test]
fn the_built_in_world_can_be_printed_and_used() {
    let (code, world, _) = output(&mut coap_adapter(&["sandbox", "--print-world"]));
    assert_eq!(code, 0);
    assert!(world.contains("DEFAULT_TENANT"));
    let file = File::new("world.yml", "tenants:\n  T:\n    devcies: {}\n");
    let (code, _, printed) = output(&mut coap_adapter(&["sandbox", "--world", file.path()]));
    assert_eq!(code, 64);
    assert!(
        printed.contains(&format!("{}:3", file.path())) && printed.contains("devices"),
        "{printed}"
    );
}

#[test]
fn a_busy_port_is_told_with_its_flag() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp, tcp) = (
        udp.local_addr().unwrap().port().to_string(),
        tcp.local_addr().unwrap().port().to_string(),
    );
    for (flag, port, what) in [
        ("--coaps", &udp, "UDP, DTLS"),
        ("--coap", &udp, "UDP, CoAP"),
        ("--amqp", &tcp, "TCP, AMQP"),
        ("--health", &tcp, "TCP, health"),
        ("--management", &tcp, "TCP, management"),
    ] {
        let mut arguments = vec!["sandbox"];
        for other in ["--coaps", "--coap", "--amqp", "--health", "--management"] {
            arguments.extend([other, if other == flag { port } else { "0" }]);
        }
        let (code, _, printed) = output(&mut coap_adapter(&arguments));
        let wanted = format!(
            "coap-adapter: 127.0.0.1:{port} ({what}) is in use: choose another with {flag} PORT\n"
        );
        assert_eq!((code, printed), (1, wanted));
    }
}

/// A running binary, ended with the test.
struct Running(Child, Option<mpsc::Receiver<String>>);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap(), None)
    }

    /// Its further lines of output until one has `wanted`; its log, if only that is piped.
    fn lines_until(&mut self, wanted: &str) -> String {
        let lines = match self.1.take() {
            Some(lines) => lines,
            None => self.lines(),
        };
        let mut seen = String::new();
        while !seen.contains(wanted) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => seen += &(line + "\n"),
                Err(_) => panic!("no `{wanted}` in:\n{seen}"),
            }
        }
        self.1 = Some(lines);
        seen
    }

    fn lines(&mut self) -> mpsc::Receiver<String> {
        let output: Box<dyn Read + Send> = match self.0.stdout.take() {
            Some(output) => Box::new(output),
            None => Box::new(self.0.stderr.take().unwrap()),
        };
        let output = BufReader::new(output);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        lines
    }

    fn signal(&self, signal: &str) {
        let process = self.0.id().to_string();
        let kill = Command::new("kill").args([signal, &process]).status();
        assert!(kill.unwrap().success());
    }

    /// Sends the signal and tells the exit code.
    fn end(mut self, signal: &str) -> i32 {
        self.signal(signal);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end by {signal}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// After this nothing is expected to come any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sandbox on ports that the system chooses.
fn sandbox(further: &[&str]) -> Running {
    let mut command = coap_adapter(&[
        "sandbox", "--coaps", "0", "--coap", "0", "--amqp", "0", "--health", "0",
    ]);
    Running::start(command.args(further).stdout(Stdio::piped()))
}

#[test]
fn the_sandbox_plays_its_scene_and_ends_by_ctrl_c() {
    let mut sandbox = sandbox(&[]);
    // The device knows that the application has its response before the application shows it: the
    // scene waits for that line.
    let seen = sandbox.lines_until("Now you");
    assert!(
        [
            "telemetry/DEFAULT_TENANT",
            "2.04 Changed",
            "with the command setLight",
            "status 200"
        ]
        .iter()
        .all(|part| seen.contains(part)),
        "{seen}"
    );
    assert_eq!(sandbox.end("-INT"), 0);
}

#[test]
fn the_sandbox_ends_by_sigterm_without_a_scene_too() {
    let mut sandbox = sandbox(&["--no-play"]);
    let seen = sandbox.lines_until("Now you");
    assert!(!seen.contains("2.04"), "{seen}");
    assert_eq!(sandbox.end("-TERM"), 0);
}

/// Symptom: it went on without its terminal and kept ports and database. Cause: SIGHUP meant to
/// reload files, as for `run`.
#[test]
fn the_sandbox_ends_when_its_terminal_is_closed() {
    let mut sandbox = sandbox(&["--no-play"]);
    sandbox.lines_until("Now you");
    assert_eq!(sandbox.end("-HUP"), 0);
}

#[test]
fn a_sandbox_started_with_nohup_goes_on() {
    let arguments = [
        "--coaps", "0", "--coap", "0", "--amqp", "0", "--health", "0",
    ];
    let mut command = Command::new("nohup");
    command
        .arg(env!("CARGO_BIN_EXE_coap-adapter"))
        .arg("sandbox")
        .arg("--no-play");
    let mut sandbox = Running::start(command.args(arguments).stdout(Stdio::piped()));
    sandbox.lines_until("ends everything");
    sandbox.signal("-HUP");
    thread::sleep(Duration::from_millis(200));
    assert!(sandbox.0.try_wait().unwrap().is_none(), "it ended");
    assert_eq!(sandbox.end("-TERM"), 0);
}

/// Symptom: the window said nothing when a device was not served, and `doctor` sent its reader to the
/// log and the operator's port, which a sandbox does not have.
#[test]
fn the_sandbox_shows_why_a_device_is_not_served_and_doctor_points_there() {
    let mut sandbox = sandbox(&["--no-play"]);
    let seen = sandbox.lines_until("ends everything");
    let address = |name: &str| {
        let mut lines = seen.lines().map(str::split_whitespace).map(Vec::from_iter);
        let line = lines.find(|words| words.first() == Some(&name)).unwrap();
        line[1].to_owned()
    };
    let (coaps, coap) = (address("CoAPS"), address("CoAP"));
    let doctor = |url: &str, more: &[&str]| {
        let mut command = coap_adapter(&["doctor", url, "--timeout", "2"]);
        let (code, printed, _) = output(command.args(more).env("COAP_PSK", "wrong"));
        assert_eq!(code, 1, "{printed}");
        printed
    };
    let printed = doctor(
        &format!("coaps://{coaps}"),
        &["-u", "sensor1@DEFAULT_TENANT"],
    );
    assert!(
        printed.contains("The sandbox shows the reason"),
        "{printed}"
    );
    assert!(
        !printed.contains("/operator/") && !printed.contains("log line"),
        "{printed}"
    );
    let shown = sandbox.lines_until("Compare the key");
    assert!(
        shown.contains("refused the handshake of sensor1@DEFAULT_TENANT"),
        "{shown}"
    );
    assert!(shown.contains("wrong-key"), "{shown}");
    let printed = doctor(&format!("coap://{coap}/telemetry/NONE/4711"), &[]);
    assert!(printed.contains("does not know the tenant"), "{printed}");
    let shown = sandbox.lines_until("tenant-unknown");
    assert!(
        shown.contains("answered 4.04 to the telemetry request"),
        "{shown}"
    );
    // The right port with the wrong scheme, whatever its number is.
    let printed = doctor(&format!("coap://{coaps}/telemetry/T/d"), &[]);
    assert!(
        printed.contains("use coaps:// instead of coap://"),
        "{printed}"
    );
    let printed = doctor(
        &format!("coaps://{coap}"),
        &["-u", "sensor1@DEFAULT_TENANT"],
    );
    assert!(
        printed.contains("use coap:// instead of coaps://"),
        "{printed}"
    );
    let printed = doctor(&format!("coap://{coap}/telemetry"), &[]);
    assert!(
        printed.contains("Name tenant and device in the path"),
        "{printed}"
    );
    assert_eq!(sandbox.end("-TERM"), 0);
}

#[test]
fn a_database_in_use_is_said_to_be_that_of_another_sandbox() {
    let name = format!("coap-adapter-{}-registry.db", std::process::id());
    let file = File(std::env::temp_dir().join(name));
    let mut first = sandbox(&["--no-play", "--data", file.path()]);
    first.lines_until("ends everything");
    let arguments = [
        "sandbox", "--coaps", "0", "--coap", "0", "--amqp", "0", "--health", "0",
    ];
    let (code, _, printed) = output(coap_adapter(&arguments).args(["--data", file.path()]));
    assert_eq!(code, 1);
    assert!(printed.contains("another sandbox is running"), "{printed}");
    assert_eq!(first.end("-TERM"), 0);
}

/// Where no service listens.
const fn nobody() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1)
}

/// The adapter starts and is alive though nothing that it needs is there, and is not ready.
#[test]
fn run_serves_probes_while_its_services_are_away_and_ends_by_sigterm() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = coap_adapter(&["run"]);
    command
        .env("HONO_COAP_PORT", "0")
        .env("QUARKUS_HTTP_HOST", "127.0.0.1")
        .env("QUARKUS_HTTP_PORT", port.to_string());
    command.envs(sandbox::variables(nobody(), &[]));
    let adapter = Running::start(command.stderr(Stdio::null()));
    assert!(probe(port, "/liveness").starts_with("HTTP/1.1 200 "));
    assert!(probe(port, "/readiness").starts_with("HTTP/1.1 503 "));
    assert_eq!(adapter.end("-TERM"), 0);
}

/// No suite with certificates signs with RSA, so Hono serves pre-shared keys only, and warns (spec:
/// coap-adapter §9).
#[test]
fn an_rsa_key_is_warned_of_and_keys_are_served_all_the_same() {
    let file = |name: &str| {
        format!(
            "{}/../../protocols/dtls-proto/tests/identities/{name}",
            env!("CARGO_MANIFEST_DIR")
        )
    };
    let mut command = coap_adapter(&["run"]);
    command
        .env("HONO_COAP_KEYPATH", file("rsa.key"))
        .env("HONO_COAP_CERTPATH", file("rsa.crt"))
        .env("HONO_COAP_PORT", "0")
        .env("QUARKUS_HTTP_PORT", "0");
    command.envs(sandbox::variables(nobody(), &[]));
    let mut adapter = Running::start(command.stderr(Stdio::piped()));
    let seen = adapter.lines_until("the adapter is up");
    assert!(
        seen.contains("WARN") && seen.contains("key is for RSA"),
        "{seen}"
    );
    assert_eq!(adapter.end("-TERM"), 0);
}

/// The answer to a probe, once somebody listens.
fn probe(port: u16, path: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: adapter\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// `send` is a business application in one line: its exit code tells whether a device got the command.
#[test]
fn a_command_that_no_device_waits_for_is_told_as_released() {
    let mut sandbox = sandbox(&["--no-play"]);
    let seen = sandbox.lines_until("Now you");
    let mut words = seen.lines().map(str::split_whitespace).map(Vec::from_iter);
    let line = words.find(|words| words.first() == Some(&"AMQP")).unwrap();
    let amqp = line[1];
    let (code, _, printed) = output(&mut coap_adapter(&[
        "send", "--amqp", amqp, "4711", "setLight",
    ]));
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("released"), "{printed}");
    let nobody = coap_adapter(&["send", "--amqp", amqp, "--tenant", "nowhere", "4711", "x"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let (code, _, printed) = output(&mut coap_adapter(&["send", "--amqp", "here", "4711", "x"]));
    assert_eq!(code, 64, "{printed}");
}

#[test]
fn log_levels_change_with_the_file_and_of_all_else_it_is_told_that_it_waits() {
    let least = LEAST.replace("coap.port: 0", "coap: {port: 0}\n  app.reloadInterval: 0");
    let text = |more: &str| format!("{least}quarkus.http: {{host: 127.0.0.1, port: 0}}\n{more}");
    let file = File::new("reload.yml", &text(""));
    let arguments = ["run", "--config", file.path()];
    let mut adapter = Running::start(coap_adapter(&arguments).stderr(Stdio::piped()));
    adapter.lines_until("the adapter is up");

    fs::write(file.path(), text("quarkus.log.level: LOUD\n")).unwrap();
    adapter.signal("-HUP");
    let printed = adapter.lines_until("keeping the previous version");
    assert!(
        printed.contains("`quarkus.log.level` is `LOUD`, but should be"),
        "{printed}"
    );

    let changed = "quarkus.log.level: WARN\nhono.coap.maxPayloadSize: 4096\n";
    fs::write(file.path(), text(changed)).unwrap();
    adapter.signal("-HUP");
    adapter.lines_until(
        "changed settings take effect at the next start settings=\"hono.coap.maxPayloadSize\"",
    );
    assert_eq!(adapter.end("-TERM"), 0);
}

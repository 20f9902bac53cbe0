//! Spans of the built binary, as an OTLP receiver gets them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use prost::Message;
use sandbox::{
    Sandbox, SandboxConfig,
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour},
    world::World,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

/// `ALL` is traced though the sampler says no, `SOME` but for one device.
const WORLD: &str = "
tenants:
  ALL:
    tracing: { sampling-mode: all }
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
  QUIET:
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
  SOME:
    tracing: { sampling-mode: all, sampling-mode-per-auth-id: { sensor: none } }
    devices:
      d: { credentials: [{ type: psk, auth-id: sensor, key: k }] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_trace_whose_context_its_message_carries_if_the_tenant_wants_it() {
    let (receiver, mut received) = receive().await;
    let world = World::from_yaml("traces", WORLD).unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sandbox = Sandbox::start(SandboxConfig::new(anywhere, world))
        .await
        .unwrap();
    let adapter = Adapter::start(sandbox.amqp_address(), receiver);
    let mut contexts = BTreeMap::new();
    for tenant in ["QUIET", "SOME", "ALL"] {
        let mut application =
            Application::attach(sandbox.amqp_address(), tenant, &[], Behaviour::Accept)
                .await
                .unwrap();
        let identity = format!("sensor@{tenant}");
        let mut device = Device::connect(adapter.coaps, &identity, b"k", SOON)
            .await
            .unwrap();
        let request = CoapRequest::post("telemetry").body(0, "21");
        let response = device.request(&request, SOON).await.unwrap();
        assert_eq!(response.code(), "2.04");
        let message = application.receive(SOON).await.unwrap();
        contexts.insert(tenant, traceparent(&message.sections));
    }
    let spans = all_of_a_request(&mut received).await;
    let first = &spans["/telemetry"];
    let attributes: BTreeMap<&str, String> = first
        .attributes
        .iter()
        .map(|it| {
            (
                it.key.as_str(),
                text(it.value.as_ref().and_then(|value| value.value.as_ref())),
            )
        })
        .collect();
    for (name, value) in [
        ("tenant_id", "ALL"),
        ("device_id", "d"),
        ("auth_id", "sensor"),
        ("authenticated", "true"),
        ("component", "hono-coap"),
        ("http.method", "POST"),
        ("http.url", "/telemetry"),
        ("coap.message_type", "CON"),
        ("coap.response_code", "2.04"),
        ("sampling.priority", "1"),
    ] {
        assert_eq!(
            attributes.get(name).map(String::as_str),
            Some(value),
            "{attributes:?}"
        );
    }
    let upload = &spans["upload telemetry"];
    for (name, parent) in [
        ("upload telemetry", first),
        ("get Tenant by ID", upload),
        ("assert Device Registration", upload),
        ("forward Telemetry data", upload),
    ] {
        assert_eq!(spans[name].parent_span_id, parent.span_id, "{name}");
        assert_eq!(spans[name].trace_id, first.trace_id, "{name}");
    }
    let forward = &spans["forward Telemetry data"];
    let context = format!("00-{}-{}-01", hex(&forward.trace_id), hex(&forward.span_id));
    assert_eq!(contexts["ALL"], context);
    for untraced in ["QUIET", "SOME"] {
        assert!(contexts[untraced].ends_with("-00"), "{contexts:?}");
    }
    adapter.end();
    sandbox.stop().await;
}

/// Spans by name, until a whole request is there; others than of the tenant that wants it must not come.
async fn all_of_a_request(
    received: &mut mpsc::Receiver<ExportTraceServiceRequest>,
) -> BTreeMap<String, Span> {
    let mut spans = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while !spans.contains_key("/telemetry") {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(Some(request)) = timeout(left, received.recv()).await else {
            panic!("no whole request, but {:?}", spans.keys());
        };
        let of_resources = request
            .resource_spans
            .into_iter()
            .flat_map(|it| it.scope_spans);
        for span in of_resources.flat_map(|it| it.spans) {
            let name = span.name.clone();
            assert!(
                spans.insert(name.clone(), span).is_none(),
                "{name} came twice"
            );
        }
    }
    spans
}

/// An OTLP/HTTP receiver.
async fn receive() -> (SocketAddr, mpsc::Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let request = answer(stream).await;
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    (address, received)
}

async fn answer(mut stream: TcpStream) -> ExportTraceServiceRequest {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "cut off");
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let body = &bytes[end + 4..];
        if body.len() == length {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            return ExportTraceServiceRequest::decode(body).unwrap();
        }
    }
}

/// The binary with a sampler that drops all that the tenant does not ask for.
struct Adapter {
    process: Child,
    coaps: SocketAddr,
}

impl Adapter {
    fn start(amqp: SocketAddr, receiver: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coap-adapter"));
        command
            .arg("run")
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let patience = [("REQUESTTIMEOUT", "5000"), ("FLOWLATENCY", "5000")];
        command
            .envs(sandbox::variables(amqp, &patience))
            .env("HONO_COAP_PORT", "0")
            .env("QUARKUS_HTTP_PORT", "0")
            .env("QUARKUS_LOG_LEVEL", "DEBUG")
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .env(
                "QUARKUS_OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{receiver}"),
            );
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let up = log
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("the adapter is up"));
        // A peer that is not read would have to wait.
        std::thread::spawn(move || log.for_each(drop));
        let up = up.unwrap();
        let (_, rest) = up.split_once("coaps=").unwrap();
        let coaps = rest.split(char::is_whitespace).next().unwrap();
        let coaps = coaps.parse().unwrap();
        Self { process, coaps }
    }

    fn end(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn text(value: Option<&any_value::Value>) -> String {
    match value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a message stands in a trace.
fn traceparent(sections: &impl std::fmt::Display) -> String {
    let sections = sections.to_string();
    let at = sections
        .find("00-")
        .unwrap_or_else(|| panic!("no context in {sections}"));
    sections[at..].chars().take(55).collect()
}

/// How long anything may take that should come at once.
const SOON: Duration = Duration::from_secs(20);
/// Batches go out every five seconds.
const PATIENCE: Duration = Duration::from_secs(30);

//! Prometheus itself: it scrapes the adapter's metrics, and its answers to the limit query limit a tenant.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use acceptance::pki::Folder;
use adapter::{
    config::{Config, HealthConfig},
    monitoring::health::{self, Health, Probes},
    tenant::usage::{MessageLimits, Verdict},
};
use libtest_mimic::Trial;
use observability::metrics::{Metrics, Qos, Status, Ttd, Upload, UploadKind};
use registry_client::Tenant;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep},
};

use crate::{Outcome, Runner, process::Program, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "what_was_scraped_limits_the_tenant_that_sent_it";
    trials.push(runner.trial(Tool::Prometheus, name, scraped_and_limited));
}

/// Two tenants may send 500 bytes. One sends 1000 and is refused; the other continues.
async fn scraped_and_limited() -> Outcome {
    let metrics = Metrics::new("interop");
    let health = serve(metrics.clone()).await?;
    let prometheus = Prometheus::start(health.address()).await?;
    // Prometheus counts from the first value it sees.
    let first = upload("busy", 0);
    metrics.upload(&first);
    prometheus
        .until("hono_telemetry_payload_bytes_sum", "0")
        .await?;
    metrics.upload(&upload("busy", 1000));
    prometheus
        .until("hono_telemetry_payload_bytes_sum", "1000")
        .await?;
    for (query, value) in [
        ("hono_telemetry_payload_bytes_count", "2"),
        ("hono_telemetry_payload_bytes_max", "1000"),
        ("hono_connections_unauthenticated", "0"),
    ] {
        prometheus.until(query, value).await?;
    }
    let busy = learnt(&prometheus, &tenant("busy", 500)?).await?;
    let idle = learnt(&prometheus, &tenant("idle", 500)?).await?;
    let much = learnt(&prometheus, &tenant("busy", 1_000_000)?).await?;
    health.stop().await;
    prometheus.stop().await;
    match (busy, idle, much) {
        ([Verdict::Exceeded, _], [Verdict::Passes, Verdict::Exceeded], [Verdict::Passes, _]) => {
            Ok(())
        }
        other => Err(format!("other verdicts: {other:?}")),
    }
}

/// What becomes known about a tenant: may it send a byte, and may it send 501?
async fn learnt(prometheus: &Prometheus, tenant: &Tenant) -> Result<[Verdict; 2], String> {
    let port = prometheus.address.port().to_string();
    let settings = [("HOST", "127.0.0.1"), ("PORT", &port)].map(|(key, value)| {
        let name = format!("HONO_RESOURCELIMITS_PROMETHEUSBASED_{key}");
        (name, value.to_owned())
    });
    let (config, _) = Config::inspect(None, settings.into_iter());
    let limits = MessageLimits::start(config.resource_limits.as_ref());
    let limits = limits.map_err(|error| error.to_string())?;
    // A message of more than any limit passes as long as nothing is known.
    let deadline = Instant::now() + PATIENCE;
    while limits.check(tenant, usize::MAX) == Verdict::Passes {
        if Instant::now() > deadline {
            return Err(format!("nothing becomes known about {}", tenant.id));
        }
        sleep(PAUSE).await;
    }
    Ok([limits.check(tenant, 1), limits.check(tenant, 501)])
}

async fn serve(metrics: Metrics) -> Result<Health, String> {
    let mut config = HealthConfig::default();
    config.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let probes = Probes::default().with_metrics(move || metrics.render());
    let health = health::serve(&config, probes).await;
    health.map_err(|error| error.to_string())
}

/// Prometheus with a folder of its own.
pub(crate) struct Prometheus {
    program: Program,
    address: SocketAddr,
    folder: Folder,
}

impl Prometheus {
    /// Starts it on a free port, with the adapter as its only target.
    async fn start(target: SocketAddr) -> Result<Self, String> {
        let address = free_port().map_err(|error| error.to_string())?;
        Self::start_at(address, target, "scrape", "").await
    }

    /// Starts it with these rule files, in a folder of that name.
    pub(crate) async fn start_at(
        address: SocketAddr,
        target: SocketAddr,
        name: &str,
        rules: &str,
    ) -> Result<Self, String> {
        let folder = Folder::new(name).map_err(|error| error.to_string())?;
        let text = CONFIGURATION
            .replace("TARGET", &target.to_string())
            .replace("RULES", rules);
        let configuration = folder.file("prometheus.yml", &text);
        let configuration = configuration.map_err(|error| error.to_string())?;
        let mut command = Command::new(Tool::Prometheus.program());
        command
            .arg(format!("--config.file={configuration}"))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let program = Program::start(command)?;
        Ok(Self {
            program,
            address,
            folder,
        })
    }

    /// Waits until a query has this one value.
    async fn until(&self, query: &str, value: &str) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(query).await.unwrap_or(Value::Null);
            if answer.pointer("/data/result/0/value/1") == Some(&json!(value)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{query} is not {value}, but {answer}"));
            }
            sleep(PAUSE).await;
        }
    }

    /// `None` while it does not answer.
    async fn ask(&self, query: &str) -> Option<Value> {
        self.get(&format!("query?query={query}")).await
    }

    /// What its API answers.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let request = format!(
            "GET /api/v1/{path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    pub(crate) async fn stop(self) {
        self.program.kill().await;
        drop(self.folder);
    }
}

pub(crate) fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const fn upload(tenant: &str, payload: u64) -> Upload<'_> {
    Upload {
        kind: UploadKind::Telemetry,
        tenant,
        status: Status::Forwarded,
        qos: Qos::AtLeastOnce,
        ttd: Ttd::None,
        payload,
        duration: Duration::from_millis(1),
    }
}

/// A tenant that may send so many bytes in a period that began long ago.
fn tenant(id: &str, max_bytes: u64) -> Result<Tenant, String> {
    let volume = json!({
        "effective-since": "2020-01-01T00:00:00Z",
        "max-bytes": max_bytes,
        "period": {"mode": "days", "no-of-days": 36_500},
    });
    let tenant = json!({"tenant-id": id, "resource-limits": {"data-volume": volume}});
    Tenant::from_json(tenant.to_string().as_bytes()).map_err(|error| error.to_string())
}

const CONFIGURATION: &str = "\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [RULES]
scrape_configs:
  - job_name: adapter
    metrics_path: /prometheus
    static_configs: [{targets: ['TARGET']}]
";

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

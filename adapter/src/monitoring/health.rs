//! The HTTP probes: may devices be sent here, would a restart help (spec: metrics-health §3).
//!
//! The bodies are those of Hono: `{"status":"UP","checks":[{"name":..,"status":..,"data":{..}}]}`,
//! 200 or 503.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::http::{self, Limits, Table};
use crate::config::{HealthConfig, METRICS_PATH};

/// Something that can be well or not. It is asked on every probe, so it must answer at once.
pub trait Check: Send + Sync {
    /// The name that operators see.
    fn name(&self) -> String;

    /// Whether it is well now.
    fn status(&self) -> Status;

    /// What else operators may want to know, by key.
    fn data(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Whether something is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It is.
    Up,
    /// It is not.
    Down,
}

impl Status {
    /// Up if `well`.
    #[must_use]
    pub const fn of(well: bool) -> Self {
        if well { Self::Up } else { Self::Down }
    }
}

/// What the probes ask.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Probes {
    /// Whether the start is done; nothing to ask means that it is once probes are answered.
    pub started: Vec<Arc<dyn Check>>,
    /// Whether devices may be sent here.
    pub readiness: Vec<Arc<dyn Check>>,
    /// Whether all goes on; a restart helps if not.
    pub liveness: Vec<Arc<dyn Check>>,
    /// Writes the metrics as Prometheus reads them.
    pub metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Probes {
    /// Probes without metrics.
    #[must_use]
    pub fn new(readiness: Vec<Arc<dyn Check>>, liveness: Vec<Arc<dyn Check>>) -> Self {
        Self {
            readiness,
            liveness,
            ..Self::default()
        }
    }

    /// Serves what `metrics` writes beside the probes.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(metrics));
        self
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Probes")
            .field("started", &names(&self.started))
            .field("readiness", &names(&self.readiness))
            .field("liveness", &names(&self.liveness))
            .finish_non_exhaustive()
    }
}

/// Starts to answer probes.
///
/// # Errors
/// The port cannot be had.
pub async fn serve(config: &HealthConfig, probes: Probes) -> Result<Health, ServeError> {
    let settings = "QUARKUS_HTTP_HOST and QUARKUS_HTTP_PORT";
    listen(config.address, router(config, probes), "health", settings).await
}

/// Starts to answer what the router knows. `purpose` and `settings` are for errors.
pub(super) async fn listen(
    address: SocketAddr,
    router: Router,
    purpose: &'static str,
    settings: &'static str,
) -> Result<Health, ServeError> {
    let unusable = |source| ServeError::Bind {
        address,
        purpose,
        settings,
        source,
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => ServeError::PortBusy {
                address,
                purpose,
                settings,
            },
            _ => unusable(source),
        })?;
    let address = listener.local_addr().map_err(unusable)?;
    let stop = CancellationToken::new();
    let table = Arc::new(Table::new(Limits::default()));
    let server = http::serve(listener, router, purpose, Arc::clone(&table), stop.clone());
    let task = tokio::spawn(server);
    Ok(Health {
        address,
        table,
        stop,
        task,
    })
}

/// A running HTTP server. Dropping it ends it; [`Health::stop`] lets running answers finish.
#[derive(Debug)]
#[must_use = "probes are answered until this is dropped"]
pub struct Health {
    address: SocketAddr,
    table: Arc<Table>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Health {
    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What counts the open connections, for metrics.
    pub(crate) fn connections(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let table = Arc::clone(&self.table);
        move || table.open()
    }

    /// Takes no more questions, lets running answers finish within a second, and frees the port.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Why an HTTP port cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Somebody else has the port.
    #[error("{address} (TCP, {purpose}) is in use: choose another with {settings}")]
    PortBusy {
        /// The address that was asked for.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
        /// What sets it.
        settings: &'static str,
    },
    /// The address is none of this machine, or needs rights that the process has not.
    #[error("cannot listen on {address} (TCP, {purpose}), set by {settings}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
        /// What sets it.
        settings: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn router(config: &HealthConfig, probes: Probes) -> Router {
    let Probes {
        started,
        readiness,
        liveness,
        metrics,
    } = probes;
    let all = [started.clone(), readiness.clone(), liveness.clone()].concat();
    let mut router = Router::new()
        .route(&config.started, get(answer).with_state(started.into()))
        .route(&config.readiness, get(answer).with_state(readiness.into()))
        .route(&config.liveness, get(answer).with_state(liveness.into()))
        .route(&config.root, get(answer).with_state(all.into()));
    if let Some(metrics) = metrics {
        let page = move || std::future::ready(([(CONTENT_TYPE, EXPOSITION)], metrics()));
        router = router.route(METRICS_PATH, get(page));
    }
    router
}

async fn answer(State(checks): State<Arc<[Arc<dyn Check>]>>) -> impl IntoResponse {
    let body = Body::of(&checks);
    let code = match body.status {
        Status::Up => StatusCode::OK,
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    match serde_json::to_string(&body) {
        Ok(body) => (code, [(CONTENT_TYPE, JSON)], body),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, TEXT)],
            error.to_string(),
        ),
    }
}

#[derive(Serialize)]
struct Body {
    status: Status,
    checks: Vec<Answer>,
}

#[derive(Serialize)]
struct Answer {
    name: String,
    status: Status,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
}

impl Body {
    fn of(checks: &[Arc<dyn Check>]) -> Self {
        let checks: Vec<Answer> = checks
            .iter()
            .map(|check| Answer {
                name: check.name(),
                status: check.status(),
                data: check.data(),
            })
            .collect();
        let status = Status::of(checks.iter().all(|check| check.status == Status::Up));
        Self { status, checks }
    }
}

fn names(checks: &[Arc<dyn Check>]) -> Vec<String> {
    checks.iter().map(|check| check.name()).collect()
}

/// How long running answers may take when the server ends.
const FAREWELL: Duration = Duration::from_secs(1);

const JSON: &str = "application/json; charset=UTF-8";
const TEXT: &str = "text/plain; charset=UTF-8";

/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    struct Switch(&'static str, AtomicBool);

    impl Check for Switch {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn status(&self) -> Status {
            Status::of(self.1.load(Ordering::Relaxed))
        }

        fn data(&self) -> BTreeMap<String, String> {
            let label = if self.0 == "broker" {
                Some(("role".to_owned(), "Tenant".to_owned()))
            } else {
                None
            };
            label.into_iter().collect()
        }
    }

    fn on_any_port() -> HealthConfig {
        HealthConfig {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..HealthConfig::default()
        }
    }

    async fn get(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn probes_tell_what_their_checks_say_now() {
        let broker = Arc::new(Switch("broker", AtomicBool::new(false)));
        let tasks = Arc::new(Switch("tasks", AtomicBool::new(true)));
        let probes =
            Probes::new(vec![broker.clone()], vec![tasks]).with_metrics(|| "up 1\n".to_owned());
        let health = serve(&on_any_port(), probes).await.unwrap();
        let ask = async |path, code: &str, body: &str| {
            assert_eq!(
                get(health.address(), path).await,
                (code.to_owned(), body.to_owned()),
                "{path}"
            );
        };
        let down = r#"{"name":"broker","status":"DOWN","data":{"role":"Tenant"}}"#;
        let tasks = r#"{"name":"tasks","status":"UP"}"#;
        ask(
            "/readiness",
            "503",
            &format!(r#"{{"status":"DOWN","checks":[{down}]}}"#),
        )
        .await;
        ask(
            "/liveness",
            "200",
            &format!(r#"{{"status":"UP","checks":[{tasks}]}}"#),
        )
        .await;
        ask("/started", "200", r#"{"status":"UP","checks":[]}"#).await;
        ask(
            "/",
            "503",
            &format!(r#"{{"status":"DOWN","checks":[{down},{tasks}]}}"#),
        )
        .await;
        ask("/prometheus", "200", "up 1\n").await;
        ask("/else", "404", "").await;
        broker.1.store(true, Ordering::Relaxed);
        ask(
            "/readiness",
            "200",
            &format!(
                r#"{{"status":"UP","checks":[{}]}}"#,
                down.replace("DOWN", "UP")
            ),
        )
        .await;
        health.stop().await;
    }

    #[tokio::test]
    async fn the_paths_are_those_of_the_configuration() {
        let mut config = on_any_port();
        config.readiness = "/deep/ready".to_owned();
        let health = serve(&config, Probes::default()).await.unwrap();
        assert_eq!(get(health.address(), "/deep/ready").await.0, "200");
        assert_eq!(get(health.address(), "/readiness").await.0, "404");
        health.stop().await;
    }

    #[tokio::test]
    async fn a_busy_port_is_told_with_its_setting_and_a_stopped_one_is_free() {
        let first = serve(&on_any_port(), Probes::default()).await.unwrap();
        let mut config = on_any_port();
        config.address = first.address();
        let error = serve(&config, Probes::default()).await.unwrap_err();
        let address = first.address();
        assert_eq!(
            error.to_string(),
            format!(
                "{address} (TCP, health) is in use: choose another with QUARKUS_HTTP_HOST and QUARKUS_HTTP_PORT"
            )
        );
        // Somebody who is connected and says nothing holds nothing up.
        let silent = TcpStream::connect(address).await.unwrap();
        first.stop().await;
        assert!(serve(&config, Probes::default()).await.is_ok());
        drop(silent);
    }
}

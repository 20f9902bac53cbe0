//! What concerns the process: probes, logs, traces, instances (spec: configuration §4).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use observability::spans::Sampler;

use super::{Ignored, chosen::Chosen, kind::Kind, setting::settings, source::Written};

/// Where probes ask.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Where the HTTP server listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Path of all checks together.
    pub root: String,
    /// Path of the start-up probe.
    pub started: String,
    /// Path of the readiness probe.
    pub readiness: String,
    /// Path of the liveness probe.
    pub liveness: String,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self::from_chosen(&mut Chosen::default())
    }
}

impl HealthConfig {
    pub(super) fn from_chosen(chosen: &mut Chosen) -> Self {
        let http = HttpSettings::take(chosen, "quarkus.http");
        let paths = HealthSettings::take(chosen, HEALTH);
        let root = rooted("/", &paths.root_path);
        let config = Self {
            address: SocketAddr::new(http.host, http.port),
            started: rooted(&root, &paths.startup_path),
            readiness: rooted(&root, &paths.readiness_path),
            liveness: rooted(&root, &paths.liveness_path),
            root,
        };
        config.check(chosen);
        config
    }

    fn check(&self, chosen: &mut Chosen) {
        let mut seen = BTreeMap::from([(METRICS_PATH, "the metrics")]);
        for (key, path) in [
            ("root-path", &self.root),
            ("startup-path", &self.started),
            ("readiness-path", &self.readiness),
            ("liveness-path", &self.liveness),
        ] {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "/-_.~".contains(letter);
            if !path.chars().all(plain) {
                let text = format!(
                    "the path `{path}` should hold letters, digits, `/`, `-`, `_`, `.` and `~` only"
                );
                chosen.refuse(HEALTH, &[key, "root-path"], text);
                break;
            }
            if let Some(other) = seen.insert(path, key) {
                let text =
                    format!("the path `{path}` is that of {other} too; each needs one of its own");
                chosen.refuse(HEALTH, &[key, other], text);
            }
        }
    }
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// How much is logged.
    pub level: Level,
    /// How much of single crates or modules, by their names as Rust has them.
    pub categories: BTreeMap<String, Level>,
    /// Whether log lines are JSON objects.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::from_chosen(&Chosen::default())
    }
}

impl LogConfig {
    pub(super) fn from_chosen(chosen: &Chosen) -> Self {
        let settings = LogSettings::take(chosen, LOG);
        let console = settings
            .console_level
            .as_deref()
            .map_or(Level::Trace, Level::of);
        Self {
            level: Level::of(&settings.level).min(console),
            categories: BTreeMap::new(),
            json: settings.console_json || settings.console_json_enabled,
        }
    }
}

/// How much is logged, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// Data lost, or a person must act.
    Error,
    /// Unexpected and survived.
    Warn,
    /// Beginning and end of parts.
    Info,
    /// Each request.
    Debug,
    /// Each datagram.
    Trace,
}

impl Level {
    /// The level for one of Hono's level names, of which there are more.
    fn of(word: &str) -> Self {
        match word {
            "OFF" => Self::Off,
            "FATAL" | "SEVERE" | "ERROR" => Self::Error,
            "WARN" | "WARNING" => Self::Warn,
            "DEBUG" | "CONFIG" | "FINE" => Self::Debug,
            "TRACE" | "FINER" | "FINEST" | "ALL" => Self::Trace,
            _ => Self::Info,
        }
    }

    /// The word for it in the language of log filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Where spans go and how many.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TracingConfig {
    /// The OTLP receiver; none exports nothing.
    pub endpoint: Option<String>,
    /// Which traces are exported where the tenant does not decide it.
    pub sampler: Sampler,
    /// What is not as the settings of the sampler ask for.
    pub(super) warnings: Vec<String>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self::from_chosen(&Chosen::default())
    }
}

impl TracingConfig {
    pub(super) fn from_chosen(chosen: &Chosen) -> Self {
        let settings = SamplerSettings::take(chosen, "otel.traces");
        let argument = settings.sampler_argument.as_deref();
        let (sampler, warning) = sampler(&settings.sampler, argument);
        let endpoint = OtlpSettings::take(chosen, "quarkus.otel.exporter.otlp").endpoint;
        let port = endpoint.as_deref().and_then(of_grpc);
        Self {
            endpoint,
            sampler,
            warnings: warning.into_iter().chain(port).collect(),
        }
    }
}

/// The sampler of this name, as Hono understands names and arguments, and what is not as asked
/// for. What Hono does not know is `always_on` there as well.
fn sampler(name: &str, argument: Option<&str>) -> (Sampler, Option<String>) {
    let name = name.trim();
    let argument = argument.map(str::trim);
    let sampler = match name.to_ascii_lowercase().as_str() {
        "always_on" | "parentbased_always_on" | "on" => Sampler::AlwaysOn,
        "always_off" | "parentbased_always_off" | "off" => Sampler::AlwaysOff,
        "traceidratio" | "parentbased_traceidratio" | "ratio" => {
            let ratio = argument.unwrap_or("1").parse().ok();
            match ratio.filter(|ratio| (0.0..=1.0).contains(ratio)) {
                Some(ratio) => Sampler::Ratio(ratio),
                None => {
                    let warning = invalid_argument(argument, "a number from 0 to 1", "1");
                    return (Sampler::Ratio(1.0), Some(warning));
                }
            }
        }
        "rate_limiting" | "parentbased_rate_limiting" | "rate-limiting" => {
            match argument.map(str::parse) {
                Some(Ok(rate)) => Sampler::RateLimiting(rate),
                None => Sampler::RateLimiting(DEFAULT_TRACES_PER_SECOND),
                Some(Err(_)) => {
                    let warning = invalid_argument(argument, "traces per second", "1");
                    let sampler = Sampler::RateLimiting(DEFAULT_TRACES_PER_SECOND);
                    return (sampler, Some(warning));
                }
            }
        }
        "jaeger_remote" | "parentbased_jaeger_remote" => {
            let warning = format!(
                "`otel.traces.sampler` is `{name}`, but no sampling strategies are fetched from Jaeger; every trace is exported, as with `always_on`"
            );
            return (Sampler::AlwaysOn, Some(warning));
        }
        _ => {
            let warning = format!(
                "`otel.traces.sampler` is `{name}`, which is not a known sampler; every trace is exported, as with `always_on`"
            );
            return (Sampler::AlwaysOn, Some(warning));
        }
    };
    (sampler, None)
}

/// Warns of an endpoint at the port that is assigned to OTLP over gRPC.
fn of_grpc(endpoint: &str) -> Option<String> {
    let (_, rest) = endpoint.split_once("://")?;
    let authority = rest.split('/').next()?;
    authority.ends_with(":4317").then(|| {
        format!(
            "`quarkus.otel.exporter.otlp.endpoint` is `{endpoint}`, but 4317 is the usual port of OTLP over gRPC, which is not spoken; OTLP over HTTP is usually at 4318"
        )
    })
}

fn invalid_argument(argument: Option<&str>, expected: &str, used: &str) -> String {
    let argument = argument.unwrap_or_default();
    format!("`otel.traces.sampler.arg` is `{argument}`, but should be {expected}; {used} is used")
}

/// As Hono's.
const DEFAULT_TRACES_PER_SECOND: u32 = 1;

impl AppSettings {
    /// None for zero.
    pub(super) fn reload_interval(&self) -> Option<Duration> {
        Some(self.reload_interval).filter(|period| !period.is_zero())
    }
}

/// The category that a variable such as `QUARKUS_LOG_CATEGORY__DTLS_SERVER__LEVEL` names, as a property.
pub(super) fn category_of_variable(name: &str) -> Option<String> {
    let category = name
        .strip_prefix("QUARKUS_LOG_CATEGORY__")?
        .strip_suffix("__LEVEL")?;
    Some(format!("{CATEGORY}{}.level", category.to_ascii_lowercase()))
}

/// Sets the level of a category, if the written setting is about one. Those of Hono's classes have
/// no effect.
pub(super) fn category(
    written: &Written,
    log: &mut LogConfig,
    chosen: &mut Chosen,
) -> Option<Result<(), Ignored>> {
    let category = written
        .name
        .strip_prefix(CATEGORY)?
        .strip_suffix(".level")?
        .trim_matches('"');
    let of_ours = category
        .split(['.', ':'])
        .next()
        .is_some_and(|head| CRATES.contains(&head));
    if !of_ours {
        let why =
            "names classes of Hono; crates such as `adapter` or `dtls_server` have levels here";
        return Some(Err(Ignored {
            name: written.name.clone(),
            why,
        }));
    }
    let word = written.text.trim().to_ascii_uppercase();
    if LEVELS.contains(&word.as_str()) {
        log.categories
            .insert(category.replace('.', "::"), Level::of(&word));
    } else {
        let text = format!(
            "`{}` is `{}`, but should be {}",
            written.name,
            written.text,
            Kind::OneOf(LEVELS).wanted()
        );
        chosen
            .problems
            .push(super::Problem::new(written.origin.clone(), text));
    }
    Some(Ok(()))
}

/// Puts a path below another, unless it starts at the root itself.
fn rooted(root: &str, path: &str) -> String {
    let path = path.trim();
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", root.trim_end_matches('/'))
}

/// Where the metrics are read (spec: metrics-health §3).
pub const METRICS_PATH: &str = "/prometheus";

const HEALTH: &str = "quarkus.smallrye-health";
const LOG: &str = "quarkus.log";
const CATEGORY: &str = "quarkus.log.category.";

pub(super) const LEVELS: &[&str] = &[
    "OFF", "FATAL", "SEVERE", "ERROR", "WARN", "WARNING", "INFO", "CONFIG", "DEBUG", "FINE",
    "FINER", "FINEST", "TRACE", "ALL",
];

const CRATES: &[&str] = &[
    "adapter",
    "observability",
    "coap_proto",
    "dtls_proto",
    "dtls_server",
    "amqp_proto",
    "amqp_client",
    "registry_client",
    "sandbox",
];

settings! {
    /// `hono.app` as it is written.
    pub(super) struct AppSettings {
        /// Number of AMQP connections for telemetry, and as many for events; tenants are distributed over them. 0 is one per CPU, as far as `maxMemory` permits.
        max_instances: usize = Kind::Number { min: 0, max: 1024, unit: "" }, "maxInstances", Some("0");
        /// Whether AMQP 1.0 messaging is disabled; must be false.
        amqp_messaging_disabled: bool = Kind::Flag, "amqpMessagingDisabled", Some("false");
        /// Interval at which certificates, keys, trust stores and the configuration file are checked for changes; 0 checks only on SIGHUP.
        reload_interval: Duration = Kind::Millis { min: 0 }, "reloadInterval", Some("10000");
        /// Maximum resident memory of the process, split over all tables; 0 is the memory of the container or machine less `hono.coap.gcHeapPercentage`.
        max_memory: i64 = Kind::Number { min: 0, max: 1 << 50, unit: "bytes" }, "maxMemory", Some("0");
    }
}

settings! {
    /// `quarkus.http` as it is written.
    pub(super) struct HttpSettings {
        /// Address of the port for probes and metrics.
        host: IpAddr = Kind::Address, "host", Some("0.0.0.0");
        /// Port for probes and metrics; 0 selects a free port.
        port: u16 = Kind::Number { min: 0, max: 65_535, unit: "" }, "port", Some("8088");
    }
}

settings! {
    /// `quarkus.smallrye-health` as it is written.
    pub(super) struct HealthSettings {
        /// Path of all checks; the other paths are relative to it unless they start with `/`.
        root_path: String = Kind::Text, "root-path", Some("/");
        /// Path of the start-up probe.
        startup_path: String = Kind::Text, "startup-path", Some("started");
        /// Path of the readiness probe.
        readiness_path: String = Kind::Text, "readiness-path", Some("readiness");
        /// Path of the liveness probe.
        liveness_path: String = Kind::Text, "liveness-path", Some("liveness");
    }
}

settings! {
    /// `quarkus.log` as it is written.
    pub(super) struct LogSettings {
        /// Log level; `quarkus.log.category.<crate>.level` sets that of single crates.
        level: String = Kind::OneOf(LEVELS), "level", Some("INFO");
        /// Most verbose level that is logged.
        console_level: Option<String> = Kind::OneOf(LEVELS), "console.level", None;
        /// Whether log lines are JSON objects.
        console_json: bool = Kind::Flag, "console.json", Some("false");
        /// Newer name of `console.json`.
        console_json_enabled: bool = Kind::Flag, "console.json.enabled", Some("false");
    }
}

settings! {
    /// `quarkus.otel.exporter.otlp` as it is written.
    pub(super) struct OtlpSettings {
        /// URL of the OTLP receiver; without one, no spans are exported.
        endpoint: Option<String> = Kind::Text, "endpoint", None;
    }
}

settings! {
    /// `otel.traces` as it is written.
    pub(super) struct SamplerSettings {
        /// Sampler: `always_on`, `always_off`, `traceidratio` or `rate_limiting`, also with `parentbased_` before it, and Hono's `on`, `off`, `ratio`, `rate-limiting`. Others, such as `jaeger_remote`, cause a warning and are treated as `always_on`.
        sampler: String = Kind::Text, "sampler", Some("parentbased_always_on");
        /// Argument of the sampler: the ratio of traces that are exported, from 0 to 1 (default 1), or the traces per second (default 1).
        sampler_argument: Option<String> = Kind::Text, "sampler.arg", None;
    }
}

//! Configuration from one YAML file and the environment; reports all errors at once.
//!
//! Names, defaults and effects are those of Hono (spec: configuration): `HONO_COAP_MAXPAYLOADSIZE`
//! in the environment is
//! `hono.coap.maxPayloadSize` in the file, and overrides it. Each setting is one row of a table
//! ([`GROUPS`]), and each value
//! remembers who wrote it ([`Effective`]).
//!
//! ```text
//! file ──────> flat (name, text, line) ──┐
//!                                        ├─> Chosen: by row of the table ─> Config, or all Problems
//! environment > flat (name, text) ───────┘
//! ```

mod origin;
mod bind;
mod kind;
mod setting;
mod catalogue;
mod source;
mod file;
mod variables;
mod chosen;
mod ports;
mod memory;
mod properties;
mod coap;
mod dtls;
mod sessions;
mod amqp;
mod tls;
mod limits;
mod budget;
mod service;
mod effective;
mod schema;
mod page;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use amqp_client::{ConnectionConfig, Secret};
use registry_client::CacheConfig;

pub use self::{
    bind::{BindAddress, Endpoint},
    budget::{Budget, BudgetConfig},
    catalogue::{GROUPS, Group, variable},
    coap::{CoapConfig, KeyAndCertificate, OperatorConfig},
    dtls::DtlsConfig,
    effective::Effective,
    kind::Kind,
    limits::ResourceLimitsConfig,
    memory::{MemoryConfig, Share, Table},
    origin::{Origin, Problem},
    page::table,
    schema::schema,
    service::{HealthConfig, Level, LogConfig, METRICS_PATH, TracingConfig},
    sessions::{SessionsConfig, StoreConfig},
    setting::Setting,
};
use self::{
    chosen::Chosen,
    service::AppSettings,
    source::{Written, closest},
    variables::Variables,
};

/// Everything that can be set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What devices meet.
    pub coap: CoapConfig,
    /// What their sessions survive.
    pub sessions: SessionsConfig,
    /// Where telemetry, events and command responses go; set if the configuration was loaded.
    pub messaging: Option<ConnectionConfig>,
    /// Where commands come from; set if the configuration was loaded.
    pub command: Option<ConnectionConfig>,
    /// Whether messages carry the trace context in the format of older Hono versions.
    pub legacy_trace_context: bool,
    /// Who knows the tenants; set if the configuration was loaded.
    pub tenant: Option<ConnectionConfig>,
    /// Who knows the devices; set if the configuration was loaded.
    pub registration: Option<ConnectionConfig>,
    /// Who knows the devices' keys; set if the configuration was loaded.
    pub credentials: Option<ConnectionConfig>,
    /// Who knows where devices wait for commands; set if the configuration was loaded.
    pub command_router: Option<ConnectionConfig>,
    /// What is kept of the tenants.
    pub tenant_cache: CacheConfig,
    /// What is kept of the devices.
    pub registration_cache: CacheConfig,
    /// What is kept of the keys.
    pub credentials_cache: CacheConfig,
    /// Who knows how much a tenant has sent; none sets no limits.
    pub resource_limits: Option<ResourceLimitsConfig>,
    /// How much devices and tenants may do in a minute.
    pub budget: BudgetConfig,
    /// How much memory may be taken, and by what.
    pub memory: MemoryConfig,
    /// Where probes ask.
    pub health: HealthConfig,
    /// What is logged and how.
    pub log: LogConfig,
    /// Where spans go and how many.
    pub tracing: TracingConfig,
    /// AMQP connections for telemetry, and as many for events; 0 is one for each processor.
    pub max_instances: usize,
    /// How often files are looked at for changes; none only when asked to.
    pub reload_interval: Option<Duration>,
    /// What was written and has no effect here, to be named once in the log.
    pub ignored: Vec<Ignored>,
    /// Warnings, for one line each in the log.
    pub warnings: Vec<String>,
    /// Every setting with its value and who wrote it.
    pub effective: Vec<Effective>,
}

/// A setting of Hono that is accepted and has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// Its name, as it was written.
    pub name: String,
    /// Why it has none.
    pub why: &'static str,
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.why)
    }
}

/// The defaults of every setting: no endpoint and no client, for these must be named.
impl Default for Config {
    fn default() -> Self {
        let chosen = &mut Chosen::default();
        let app = AppSettings::take(chosen, "hono.app");
        let mut config = Self {
            coap: CoapConfig::default(),
            sessions: SessionsConfig::default(),
            messaging: None,
            command: None,
            legacy_trace_context: amqp::uses_legacy_trace_context(chosen),
            tenant: None,
            registration: None,
            credentials: None,
            command_router: None,
            tenant_cache: amqp::cache(chosen, "hono.tenant"),
            registration_cache: amqp::cache(chosen, "hono.registration"),
            credentials_cache: amqp::cache(chosen, "hono.credentials"),
            resource_limits: None,
            budget: BudgetConfig::from_chosen(chosen),
            memory: MemoryConfig::default(),
            health: HealthConfig::from_chosen(chosen),
            log: LogConfig::from_chosen(chosen),
            tracing: TracingConfig::from_chosen(chosen),
            max_instances: app.max_instances,
            reload_interval: app.reload_interval(),
            ignored: Vec::new(),
            warnings: Vec::new(),
            effective: effective::all(chosen),
        };
        memory::settle(&mut config, chosen, app.max_memory);
        config
    }
}

impl Config {
    /// Reads the file, if there is one, and the environment over it.
    ///
    /// # Errors
    /// Every mistake in both, each with its place and what would be right.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let (config, problems) = Self::inspect(file, environment);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// As [`Config::load`], but gives what could be read beside the mistakes; a wrong value leaves the default.
    pub fn inspect(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> (Self, Vec<Problem>) {
        let mut written = Vec::new();
        let mut chosen = Chosen::default();
        let mut is_whole = true;
        if let Some(path) = file {
            match std::fs::read_to_string(path) {
                Ok(text) => (written, chosen.problems, is_whole) = file::read(path, &text),
                Err(error) => {
                    let origin = Origin::File {
                        path: path.to_owned(),
                        line: 0,
                    };
                    let problem = Problem::new(origin, format!("cannot be read: {error}"));
                    return (Self::nothing(), vec![problem]);
                }
            }
        }
        let Variables {
            written: variables,
            ignored,
            warnings,
        } = variables::read(environment);
        written.extend(variables);
        let mut config = Self {
            ignored,
            warnings,
            ..Self::default()
        };
        config.choose(written, &mut chosen);
        config.build(&mut chosen);
        let mut problems = chosen.problems;
        if !is_whole {
            // What seems to be missing may stand in the part that cannot be read.
            problems.retain(|problem| problem.origin != Origin::Default);
        }
        problems.sort();
        problems.dedup();
        (config, problems)
    }

    /// What holds if the file cannot be read: nothing that could be shown.
    fn nothing() -> Self {
        Self {
            effective: Vec::new(),
            ..Self::default()
        }
    }

    /// The files that are named in settings and cannot be read now.
    #[must_use]
    pub fn unreadable_files(&self) -> Vec<Problem> {
        effective::unreadable(&self.effective)
    }

    /// A problem with a setting, at the place where it is written.
    #[must_use]
    pub fn problem_with(&self, setting: &str, text: &str) -> Problem {
        let written = self.effective.iter().find(|it| it.name == setting);
        let origin = written.map_or(Origin::Default, |it| it.origin.clone());
        Problem::new(origin, format!("`{setting}`: {text}"))
    }

    /// Finds the row of everything that is written.
    fn choose(&mut self, all: Vec<Written>, chosen: &mut Chosen) {
        let rows: BTreeMap<String, &Setting> = catalogue::all().collect();
        let without_effect: Vec<String> = catalogue::names_without_effect().collect();
        let mut categories = Vec::new();
        for written in all {
            if let Some(setting) = rows.get(&written.name) {
                chosen.write(setting, written);
            } else if written.name.starts_with("quarkus.log.category.") {
                categories.push(written);
            } else if without_effect.contains(&written.name) {
                self.ignore(written.name);
            } else {
                let known = rows.keys().chain(&without_effect).map(String::as_str);
                match catalogue::renamed(&written.name).or_else(|| closest(&written.name, known)) {
                    None if catalogue::without_effect(&written.name).is_some() => {
                        self.ignore(written.name);
                    }
                    meant => {
                        let meant = meant
                            .map(|name| format!("; did you mean `{name}`?"))
                            .unwrap_or_default();
                        let text = format!("there is no setting `{}`{meant}", written.name);
                        chosen.problems.push(Problem::new(written.origin, text));
                    }
                }
            }
        }
        self.log = LogConfig::from_chosen(chosen);
        for written in categories {
            match service::category(&written, &mut self.log, chosen) {
                Some(Ok(())) => {}
                Some(Err(ignored)) => self.ignored.push(ignored),
                None => self.ignore(written.name),
            }
        }
    }

    fn ignore(&mut self, name: String) {
        if let Some(why) = catalogue::without_effect(&name) {
            self.ignored.push(Ignored { name, why });
        }
    }

    fn build(&mut self, chosen: &mut Chosen) {
        let app = AppSettings::take(chosen, "hono.app");
        self.max_instances = app.max_instances;
        self.reload_interval = app.reload_interval();
        self.coap = CoapConfig::from_chosen(chosen);
        self.sessions = SessionsConfig::from_chosen(chosen);
        self.messaging = amqp::client(chosen, "hono.messaging");
        self.legacy_trace_context = amqp::uses_legacy_trace_context(chosen);
        self.command = amqp::client(chosen, "hono.command");
        self.tenant = amqp::client(chosen, "hono.tenant");
        self.registration = amqp::client(chosen, "hono.registration");
        self.credentials = amqp::client(chosen, "hono.credentials");
        self.command_router = amqp::client(chosen, "hono.commandRouter");
        self.tenant_cache = amqp::cache(chosen, "hono.tenant");
        self.registration_cache = amqp::cache(chosen, "hono.registration");
        self.credentials_cache = amqp::cache(chosen, "hono.credentials");
        self.resource_limits = limits::from_chosen(chosen);
        self.budget = BudgetConfig::from_chosen(chosen);
        self.health = HealthConfig::from_chosen(chosen);
        self.tracing = TracingConfig::from_chosen(chosen);
        self.warnings.append(&mut self.tracing.warnings);
        if self.coap.insecure.is_none()
            && coap::wants_insecure_port(chosen)
            && self.coap.secure.is_some()
        {
            self.warnings.push(
                "`hono.coap.insecurePortEnabled` or `insecurePort` asks for a port without security, but `hono.coap.authenticationRequired` is true: there is none".to_owned(),
            );
        }
        let insecure = self.coap.insecure.as_ref();
        if insecure.is_some_and(|endpoint| endpoint.port == 5684) {
            self.warnings
                .push("`hono.coap.insecurePort` is 5684, where devices expect DTLS".to_owned());
        }
        self.warn_of_open_passwords();
        if app.amqp_messaging_disabled {
            let text = "should be `false`: messages travel by AMQP 1.0 only";
            chosen.refuse("hono.app", &["amqpMessagingDisabled"], text);
        }
        memory::settle(self, chosen, app.max_memory);
        self.require_hosts(chosen);
        self.effective = effective::all(chosen);
    }

    /// A messaging network that is configured and not supported.
    fn other_messaging(&self) -> Option<&'static str> {
        let is_set = |prefix: &str| {
            let variable = variable(prefix);
            let mut names = self.ignored.iter().map(|ignored| ignored.name.as_str());
            names.any(|name| name.starts_with(prefix) || name.starts_with(&variable))
        };
        let others = [("hono.kafka.", "Kafka"), ("hono.pubsub.", "Pub/Sub")];
        let found = others.into_iter().find(|(prefix, _)| is_set(prefix));
        found.map(|(_, name)| name)
    }

    /// Passwords of SASL PLAIN (RFC 4616 §4) and Basic authentication can be read on the way unless TLS is spoken.
    fn warn_of_open_passwords(&mut self) {
        let clients = self.clients().into_iter().filter_map(|(prefix, client)| {
            let client = client.as_ref()?;
            let is_open = client.credentials.is_some() && client.tls.is_none();
            Some((prefix, client.host.as_str(), is_open))
        });
        let limits = self.resource_limits.iter().map(|limits| {
            let is_open = limits.credentials.is_some() && limits.tls.is_none();
            (limits::PREFIX, limits.host.as_str(), is_open)
        });
        let open = clients
            .chain(limits)
            .filter(|(_, host, is_open)| *is_open && !is_loopback(host));
        let warnings: Vec<_> = open
            .map(|(prefix, host, _)| {
                format!(
                    "`{prefix}`: user name and password are sent to {host} in clear text; set \
                     `{prefix}.tlsEnabled` or `{prefix}.trustStorePath`"
                )
            })
            .collect();
        self.warnings.extend(warnings);
    }

    /// The clients of all services, by the prefix of their settings.
    fn clients(&self) -> [(&'static str, &Option<ConnectionConfig>); 6] {
        [
            ("hono.messaging", &self.messaging),
            ("hono.command", &self.command),
            ("hono.tenant", &self.tenant),
            ("hono.registration", &self.registration),
            ("hono.credentials", &self.credentials),
            ("hono.commandRouter", &self.command_router),
        ]
    }

    /// The adapter needs all services. Hono also starts without messaging or commands (spec:
    /// configuration §2), but is never ready then.
    fn require_hosts(&self, chosen: &mut Chosen) {
        for (prefix, client) in self.clients() {
            if client.is_none() {
                let text = "should be set: there is no default for where a service is";
                match self
                    .other_messaging()
                    .filter(|_| prefix == "hono.messaging")
                {
                    Some(other) => {
                        let text = format!(
                            "{text}; {other} is configured, but messages travel by AMQP 1.0 only: add `amqp` to the messaging network types of the Hono installation"
                        );
                        chosen.require(prefix, "host", &text);
                    }
                    None => chosen.require(prefix, "host", text),
                }
            }
        }
    }
}

/// Whether a host is this machine, by its name or address, without name resolution.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address: Result<std::net::IpAddr, _> = name.trim_matches(['[', ']']).parse();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests;

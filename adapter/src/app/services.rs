//! The connections to all services, and what speaks over them (spec: amqp-messages §8).

use std::sync::Arc;
use std::time::Duration;

use amqp_client::{Connection, ConnectionConfig, Outcome, SendError, Service};
use registry_client::notifications::Caches;
use registry_client::{CommandRouterClient, CredentialsClient, RegistrationClient, TenantClient};
use uuid::Uuid;

use super::StartError;
use super::reload::Source;
use crate::command::consumer::Commands;
use crate::command::response::Responder;
use crate::config::{Config, Table};
use crate::diagnostics::observer::Observer;
use crate::exchange::{AdmissionControl, AdmissionLimits, Reserve};
use crate::pipeline::Pipeline;
use crate::serve::Stop;
use crate::tenant::budget::Budgets;
use crate::tenant::usage::MessageLimits;
use crate::upload::Uplink;
use crate::upload::message::{Defaulting, JmsVendorProperties, Settings, Stamps, TraceFormat};
use crate::upload::order::TransferOrder;
use observability::metrics::{Link, Metrics, Reloaded, host_name};

/// The connections to all services.
pub(super) struct Services {
    telemetry: Vec<Connection>,
    event: Vec<Connection>,
    response: Connection,
    pub(super) command: Connection,
    pub(super) notification: Connection,
    tenant: Connection,
    registration: Connection,
    credentials: Connection,
    router: Connection,
    limits: MessageLimits,
    pub(super) metrics: Metrics,
}

impl Services {
    pub(super) fn connect(config: &Config) -> Result<Self, StartError> {
        let instances = instances(config);
        let bounds = Bounds::new(config, instances);
        let start = |service: &Service, role, setting, config: &Option<ConnectionConfig>| {
            let config = config.clone().ok_or(StartError::Missing(setting))?;
            Connection::start_to(service, role, bounds.apply(config))
                .map_err(|source| StartError::Connection { setting, source })
        };
        let alone = |role: &'static str, setting, config: &Option<ConnectionConfig>| {
            start(&Service::new(role), role, setting, config)
        };
        let messaging = "HONO_MESSAGING_HOST";
        let network = Service::new("Messaging network");
        let uplinks = |role| {
            (0..instances)
                .map(|_| start(&network, role, messaging, &config.messaging))
                .collect::<Result<Vec<_>, _>>()
        };
        // Commands usually come from the same router.
        let commands = match (&config.messaging, &config.command) {
            (Some(one), Some(other)) if (&one.host, one.port) == (&other.host, other.port) => {
                network.clone()
            }
            _ => Service::new("Command & Control"),
        };
        let sensitive = config.credentials.clone().map(|mut credentials| {
            credentials.sensitive = true;
            credentials
        });
        Ok(Self {
            telemetry: uplinks("Downstream")?,
            event: uplinks("Downstream")?,
            response: start(&network, "Command Response", messaging, &config.messaging)?,
            command: start(
                &commands,
                "Command & Control",
                "HONO_COMMAND_HOST",
                &config.command,
            )?,
            notification: start(&network, "Notification", messaging, &config.messaging)?,
            tenant: alone("Tenant", "HONO_TENANT_HOST", &config.tenant)?,
            registration: alone(
                "Device Registration",
                "HONO_REGISTRATION_HOST",
                &config.registration,
            )?,
            credentials: alone("Credentials", "HONO_CREDENTIALS_HOST", &sensitive)?,
            router: alone(
                "Command Router",
                "HONO_COMMANDROUTER_HOST",
                &config.command_router,
            )?,
            metrics: Metrics::bounded(
                &host_name(std::env::var("HOSTNAME").ok()),
                config.memory.bound(Table::Tenants),
            ),
            limits: MessageLimits::start(config.resource_limits.as_ref()).map_err(|source| {
                StartError::Connection {
                    setting: PROMETHEUS,
                    source,
                }
            })?,
        })
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.by_name()
            .into_iter()
            .flat_map(|(_, connections)| connections)
            .collect()
    }

    /// All connections, by what metrics call them.
    pub(super) fn by_name(&self) -> Vec<(&'static str, Vec<Connection>)> {
        let one = |connection: &Connection| vec![connection.clone()];
        vec![
            ("telemetry", self.telemetry.clone()),
            ("event", self.event.clone()),
            ("command_response", one(&self.response)),
            ("command", one(&self.command)),
            ("notification", one(&self.notification)),
            ("tenant", one(&self.tenant)),
            ("registration", one(&self.registration)),
            ("credentials", one(&self.credentials)),
            ("cmd_router", one(&self.router)),
        ]
    }

    /// The files by which connections trust and are trusted.
    pub(super) fn sources(&self) -> Vec<Source> {
        let source = |connection: Connection| {
            let files = connection.connector().files();
            Source::new(Reloaded::ServiceTls, files, move || {
                Ok(connection.connector().reload()?)
            })
        };
        let with_files = |connection: &Connection| !connection.connector().files().is_empty();
        let connections = self.connections().into_iter().filter(with_files);
        connections.map(source).collect()
    }

    pub(super) fn commands(&self, stop: &Stop) -> Arc<Commands> {
        let router = CommandRouterClient::new(self.router.clone())
            .observed_by(self.deliveries(Link::CommandRouter));
        let instance = format!("HonoCoAPAdapter-{}", Uuid::new_v4());
        Arc::new(Commands::new(
            router,
            instance.into(),
            self.metrics.clone(),
            stop.drain.clone(),
        ))
    }

    pub(super) fn registry(&self, config: &Config) -> Caches {
        let tenants = TenantClient::new(self.tenant.clone(), config.tenant_cache)
            .observed_by(self.deliveries(Link::Tenant));
        let registrations =
            RegistrationClient::new(self.registration.clone(), config.registration_cache)
                .observed_by(self.deliveries(Link::Registration));
        let credentials =
            CredentialsClient::new(self.credentials.clone(), config.credentials_cache)
                .observed_by(self.deliveries(Link::Credentials));
        Caches {
            tenants: Arc::new(tenants),
            registrations: Arc::new(registrations),
            credentials: Arc::new(credentials),
        }
    }

    /// Counts what becomes of requests to a service.
    fn deliveries(
        &self,
        link: Link,
    ) -> impl Fn(&str, Result<&Outcome, &SendError>, Duration) + Send + Sync + 'static {
        let metrics = self.metrics.clone();
        move |tenant, result, duration| metrics.sent(link, tenant, result, duration)
    }

    pub(super) fn pipeline(
        &self,
        config: &Config,
        registry: &Caches,
        commands: Arc<Commands>,
        budgets: Arc<Budgets>,
        observer: Observer,
    ) -> Pipeline {
        let settings = Settings {
            defaults: if config.coap.defaults_enabled {
                Defaulting::Enabled
            } else {
                Defaulting::Disabled
            },
            jms_vendor_properties: if config.coap.jms_vendor_props_enabled {
                JmsVendorProperties::Sent
            } else {
                JmsVendorProperties::Omitted
            },
            trace_format: if config.legacy_trace_context {
                TraceFormat::Annotation
            } else {
                TraceFormat::ApplicationProperty
            },
            sampler: config
                .tracing
                .endpoint
                .as_ref()
                .map(|_| config.tracing.sampler),
        };
        let stamps = || Stamps::new(Uuid::new_v4().simple().to_string());
        Pipeline {
            tenants: Arc::clone(&registry.tenants),
            registrations: Arc::clone(&registry.registrations),
            observer,
            limits: self.limits.clone(),
            budgets,
            admission: Arc::new(AdmissionControl::new(AdmissionLimits {
                requests: config.memory.bound(Table::Requests),
                bytes: config.memory.bound(Table::RequestBytes),
                waiting: config.memory.bound(Table::Parked),
                reserve: match config.coap.secure {
                    Some(_) => Reserve::Quarter,
                    None => Reserve::Nothing,
                },
            })),
            commands,
            uplink: Uplink::new(
                self.telemetry.clone(),
                self.event.clone(),
                settings,
                stamps(),
                self.metrics.clone(),
            ),
            order: Arc::new(TransferOrder::new(self.metrics.clone())),
            responder: Responder::new(
                self.response.clone(),
                settings,
                stamps(),
                self.metrics.clone(),
            ),
            timeout_to_ack: config.coap.timeout_to_ack,
        }
    }
}

/// How many connections there are for telemetry, and as many for events: `hono.app.maxInstances`, one for each processor if that is
/// 0, as far as each has a sensible part of the memory for outgoing bytes.
fn instances(config: &Config) -> usize {
    let wanted = match config.max_instances {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        written => written,
    };
    let room = config.memory.bound(Table::OutgoingBytes) / MIN_OUTGOING;
    wanted
        .min(room.saturating_sub(OTHER_CONNECTIONS) / 2)
        .max(1)
}

/// What each connection may keep.
struct Bounds {
    outgoing: usize,
    incoming: usize,
    unsettled: usize,
}

impl Bounds {
    fn new(config: &Config, instances: usize) -> Self {
        let connections = OTHER_CONNECTIONS + 2 * instances;
        let outgoing = config.memory.bound(Table::OutgoingBytes) / connections;
        let requests = config.memory.bound(Table::Requests);
        Self {
            outgoing,
            incoming: outgoing.saturating_mul(4).clamp(MIN_INCOMING, MAX_INCOMING),
            // Requests wait for one outcome each; what is not confirmable waits for its outcome without a request.
            unsettled: requests
                .saturating_mul(4)
                .clamp(MIN_UNSETTLED, MAX_UNSETTLED),
        }
    }

    fn apply(&self, mut config: ConnectionConfig) -> ConnectionConfig {
        config.max_outgoing = self.outgoing;
        config.max_incoming = self.incoming;
        config.max_unsettled = self.unsettled;
        config
    }
}

/// Connections beside those for telemetry and events.
const OTHER_CONNECTIONS: usize = 7;
/// Bytes that a connection may keep for a slow peer at least.
const MIN_OUTGOING: usize = 64 * 1024;
/// Bytes of messages that a connection takes at least, so that every answer of a service fits.
const MIN_INCOMING: usize = 1 << 20;
const MAX_INCOMING: usize = 16 << 20;
const MIN_UNSETTLED: usize = 1_024;
const MAX_UNSETTLED: usize = 1_000_000;

const PROMETHEUS: &str = "HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST";

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: `hono.app.maxInstances` changed nothing, and all messages shared two connections.
    #[test]
    fn max_instances_sets_the_number_of_connections_for_telemetry() {
        let mut config = Config::default();
        for written in [1, 2, 3] {
            config.max_instances = written;
            assert_eq!(instances(&config), written);
        }
        config.max_instances = 0;
        assert!(instances(&config) >= 1, "one for each processor");
        config.max_instances = 1 << 20;
        assert!(instances(&config) < 1 << 20, "as far as there is memory");
    }
}

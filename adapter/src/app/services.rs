//! The connections to all services, and what speaks over them (spec: amqp-messages §8).

use std::sync::Arc;
use std::time::Duration;

use downstream::{Connection, ConnectionConfig, Outcome, SendError};
use registry_client::notifications::Caches;
use registry_client::{CommandRouterClient, CredentialsClient, RegistrationClient, TenantClient};
use uuid::Uuid;

use super::StartError;
use super::reload::Source;
use crate::command::consumer::Commands;
use crate::command::response::Responder;
use crate::config::{Config, Table};
use crate::monitoring::metrics::{Link, Metrics, Reloaded, host_name};
use crate::monitoring::observer::Observer;
use crate::pipeline::Pipeline;
use crate::serve::{AdmissionControl, AdmissionLimits, Reserve, Stop};
use crate::tenant::budget::Budgets;
use crate::tenant::usage::MessageLimits;
use crate::upload::Uplink;
use crate::upload::order::TransferOrder;
use crate::upload::message::{Defaulting, JmsVendorProperties, Settings, Stamps, TraceFormat};

/// The connections to all services.
pub(super) struct Services {
    telemetry: Connection,
    event: Connection,
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
        let outgoing = config.memory.bound(Table::OutgoingBytes) / CONNECTIONS;
        let start = |role, setting, config: &Option<ConnectionConfig>| {
            let mut config = config.clone().ok_or(StartError::Missing(setting))?;
            config.max_outgoing = outgoing;
            Connection::start(role, config)
                .map_err(|source| StartError::Connection { setting, source })
        };
        let messaging = "HONO_MESSAGING_HOST";
        Ok(Self {
            telemetry: start("Downstream", messaging, &config.messaging)?,
            event: start("Downstream", messaging, &config.messaging)?,
            response: start("Command Response", messaging, &config.messaging)?,
            command: start("Command & Control", "HONO_COMMAND_HOST", &config.command)?,
            notification: start("Notification", messaging, &config.messaging)?,
            tenant: start("Tenant", "HONO_TENANT_HOST", &config.tenant)?,
            registration: start(
                "Device Registration",
                "HONO_REGISTRATION_HOST",
                &config.registration,
            )?,
            credentials: start("Credentials", "HONO_CREDENTIALS_HOST", &config.credentials)?,
            router: start(
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
        let messaging = [&self.telemetry, &self.event, &self.response, &self.command];
        let registry = [
            &self.notification,
            &self.tenant,
            &self.registration,
            &self.credentials,
        ];
        let all = messaging.into_iter().chain(registry).chain([&self.router]);
        all.cloned().collect()
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

/// How many there are, which share what may wait to be written.
const CONNECTIONS: usize = 9;

const PROMETHEUS: &str = "HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST";

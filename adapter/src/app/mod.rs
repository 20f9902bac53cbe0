//! The composition root: builds all parts from a configuration, owns their tasks, and ends them in order.

pub mod preflight;
pub mod reload;
mod checks;
mod gauges;
mod idle;
mod ports;
mod sessions;
mod services;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amqp_client::Connection;
use registry_client::Notifications;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use self::checks::{CommandConsumerCheck, ConnectionCheck, DeploymentCheck};
use self::ports::Starter;
use self::reload::Reload;
use self::services::Services;
pub use self::sessions::KeyError;
use crate::command::consumer::ConsumerState;
use crate::config::{BindAddress, Config};
use crate::diagnostics::observer::{Observer, RefusedDevice};
use crate::diagnostics::recent::Recent;
use crate::monitoring::health::{self, Check, Health, Probes};
use crate::monitoring::operator;
use crate::serve::Stop;
use crate::tenant::budget::Budgets;

/// A running adapter. Dropping it cuts everything off; [`App::stop`] finishes requests in progress.
#[derive(Debug)]
#[must_use = "the adapter ends when it is dropped"]
pub struct App {
    coaps: Option<SocketAddr>,
    coap: Option<SocketAddr>,
    health: Health,
    operator: Option<Health>,
    connections: Vec<Connection>,
    commands: Arc<ConsumerState>,
    requests: TaskTracker,
    /// Ports, and what goes on as long as they do.
    ports: TaskTracker,
    stop: Stop,
    drain_timeout: Duration,
    reload: Reload,
    _notifications: Notifications,
    /// Halts what is left when the adapter is dropped.
    _halt: DropGuard,
}

impl App {
    /// Binds all ports and starts to connect to the services; these may come up later.
    ///
    /// # Errors
    /// [`StartError`]: a setting is missing or unusable, or a port cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_watched(config, None).await
    }

    /// As [`App::start`], and tells `refusals` of each device that is not served.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_watched(
        config: Config,
        refusals: Option<mpsc::Sender<RefusedDevice>>,
    ) -> Result<Self, StartError> {
        let services = Services::connect(&config)?;
        let connections = services.connections();
        let (requests, ports, stop) = (TaskTracker::new(), TaskTracker::new(), Stop::default());
        let registry = services.registry(&config);
        let tenants = Arc::downgrade(&registry.tenants);
        services.metrics.only_known_tenants(move |tenant| {
            let tenants = tenants.upgrade();
            tenants.is_some_and(|tenants| tenants.is_known(tenant))
        });
        let notifications = Notifications::start(&services.notification, &registry);
        let commands = services.commands(&stop);
        let attached = Arc::new(ConsumerState::default());
        let budgets = Arc::new(Budgets::new(&config.budget, services.metrics.clone()));
        let operator = config.coap.operator.clone();
        let recent = operator
            .as_ref()
            .map(|operator| Arc::new(Recent::new(operator.devices)));
        let observer =
            Observer::new(services.metrics.clone(), recent.clone()).with_refusals(refusals);
        let pipeline =
            services.pipeline(&config, &registry, Arc::clone(&commands), budgets, observer);
        let pipeline = Arc::new(pipeline);
        gauges::watch(
            &pipeline,
            services.by_name(),
            &requests,
            &registry,
            recent.as_ref(),
            &config.memory,
        );
        let mut starter = Starter {
            config: &config,
            pipeline: Arc::clone(&pipeline),
            requests: &requests,
            ports: &ports,
            stop: &stop,
            notifications: &notifications,
            liveness: Vec::new(),
            pulses: Vec::new(),
            sources: services.sources(),
        };
        let coaps = match &config.coap.secure {
            Some(endpoint) => Some(starter.coaps(endpoint, &registry)?),
            None => None,
        };
        let coap = match &config.coap.insecure {
            Some(endpoint) => Some(starter.plain(endpoint)?),
            None => None,
        };
        let metrics = services.metrics.clone();
        if let Some(timeout) = config.coap.tenant_idle_timeout {
            let forgetting = idle::forget(pipeline, timeout);
            ports.spawn(stop.halt.clone().run_until_cancelled_owned(forgetting));
        }
        let deployment = starter.deployment(&stop);
        let (reload, reloading) =
            Reload::new(starter.sources, config.reload_interval, metrics.clone());
        ports.spawn(stop.halt.clone().run_until_cancelled_owned(reloading));
        let probes = Probes::new(
            readiness(&connections, &attached, deployment),
            starter.liveness,
        )
        .with_metrics(move || metrics.render());
        let health = health::serve(&config.health, probes).await?;
        gauges::watch_http(&services.metrics, "health", &health);
        let operator = match operator.zip(recent) {
            Some((operator, recent)) => {
                Some(operator::serve(operator.address, operator.token, recent).await?)
            }
            None => None,
        };
        if let Some(operator) = &operator {
            gauges::watch_http(&services.metrics, "operator", operator);
        }
        let credit = config
            .command
            .as_ref()
            .map_or(0, |command| command.initial_credits);
        let (routed, state) = (Arc::clone(&commands), Arc::clone(&attached));
        let background = async move {
            tokio::join!(
                commands.keep_routing(),
                routed.receive(services.command, credit, state)
            );
        };
        ports.spawn(stop.halt.clone().run_until_cancelled_owned(background));
        let operator_address = operator.as_ref().map(Health::address);
        tracing::info!(
            coaps = coaps.map(display),
            coap = coap.map(display),
            health = %health.address(),
            operator = operator_address.map(display),
            "the adapter is up"
        );
        let halt = stop.halt.clone().drop_guard();
        Ok(Self {
            coaps,
            coap,
            health,
            operator,
            connections,
            commands: attached,
            requests,
            ports,
            stop,
            drain_timeout: config.sessions.drain_timeout,
            reload,
            _notifications: notifications,
            _halt: halt,
        })
    }

    /// Where CoAP over DTLS is served.
    #[must_use]
    pub const fn coaps_address(&self) -> Option<SocketAddr> {
        self.coaps
    }

    /// Where CoAP without security is served.
    #[must_use]
    pub const fn coap_address(&self) -> Option<SocketAddr> {
        self.coap
    }

    /// Where health checks are served.
    #[must_use]
    pub const fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Where operators ask what happened to devices.
    #[must_use]
    pub fn operator_address(&self) -> Option<SocketAddr> {
        self.operator.as_ref().map(Health::address)
    }

    /// Whether all services can be reached, and commands can come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.stop.drain.is_cancelled()
            && self.commands.is_attached()
            && self.connections.iter().all(Connection::is_connected)
    }

    /// What looks at files that may change.
    #[must_use]
    pub const fn reload(&self) -> &Reload {
        &self.reload
    }

    /// Is not ready any more, lets nobody new in, refuses new requests, lets those that wait for commands go, and finishes what is in
    /// the works as far as it takes no longer than configured. Then it keeps the DTLS sessions if it is to, and closes everything.
    pub async fn stop(self) {
        self.stop.drain.cancel();
        self.requests.close();
        if timeout(self.drain_timeout, self.requests.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                requests = self.requests.len(),
                "aborting requests that exceed the drain timeout"
            );
        }
        self.stop.halt.cancel();
        self.ports.close();
        self.ports.wait().await;
        for connection in &self.connections {
            connection.close().await;
        }
        if let Some(operator) = self.operator {
            operator.stop().await;
        }
        self.health.stop().await;
    }
}

fn readiness(
    connections: &[Connection],
    commands: &Arc<ConsumerState>,
    deployment: DeploymentCheck,
) -> Vec<Arc<dyn Check>> {
    let connections = connections
        .iter()
        .map(|it| Arc::new(ConnectionCheck(it.clone())) as Arc<dyn Check>);
    let commands: Arc<dyn Check> = Arc::new(CommandConsumerCheck(Arc::clone(commands)));
    let deployment: Arc<dyn Check> = Arc::new(deployment);
    [deployment]
        .into_iter()
        .chain(connections)
        .chain([commands])
        .collect()
}

/// Why the adapter did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something must be configured and is not.
    #[error("{0} must be set: there is no default for where a service is")]
    Missing(&'static str),
    /// A connection's settings cannot be used, for instance a certificate that cannot be read.
    #[error("the settings that belong to {setting} cannot be used")]
    Connection {
        /// The setting that makes the connection wanted.
        setting: &'static str,
        /// What is wrong.
        source: amqp_client::ConfigError,
    },
    /// Somebody else has the port.
    #[error("{address} (UDP) is in use")]
    PortBusy {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// There is no such network interface.
    #[error(
        "cannot bind {address} (UDP): there is no interface with the name or number behind `%`"
    )]
    NoInterface {
        /// The address, with its zone.
        address: BindAddress,
        /// What the system says.
        source: io::Error,
    },
    /// The address is none of this machine, or needs rights that the process has not.
    #[error("cannot bind {address} (UDP)")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The server's certificate or key cannot be read or used.
    #[error("the server's certificate or key cannot be used: {}", path.display())]
    Identity {
        /// The file, or that of the certificate.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file with keys of sessions cannot be used.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// Sessions cannot be kept where they should.
    #[error("sessions cannot be kept")]
    Sessions(#[from] dtls_server::StoreError),
    /// The health server did not start.
    #[error(transparent)]
    Health(#[from] health::ServeError),
    /// The operating system gives no random numbers.
    #[error("no source of random numbers")]
    Random,
}

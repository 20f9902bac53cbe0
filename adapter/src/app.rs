//! The composition root: builds all parts from a configuration, owns their tasks, and ends them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coap_proto::Endpoint;
use downstream::{Connection, ConnectionConfig};
use dtls_server::{Listener, UdpSocket};
use registry_client::{CommandRouterClient, CredentialsClient, RegistrationClient, TenantClient};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::authn::PskStore;
use crate::command::consumer::{Commands, ConsumerState};
use crate::command::response::Responder;
use crate::config::{CoapConfig, Config};
use crate::monitoring::checks::{CommandConsumerCheck, ConnectionCheck, PulseCheck};
use crate::monitoring::health::{self, Check, Health, Probes};
use crate::pipeline::Pipeline;
use crate::serve::{Plain, Port, Stop, Transport};
use crate::upload::Uplink;
use crate::upload::message::{Defaulting, JmsVendorProperties, Settings, Stamps};

/// A running adapter. Dropping it cuts everything off; [`App::stop`] finishes what is in the works.
#[derive(Debug)]
#[must_use = "the adapter ends when it is dropped"]
pub struct App {
    coaps: Option<SocketAddr>,
    coap: Option<SocketAddr>,
    health: Health,
    connections: Vec<Connection>,
    commands: Arc<ConsumerState>,
    requests: TaskTracker,
    ports: TaskTracker,
    stop: Stop,
    /// Halts what is left when the adapter is dropped.
    _halt: DropGuard,
}

impl App {
    /// Binds all ports and starts to connect to the services; these may come up later.
    ///
    /// # Errors
    /// [`StartError`]: a setting is missing or unusable, or a port cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let services = Services::connect(&config)?;
        let connections = services.connections();
        let (requests, ports, stop) = (TaskTracker::new(), TaskTracker::new(), Stop::default());
        let commands = services.commands(&stop);
        let attached = Arc::new(ConsumerState::default());
        let pipeline = Arc::new(services.pipeline(&config, Arc::clone(&commands)));
        let mut starter = Starter {
            config: &config,
            pipeline,
            requests: &requests,
            ports: &ports,
            stop: &stop,
            liveness: Vec::new(),
        };
        let coaps = match config.coap.secure {
            Some(address) => Some(starter.coaps(address, &services)?),
            None => None,
        };
        let coap = match config.coap.insecure {
            Some(address) => Some(starter.plain(address)?),
            None => None,
        };
        let liveness = starter.liveness;
        let probes = Probes::new(readiness(&connections, &attached), liveness);
        let health = health::serve(&config.health, probes).await?;
        let credit = config
            .command
            .as_ref()
            .map_or(0, |command| command.initial_credits);
        let receiving = commands.receive(services.command, credit, Arc::clone(&attached));
        ports.spawn(stop.halt.clone().run_until_cancelled_owned(receiving));
        tracing::info!(?coaps, ?coap, health = %health.address(), "the adapter is up");
        let halt = stop.halt.clone().drop_guard();
        Ok(Self {
            coaps,
            coap,
            health,
            connections,
            commands: attached,
            requests,
            ports,
            stop,
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

    /// Whether all services can be reached, and commands can come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.commands.is_attached() && self.connections.iter().all(Connection::is_connected)
    }

    /// Refuses new requests, lets those that wait for commands go, finishes what is in the works as far as it takes no more than
    /// some seconds, and closes everything.
    pub async fn stop(self) {
        self.stop.drain.cancel();
        self.requests.close();
        if timeout(DRAIN, self.requests.wait()).await.is_err() {
            tracing::warn!(
                requests = self.requests.len(),
                "requests are cut off: they take too long"
            );
        }
        self.stop.halt.cancel();
        self.ports.close();
        self.ports.wait().await;
        for connection in &self.connections {
            connection.close().await;
        }
        self.health.stop().await;
    }
}

fn readiness(connections: &[Connection], commands: &Arc<ConsumerState>) -> Vec<Arc<dyn Check>> {
    let connections = connections
        .iter()
        .map(|it| Arc::new(ConnectionCheck(it.clone())) as Arc<dyn Check>);
    let commands: Arc<dyn Check> = Arc::new(CommandConsumerCheck(Arc::clone(commands)));
    connections.chain([commands]).collect()
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
        source: downstream::ConfigError,
    },
    /// Somebody else has the port.
    #[error("{address} (UDP) is in use")]
    PortBusy {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The address is none of this machine, or needs rights that the process has not.
    #[error("cannot bind {address} (UDP)")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The health server did not start.
    #[error(transparent)]
    Health(#[from] health::ServeError),
    /// The operating system gives no random numbers.
    #[error("no source of random numbers")]
    Random,
}

/// The connections to all services.
struct Services {
    telemetry: Connection,
    event: Connection,
    response: Connection,
    command: Connection,
    tenant: Connection,
    registration: Connection,
    credentials: Connection,
    router: Connection,
}

impl Services {
    fn connect(config: &Config) -> Result<Self, StartError> {
        let start = |role, setting, config: &Option<ConnectionConfig>| {
            let config = config.clone().ok_or(StartError::Missing(setting))?;
            Connection::start(role, config)
                .map_err(|source| StartError::Connection { setting, source })
        };
        let messaging = "HONO_MESSAGING_HOST";
        Ok(Self {
            telemetry: start("Downstream", messaging, &config.messaging)?,
            event: start("Downstream", messaging, &config.messaging)?,
            response: start("Command Response", messaging, &config.messaging)?,
            command: start("Command & Control", "HONO_COMMAND_HOST", &config.command)?,
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
        })
    }

    fn connections(&self) -> Vec<Connection> {
        let messaging = [&self.telemetry, &self.event, &self.response, &self.command];
        let services = [
            &self.tenant,
            &self.registration,
            &self.credentials,
            &self.router,
        ];
        messaging.into_iter().chain(services).cloned().collect()
    }

    fn commands(&self, stop: &Stop) -> Arc<Commands> {
        let router = CommandRouterClient::new(self.router.clone());
        let instance = format!("HonoCoAPAdapter-{}", Uuid::new_v4());
        Arc::new(Commands::new(router, instance.into(), stop.drain.clone()))
    }

    fn pipeline(&self, config: &Config, commands: Arc<Commands>) -> Pipeline {
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
        };
        let stamps = || Stamps::new(Uuid::new_v4().simple().to_string());
        Pipeline {
            tenants: TenantClient::new(self.tenant.clone(), config.tenant_cache),
            registrations: RegistrationClient::new(
                self.registration.clone(),
                config.registration_cache,
            ),
            commands,
            uplink: Uplink::new(
                self.telemetry.clone(),
                self.event.clone(),
                settings,
                stamps(),
            ),
            responder: Responder::new(self.response.clone(), settings, stamps()),
            timeout_to_ack: config.coap.timeout_to_ack,
        }
    }

    fn credentials(&self, config: &Config) -> CredentialsClient {
        CredentialsClient::new(self.credentials.clone(), config.credentials_cache)
    }
}

/// Starts ports.
struct Starter<'a> {
    config: &'a Config,
    pipeline: Arc<Pipeline>,
    requests: &'a TaskTracker,
    ports: &'a TaskTracker,
    stop: &'a Stop,
    liveness: Vec<Arc<dyn Check>>,
}

impl Starter<'_> {
    fn coaps(
        &mut self,
        address: SocketAddr,
        services: &Services,
    ) -> Result<SocketAddr, StartError> {
        let socket = bind(address)?;
        let address = local(&socket, address)?;
        let split = self.config.coap.id_split_regex.clone();
        let keys = Arc::new(PskStore::new(services.credentials(self.config), split));
        self.run(
            "coaps",
            Listener::new(socket, dtls_config(&self.config.coap), random_seed()?, keys),
        )?;
        Ok(address)
    }

    fn plain(&mut self, address: SocketAddr) -> Result<SocketAddr, StartError> {
        let socket = bind(address)?;
        let address = local(&socket, address)?;
        self.run("coap", Plain::new(socket))?;
        Ok(address)
    }

    fn run<T: Transport>(&mut self, name: &'static str, transport: T) -> Result<(), StartError> {
        let [a, b, c, d, e, f, g, h, ..] = random_seed()?;
        let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let endpoint = Endpoint::new(coap_config(&self.config.coap), seed);
        let port = Port::new(
            transport,
            endpoint,
            Arc::clone(&self.pipeline),
            self.requests.clone(),
            self.stop.clone(),
        );
        let tolerance = self.config.coap.blocked_check_timeout;
        self.liveness.push(Arc::new(PulseCheck {
            name,
            pulse: port.pulse(),
            tolerance,
        }));
        self.ports.spawn(async move {
            if let Err(error) = port.run().await {
                tracing::error!(%error, "{name} is not served any more: its socket failed");
            }
        });
        Ok(())
    }
}

fn bind(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortBusy { address },
        _ => StartError::Bind { address, source },
    })
}

fn local(socket: &UdpSocket, address: SocketAddr) -> Result<SocketAddr, StartError> {
    socket
        .local_address()
        .map_err(|source| StartError::Bind { address, source })
}

fn dtls_config(config: &CoapConfig) -> dtls_server::Config {
    let mut dtls = dtls_server::Config::default();
    dtls.retransmission_timeout = config.dtls_retransmission_timeout;
    dtls.max_associations = config.max_connections;
    dtls
}

fn coap_config(config: &CoapConfig) -> coap_proto::Config {
    coap_proto::Config {
        exchange_lifetime: config.exchange_lifetime,
        max_body: config.max_payload_size,
        ..coap_proto::Config::default()
    }
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| StartError::Random)?;
    Ok(seed)
}

/// How long requests in the works may take to finish.
const DRAIN: Duration = Duration::from_secs(5);

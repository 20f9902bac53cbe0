//! The world around the adapter in one process: an AMQP 1.0 network, a device registry, a business application and a device.
//!
//! ```text
//! device <──CoAP/DTLS──> (the adapter) <──AMQP──> amqp_peer <──AMQP──> northbound application
//!                              │                      │
//!                              │                      ├─> command_router
//!                              └───────AMQP───────────┴─> registry <- world <─ management (HTTP)
//! ```
//!
//! [`Sandbox::start`] brings up the AMQP network with the services of the registry and of the command router on one port of this
//! machine; any AMQP 1.0 client can attach to it. It never depends on the adapter: who wants both starts both.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sandbox::{Sandbox, SandboxConfig, northbound::{Application, Behaviour}};
//!
//! let sandbox = Sandbox::start(SandboxConfig::default()).await?;
//! let mut application = Application::attach(sandbox.amqp_address(), "DEFAULT_TENANT", &[], Behaviour::Accept).await?;
//! // ... something sends to telemetry/DEFAULT_TENANT ...
//! let received = application.receive(std::time::Duration::from_secs(1)).await;
//! # Ok(()) }
//! ```

pub mod world;
mod amqp;
mod amqp_peer;
mod command_router;
mod registry;
mod store;
mod fault;
pub mod services;
pub mod management;
pub mod northbound;
pub mod scene;
mod shown;
mod error;
mod variables;

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

pub use coap_client as device;

pub use self::amqp_peer::CredentialsHold;
use self::{
    amqp_peer::Peer,
    management::{Management, ManagementConfig},
    services::Services,
    store::Store,
    world::{SharedWorld, World},
};
pub use self::{error::Error, store::StoreError, variables::variables};

/// What a sandbox starts with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SandboxConfig {
    /// Where the AMQP network listens; port 0 takes any free one.
    pub amqp: SocketAddr,
    /// Who exists at the start.
    pub world: World,
    /// The device registry's management API, if there shall be one.
    pub management: Option<ManagementConfig>,
    /// The `SQLite` file that keeps tenants, devices and credentials, if they shall outlive the sandbox. Once there is one, it counts
    /// and `world` does not.
    pub data: Option<PathBuf>,
    /// How many messages a sender of telemetry, events, responses or commands may have on their way, each link of its own. At the start it is
    /// 250, as Qpid Dispatch Router has it (`linkCapacity`).
    pub link_credit: u32,
}

impl SandboxConfig {
    /// A sandbox on `amqp` with `world`.
    #[must_use]
    pub const fn new(amqp: SocketAddr, world: World) -> Self {
        Self {
            amqp,
            world,
            management: None,
            data: None,
            link_credit: 250,
        }
    }
}

/// Any free port of the loopback interface, and the built-in world.
impl Default for SandboxConfig {
    fn default() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), World::default())
    }
}

/// A running AMQP network with its registry and command router. Dropping it ends it without farewell; [`Sandbox::stop`] says goodbye.
#[must_use = "the sandbox ends when it is dropped"]
pub struct Sandbox {
    peer: Peer,
    management: Option<Management>,
    world: SharedWorld,
    services: Services,
}

impl Sandbox {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`Error::PortBusy`] if somebody else has the port, [`Error::Listen`] if the address cannot be listened on, [`Error::Data`] if
    /// the file cannot be used.
    pub async fn start(config: SandboxConfig) -> Result<Self, Error> {
        let world = match config.data {
            None => SharedWorld::new(config.world),
            Some(path) => {
                let (store, world) = Store::open(&path, config.world)
                    .map_err(|source| Error::Data { path, source })?;
                SharedWorld::kept(world, store)
            }
        };
        let services = Services::default();
        let peer = Peer::start(
            config.amqp,
            world.clone(),
            services.clone(),
            config.link_credit,
        )
        .await
        .map_err(|source| cannot_listen(config.amqp, source))?;
        let management = match config.management {
            None => None,
            Some(config) => {
                let address = config.address;
                let started = Management::start(config, world.clone()).await;
                Some(started.map_err(|source| cannot_listen(address, source))?)
            }
        };
        Ok(Self {
            peer,
            management,
            world,
            services,
        })
    }

    /// Where AMQP clients connect to, with the real port.
    #[must_use]
    pub const fn amqp_address(&self) -> SocketAddr {
        self.peer.address()
    }

    /// Where the management API listens, with the real port.
    #[must_use]
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management.as_ref().map(Management::address)
    }

    /// The handle by which tenants and devices are changed.
    #[must_use]
    pub fn world(&self) -> SharedWorld {
        self.world.clone()
    }

    /// Makes the registry slow: questions for the credentials with this auth-id, of whatever tenant, are not answered before the hold
    /// is dropped.
    pub fn hold_credentials(&self, auth_id: impl Into<String>) -> CredentialsHold {
        self.peer.hold_credentials(auth_id.into())
    }

    /// The handle by which the registry and the command router are watched and disturbed.
    #[must_use]
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// Closes all connections, tells the clients so, and frees the port.
    pub async fn stop(self) {
        if let Some(management) = self.management {
            management.stop().await;
        }
        self.peer.stop().await;
    }
}

fn cannot_listen(address: SocketAddr, source: io::Error) -> Error {
    match source.kind() {
        ErrorKind::AddrInUse => Error::PortBusy { address },
        _ => Error::Listen { address, source },
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sandbox")
            .field("amqp", &self.peer.address())
            .finish_non_exhaustive()
    }
}

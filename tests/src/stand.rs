//! A sandbox and the adapter against it, in this process, on free ports of this machine.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use adapter::{app::App, config::Config};
use sandbox::{Sandbox, SandboxConfig, world::World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Everything that a device and an application need to meet.
#[derive(Debug)]
pub struct Stand {
    amqp: SocketAddr,
    /// None while it is cut.
    sandbox: Option<Sandbox>,
    world: World,
    app: App,
}

/// Why there is no stand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sandbox does not start.
    #[error("the sandbox does not start: {0}")]
    Sandbox(#[from] sandbox::Error),
    /// The settings are no settings.
    #[error("the settings are wrong: {0}")]
    Settings(String),
    /// The adapter does not start.
    #[error("the adapter does not start: {0}")]
    Adapter(#[from] adapter::app::StartError),
    /// The adapter has started and does not get ready.
    #[error("the adapter is not ready after {0:?}")]
    NotReady(Duration),
}

impl Stand {
    /// Starts a sandbox with `world` and an adapter with these settings over the usual ones, and waits until it is ready.
    ///
    /// # Errors
    /// If one of them does not start, or the adapter does not get ready.
    pub async fn start(world: World, settings: &[(&str, &str)]) -> Result<Self, Error> {
        Self::start_with(SandboxConfig::new(anywhere(), world), settings).await
    }

    /// As [`Stand::start`], with a sandbox that is configured otherwise.
    ///
    /// # Errors
    /// As [`Stand::start`].
    pub async fn start_with(
        sandbox: SandboxConfig,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let world = sandbox.world.clone();
        let sandbox = Sandbox::start(sandbox).await?;
        let amqp = sandbox.amqp_address();
        let app = Box::pin(App::start(config(amqp, settings)?)).await?;
        let stand = Self {
            amqp,
            sandbox: Some(sandbox),
            world,
            app,
        };
        stand.wait_until_ready().await?;
        Ok(stand)
    }

    /// The port for DTLS.
    ///
    /// # Panics
    /// If the settings have none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "who asks has set it")]
    pub fn coaps(&self) -> SocketAddr {
        self.app.coaps_address().expect("the secure port is on")
    }

    /// The port without security.
    ///
    /// # Panics
    /// If the settings have none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "who asks has set it")]
    pub fn coap(&self) -> SocketAddr {
        self.app.coap_address().expect("the insecure port is on")
    }

    /// The AMQP network.
    #[must_use]
    pub const fn amqp(&self) -> SocketAddr {
        self.amqp
    }

    /// The sandbox itself.
    ///
    /// # Panics
    /// While the network is cut.
    #[expect(clippy::expect_used, reason = "who asks has not cut it")]
    pub const fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().expect("the network is up")
    }

    /// Takes the AMQP network and the registry away from everybody.
    pub async fn cut_network(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }

    /// Brings the network back to the same port, with the world it had at the start.
    ///
    /// # Errors
    /// If the port is taken meanwhile.
    pub async fn restore_network(&mut self) -> Result<(), Error> {
        let config = SandboxConfig::new(self.amqp, self.world.clone());
        self.sandbox = Some(Sandbox::start(config).await?);
        Ok(())
    }

    /// The adapter itself.
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Waits until the adapter's readiness check is good.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn wait_until_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if matches!(
                status(self.app.health_address(), "/readiness").await,
                Ok(200)
            ) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(Error::NotReady(READY_WITHIN))
    }

    /// Ends the adapter, then the sandbox.
    pub async fn stop(self) {
        if let Some(sandbox) = self.stop_adapter().await {
            sandbox.stop().await;
        }
    }

    /// Ends the adapter, and leaves the sandbox as it is; none while the network is cut.
    pub async fn stop_adapter(self) -> Option<Sandbox> {
        self.app.stop().await;
        self.sandbox
    }
}

/// Any free port of this machine.
#[must_use]
pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Free ports for devices and health checks, all services at `amqp`, and these settings by their variables' names.
///
/// # Errors
/// [`Error::Settings`] with every mistake in the settings.
pub fn config(amqp: SocketAddr, settings: &[(&str, &str)]) -> Result<Config, Error> {
    let usual = [
        ("HONO_COAP_PORT", "0"),
        ("HONO_COAP_INSECUREPORT", "0"),
        ("HONO_COAP_AUTHENTICATIONREQUIRED", "false"),
        ("HONO_MESSAGING_SENDMESSAGETIMEOUT", "5000"),
        ("QUARKUS_HTTP_HOST", "127.0.0.1"),
        ("QUARKUS_HTTP_PORT", "0"),
    ];
    // A busy machine is late; what is never there is found out a little later, too.
    let patience = [("FLOWLATENCY", "2000"), ("REQUESTTIMEOUT", "2000")];
    let places = sandbox::variables(amqp, &patience);
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut variables: BTreeMap<String, String> = usual.iter().map(owned).chain(places).collect();
    variables.extend(settings.iter().map(owned));
    Config::load(None, variables.into_iter()).map_err(|problems| {
        Error::Settings(
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        )
    })
}

/// The status of a GET request over plain HTTP.
///
/// # Errors
/// If nobody answers in time, or in another language.
pub async fn status(server: SocketAddr, path: &str) -> io::Result<u16> {
    page(server, path).await.map(|(status, _)| status)
}

/// Status and body that a GET request over plain HTTP gets.
///
/// # Errors
/// If nobody answers in time, or in another language.
pub async fn page(server: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {server}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        status
            .zip(body)
            .ok_or_else(|| io::Error::other("that is no HTTP"))
    };
    timeout(Duration::from_secs(2), exchange).await?
}

const READY_WITHIN: Duration = Duration::from_secs(15);

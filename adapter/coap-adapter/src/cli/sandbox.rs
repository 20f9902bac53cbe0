//! `sandbox`: the adapter and the world around it in one process, so that a newcomer sees it work.

use std::{
    fs,
    io::{self, ErrorKind, IsTerminal},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use adapter::{
    app::{App, StartError},
    config::{Config, Level, LogConfig},
    diagnostics::observer::RefusedDevice,
    monitoring::health::ServeError,
};
use amqp_client::ConnectionConfig;
use clap::Args;
use sandbox::{
    Sandbox, SandboxConfig,
    management::ManagementConfig,
    scene::{self, Inputs, SceneConfig},
    world::World,
};
use tokio::{sync::mpsc, time};

use super::{
    Error, logging,
    marker::Marker,
    print,
    signals::{self, Action, Signals},
};

#[derive(Debug, Args)]
pub(crate) struct SandboxOptions {
    /// Port for CoAP over DTLS.
    #[arg(long, value_name = "PORT", default_value_t = 5684)]
    pub(crate) coaps: u16,
    /// Port for CoAP without security.
    #[arg(long, value_name = "PORT", default_value_t = 5683)]
    pub(crate) coap: u16,
    /// Port of the AMQP 1.0 network.
    #[arg(long, value_name = "PORT", default_value_t = 5672)]
    pub(crate) amqp: u16,
    /// Port for health checks.
    #[arg(long, value_name = "PORT", default_value_t = 8088)]
    pub(crate) health: u16,
    /// Port of the registry's management API (to add devices); disabled by default.
    #[arg(long, value_name = "PORT")]
    pub(crate) management: Option<u16>,
    /// Local address of all ports.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// YAML file with tenants, devices and keys; see --print-world.
    #[arg(long, value_name = "FILE")]
    pub(crate) world: Option<PathBuf>,
    /// Database file for tenants, devices and keys; seeded from --world when created, takes
    /// precedence afterwards.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// Print the built-in tenants, devices and keys, as an example for --world.
    #[arg(long)]
    pub(crate) print_world: bool,
    /// Skip the scene and only show messages.
    #[arg(long)]
    pub(crate) no_play: bool,
}

pub(crate) async fn execute(options: SandboxOptions) -> Result<(), Error> {
    if options.print_world {
        return print(World::default_yaml());
    }
    distinct(&options)?;
    let world = world(options.world.as_deref())?;
    let mut log = LogConfig::default();
    log.level = Level::Warn;
    // Its peer is in this process: when that ends, so does everything.
    log.categories
        .insert("amqp_client".to_owned(), Level::Error);
    logging::start(&log, None)?;
    let hangup_is_ignored = signals::hangup_is_ignored();
    let mut signals =
        Signals::new().map_err(|error| Error::Io("cannot listen for signals".to_owned(), error))?;
    let sandbox = start(&options, world).await?;
    let config = config(&options, sandbox.amqp_address());
    let (refuse, refused) = mpsc::channel(REFUSALS);
    let app = App::start_watched(config, Some(refuse))
        .await
        .map_err(|error| start_error(error, &options))?;
    let marker = app.coaps_address().map(|coaps| Marker::new(coaps.port()));
    if let Some(Err(error)) = &marker {
        tracing::debug!(%error, "`doctor` will not recognise this sandbox");
    }
    let result = tokio::select! {
        result = show(&app, &sandbox, options.no_play, refused) => result,
        () = ended(&mut signals, hangup_is_ignored) => Ok(()),
    };
    drop(marker);
    app.stop().await;
    sandbox.stop().await;
    result
}

/// Waits for the end. SIGHUP comes when the terminal is closed, and there is nothing to reload; who
/// starts the sandbox with `nohup` wants it to go on.
async fn ended(signals: &mut Signals, hangup_is_ignored: bool) {
    while signals.next().await == Action::Reload && hangup_is_ignored {}
}

async fn start(options: &SandboxOptions, world: World) -> Result<Sandbox, Error> {
    let mut config = SandboxConfig::new(SocketAddr::new(options.address, options.amqp), world);
    let management = options
        .management
        .map(|port| SocketAddr::new(options.address, port));
    config.management = management.map(ManagementConfig::new);
    config.data.clone_from(&options.data);
    Sandbox::start(config).await.map_err(|error| match error {
        sandbox::Error::PortBusy { address } if address.port() == options.amqp => {
            busy(address, "TCP, AMQP", "--amqp")
        }
        sandbox::Error::PortBusy { address } => busy(address, "TCP, management", "--management"),
        other => other.into(),
    })
}

/// Waits for the adapter and plays; ends when nothing more can be shown.
async fn show(
    app: &App,
    sandbox: &Sandbox,
    no_play: bool,
    mut refused: mpsc::Receiver<RefusedDevice>,
) -> Result<(), Error> {
    ready(app).await?;
    let Some(coaps) = app.coaps_address() else {
        return Err(StartError::Missing("coaps").into());
    };
    let mut scene = SceneConfig::new(
        coaps,
        app.coap_address(),
        sandbox.amqp_address(),
        app.health_address(),
        sandbox.world().look(World::clone),
    );
    scene.colour = scene::wants_colour();
    scene.management = sandbox.management_address();
    scene.play = !no_play;
    scene.commands = true;
    let typed = if io::stdin().is_terminal() {
        scene::typed_lines()
    } else {
        mpsc::channel(1).1
    };
    let (show, refusals) = mpsc::channel(1);
    let inputs = Inputs { typed, refusals };
    let playing = scene::play_with(io::stdout(), scene, inputs, std::future::pending());
    let describing = async {
        while let Some(refused) = refused.recv().await {
            if show.send(described(&refused)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = playing => result,
        () = describing => Ok(()),
    };
    match result {
        // The output was closed.
        Err(sandbox::Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// A device that was not served, in two lines: who and why, and what to do.
fn described(refused: &RefusedDevice) -> String {
    let name = match (&refused.name, &refused.tenant) {
        (Some(name), Some(tenant)) => format!("{name}@{tenant} "),
        (Some(name), None) => format!("{name} "),
        (None, Some(tenant)) => format!("a device of {tenant} "),
        (None, None) => String::new(),
    };
    let (peer, reason) = (refused.peer, refused.reason);
    let what = match &refused.request {
        None => format!("refused the handshake of {name}({peer}): {reason}"),
        Some((operation, code)) => {
            format!("answered {code} to the {operation} request of {name}({peer}): {reason}")
        }
    };
    format!("{what}\n{} {}", reason.meaning(), reason.remedy())
}

async fn ready(app: &App) -> Result<(), Error> {
    let polling = async {
        while !app.is_ready() {
            time::sleep(POLL).await;
        }
    };
    time::timeout(START, polling)
        .await
        .map_err(|_| Error::NotReady(START))
}

/// A configuration that needs nothing but the sandbox.
fn config(options: &SandboxOptions, amqp: SocketAddr) -> Config {
    let mut config = Config::default();
    config.coap.authentication_required = false;
    config.coap.secure = Some(SocketAddr::new(options.address, options.coaps).into());
    config.coap.insecure = Some(SocketAddr::new(options.address, options.coap).into());
    config.health.address = SocketAddr::new(options.address, options.health);
    let client = || {
        let mut client = ConnectionConfig::new(reachable(amqp.ip()).to_string(), amqp.port());
        // A laptop may be busy with other things.
        client.request_timeout = Duration::from_secs(2);
        client.flow_latency = Duration::from_millis(100);
        Some(client)
    };
    config.messaging = client();
    config.command = client();
    config.tenant = client();
    config.registration = client();
    config.credentials = client();
    config.command_router = client();
    config
}

/// Where to connect to what listens on `address`.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// A port can serve one purpose only, be it for UDP or for TCP.
fn distinct(options: &SandboxOptions) -> Result<(), Error> {
    let (amqp, health) = (options.amqp, options.health);
    let management = options.management.unwrap_or_default();
    for (one, other, port, second) in [
        ("--coaps", "--coap", options.coaps, options.coap),
        ("--amqp", "--health", amqp, health),
        ("--amqp", "--management", amqp, management),
        ("--health", "--management", health, management),
    ] {
        if port == second && port != 0 {
            return Err(Error::Wrong(format!(
                "{one} and {other} are both {port}: give them different ports"
            )));
        }
    }
    Ok(())
}

fn world(file: Option<&Path>) -> Result<World, Error> {
    let Some(path) = file else {
        return Ok(World::default());
    };
    let name = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::Wrong(format!("--world {name} cannot be read: {error}")))?;
    World::from_yaml(&name, &text).map_err(Error::World)
}

/// The errors about ports name the flags that choose them.
fn start_error(error: StartError, options: &SandboxOptions) -> Error {
    match error {
        StartError::PortBusy { address } if address.port() == options.coaps => {
            busy(address, "UDP, DTLS", "--coaps")
        }
        StartError::PortBusy { address } => busy(address, "UDP, CoAP", "--coap"),
        StartError::Health(ServeError::PortBusy { address, .. }) => {
            busy(address, "TCP, health", "--health")
        }
        other => other.into(),
    }
}

fn busy(address: SocketAddr, what: &str, flag: &str) -> Error {
    Error::PortBusy(format!(
        "{address} ({what}) is in use: choose another with {flag} PORT"
    ))
}

/// How long the adapter may take to connect to the sandbox.
const START: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(10);

/// Refusals that are not shown yet; further ones are not.
const REFUSALS: usize = 64;

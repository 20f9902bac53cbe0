//! What a run needs round it, as processes of their own: the AMQP network with the registry, and the adapter.
//!
//! The network is this program again (`load network`); the adapter is the `coap-adapter` that was built beside it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    credentials::{self, Authority},
    http,
    scenario::Scenario,
};

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) amqp: SocketAddr,
    pub(crate) coaps: SocketAddr,
    pub(crate) coap: SocketAddr,
    pub(crate) health: SocketAddr,
}

/// Network and adapter; they end with this value.
pub(crate) struct Stage {
    pub(crate) addresses: Addresses,
    /// If devices need one.
    pub(crate) authority: Option<PathBuf>,
    adapter: Running,
    network: Running,
    /// How to start the network.
    world: Vec<String>,
    folder: PathBuf,
}

impl Stage {
    /// Starts what a scenario needs, and returns when the adapter is ready.
    pub(crate) fn start(scenario: &Scenario) -> Result<Self, String> {
        let program = coap_adapter()?;
        let folder = folder(&program)?;
        let addresses = Addresses::free().map_err(|error| error.to_string())?;
        let mut world = vec!["--devices".to_owned(), scenario.population().to_string()];
        let authority = match scenario.certificates > 0.0 {
            false => None,
            true => {
                let path = folder.join("authority.pem");
                Authority::create(&path)?;
                world.extend(["--authority".to_owned(), path.display().to_string()]);
                Some(path)
            }
        };
        let network = network(&world, addresses.amqp, &folder)?;
        let mut command = adapter(&program, scenario, &addresses);
        if authority.is_some() {
            let [certificate, key] = ["server.pem", "server-key.pem"].map(|it| folder.join(it));
            credentials::create_server(&certificate, &key)?;
            command.env("HONO_COAP_CERTPATH", certificate);
            command.env("HONO_COAP_KEYPATH", key);
        }
        let mut adapter = Running::start("coap-adapter", command, &folder)?;
        adapter.wait_until(|| http::get(addresses.health, "/readiness").is_ok())?;
        Ok(Self {
            addresses,
            authority,
            adapter,
            network,
            world,
            folder,
        })
    }

    /// The adapter's process.
    pub(crate) fn process(&self) -> u32 {
        self.adapter.child.id()
    }

    /// Kills the network, and starts a new one at the same place after a while.
    pub(crate) fn restart_network(&mut self, after: Duration) -> Result<(), String> {
        self.network.kill();
        thread::sleep(after);
        self.network = network(&self.world, self.addresses.amqp, &self.folder)?;
        Ok(())
    }

    /// Where the logs are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends everything, and removes what was written: nobody needs it.
    pub(crate) fn clear(self) {
        let folder = self.folder.clone();
        drop(self);
        // What stays is in the way of nobody.
        drop(fs::remove_dir_all(folder));
    }
}

impl Addresses {
    /// Ports that nobody had a moment ago.
    fn free() -> std::io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (amqp, health) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
        let (coaps, coap) = (UdpSocket::bind(any)?, UdpSocket::bind(any)?);
        Ok(Self {
            amqp: amqp.local_addr()?,
            coaps: coaps.local_addr()?,
            coap: coap.local_addr()?,
            health: health.local_addr()?,
        })
    }
}

fn network(world: &[String], amqp: SocketAddr, folder: &Path) -> Result<Running, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.arg("network").args(world);
    command.args(["--amqp", &amqp.to_string()]);
    // It ends when this process has closed the other end, however it does.
    command.stdin(Stdio::piped());
    let mut running = Running::start("network", command, folder)?;
    running.wait_until(|| std::net::TcpStream::connect(amqp).is_ok())?;
    Ok(running)
}

/// Other variables `HONO_*` of the environment hold for it, too; its caches and the commands at a time are theirs to decide.
fn adapter(program: &Path, scenario: &Scenario, addresses: &Addresses) -> Command {
    let mut command = Command::new(program);
    command.arg("run");
    // Everything shares this machine: what is slow here is not the network.
    let patience = [("REQUESTTIMEOUT", "5000"), ("FLOWLATENCY", "500")];
    command.envs(sandbox::variables(addresses.amqp, &patience));
    match scenario.max_memory {
        Some(mebibytes) => {
            let bytes = u64::from(mebibytes) << 20;
            command.env("HONO_APP_MAXMEMORY", bytes.to_string());
        }
        None => {
            // The answers for all devices are kept, as an operator who knows how many there are would have it.
            let kept = scenario.devices.clamp(1000, MOST_KEPT).to_string();
            for service in ["REGISTRATION", "CREDENTIALS"] {
                let name = format!("HONO_{service}_RESPONSECACHEMAXSIZE");
                unless_set(&mut command, &name, &kept);
            }
        }
    }
    unless_set(&mut command, "HONO_COMMAND_INITIALCREDITS", COMMAND_CREDIT);
    let port = |address: SocketAddr| address.port().to_string();
    command
        .env("HONO_COAP_PORT", port(addresses.coaps))
        .env("HONO_COAP_BINDADDRESS", addresses.coaps.ip().to_string())
        .env("QUARKUS_HTTP_HOST", addresses.health.ip().to_string())
        .env("QUARKUS_HTTP_PORT", port(addresses.health));
    if !scenario.secure {
        let address = addresses.coap.ip().to_string();
        command
            .env("HONO_COAP_AUTHENTICATIONREQUIRED", "false")
            .env("HONO_COAP_INSECUREPORT", port(addresses.coap))
            .env("HONO_COAP_INSECUREPORTBINDADDRESS", address);
    }
    if scenario.connection_ids > 0.0 {
        command.env("HONO_COAP_CONNECTIONIDLENGTH", "8");
    }
    if scenario.rebind > 0.0 {
        // A device that moves and shakes hands before the server has heard it there leaves a session behind, which is there until its
        // place is needed. With one session each, what is left over at the end is a mistake.
        command.env("HONO_COAP_DTLSONESESSIONEACH", "true");
    }
    command
}

fn unless_set(command: &mut Command, name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        command.env(name, value);
    }
}

/// A process that ends with this value.
struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// What it says goes to a file in `folder`.
    fn start(name: &'static str, mut command: Command, folder: &Path) -> Result<Self, String> {
        let log = folder.join(format!("{name}.log"));
        let wrong = |error| format!("{name}: {error}");
        let output = File::create(&log).map_err(wrong)?;
        command.stdout(output.try_clone().map_err(wrong)?);
        command.stderr(output);
        let child = command.spawn().map_err(wrong)?;
        Ok(Self { name, child, log })
    }

    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !ready() {
            self.check()?;
            if started.elapsed() > READY_WITHIN {
                return Err(self.tell("is not ready"));
            }
            thread::sleep(LOOK_AGAIN);
        }
        // Somebody else may have answered.
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.tell("has ended")),
        }
    }

    fn tell(&self, what: &str) -> String {
        let lines = File::open(&self.log)
            .map(BufReader::new)
            .map(BufRead::lines);
        let last = lines.ok().and_then(|it| it.map_while(Result::ok).last());
        let (name, log) = (self.name, self.log.display());
        format!("{name} {what}; see {log}: {}", last.unwrap_or_default())
    }

    fn kill(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The adapter that was built beside this program.
fn coap_adapter() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = this.with_file_name(format!("coap-adapter{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        return Ok(path);
    }
    let release = if cfg!(debug_assertions) {
        ""
    } else {
        "--release "
    };
    Err(format!(
        "there is no {}; build it with `cargo build {release}-p coap-adapter`, or name a server that runs with --coaps or --coap",
        path.display()
    ))
}

/// Where logs and certificates are written, beside the programs.
fn folder(program: &Path) -> Result<PathBuf, String> {
    let name = format!("load-{}", std::process::id());
    let folder = program.with_file_name("load-runs").join(name);
    match fs::create_dir_all(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

const MOST_KEPT: u32 = 10_000;
/// As many commands as come in a pause of the machine, as for messages ([`crate::LINK_CREDIT`]).
const COMMAND_CREDIT: &str = "2000";
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

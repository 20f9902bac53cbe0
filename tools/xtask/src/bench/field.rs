//! The processes of a comparison run: the network and the servers in turn, each on its CPU.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;
use serde_json::Value;

use super::{MANY_DEVICES, hono};
use crate::{
    californium,
    step::{self, cargo},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Adapter,
    Floor,
    /// The adapter of Eclipse Hono, under the same network, registry and command router.
    Hono,
    Californium,
}

impl Server {
    pub(super) const fn is_java(self) -> bool {
        matches!(self, Self::Hono | Self::Californium)
    }
}

/// What devices do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Requests a second.
    pub(super) rate: u32,
    pub(super) seconds: u32,
    pub(super) devices: u32,
}

pub(super) struct Field {
    /// Where the release builds are.
    programs: PathBuf,
    /// For what is written.
    folder: PathBuf,
    root: PathBuf,
}

/// A process that ends with this value.
pub(super) struct Running(Child);

impl Running {
    /// Kilobytes that are in memory, as Linux tells it.
    pub(super) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let number = line.and_then(|it| it.trim().strip_suffix("kB"));
        Ok(number.context("no VmRSS")?.trim().parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Field {
    /// Builds and fetches, and tells which servers there are.
    pub(super) fn prepare() -> Result<(Self, Vec<Server>)> {
        let metadata = MetadataCommand::new().no_deps().exec()?;
        let target = metadata.target_directory.as_std_path();
        step::run(&mut cargo(
            "build --locked --release -p coap-adapter -p load -p floor".split(' '),
        ))?;
        let field = Self {
            programs: target.join("release"),
            folder: target.join("bench"),
            root: metadata.workspace_root.into_std_path_buf(),
        };
        fs::create_dir_all(&field.folder)?;
        let mut servers = vec![Server::Adapter, Server::Floor];
        for (server, installed) in [
            (Server::Hono, field.install_hono()),
            (Server::Californium, field.install_californium()),
        ] {
            match installed {
                Ok(()) => servers.push(server),
                Err(error) => println!("SKIPPED: {server:?} is not compared with: {error:#}"),
            }
        }
        Ok((field, servers))
    }

    fn install_hono(&self) -> Result<()> {
        hono::build(&self.root.join("benches/hono/pom.xml"), &self.hono())
    }

    /// Where its application is.
    fn hono(&self) -> PathBuf {
        self.folder.join("hono")
    }

    fn install_californium(&self) -> Result<()> {
        let jars = self.folder.join("jars");
        californium::fetch(&jars)?;
        let mut compile = Command::new("javac");
        compile
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .arg("-d")
            .arg(&self.folder)
            .arg(self.root.join("benches/californium/EchoServer.java"));
        step::run(&mut compile)
    }

    /// AMQP network, registry and command router; it ends with this process.
    pub(super) fn start_network(&self) -> Result<Running> {
        let mut network = self.pinned(OTHERS, &self.programs.join("load"));
        network.args(["network", "--devices", &MANY_DEVICES.to_string()]);
        network.args(["--amqp", "127.0.0.1:6672"]);
        network.stdin(Stdio::piped());
        self.start(network, "network", || {
            TcpStream::connect(loopback(6672)).is_ok()
        })
    }

    /// Starts it alone on its CPU, and returns when it is ready.
    pub(super) fn start_server(&self, server: Server) -> Result<Running> {
        match server {
            Server::Adapter => {
                let mut adapter = self.pinned(SERVER, &self.programs.join("coap-adapter"));
                adapter.arg("run");
                configure(&mut adapter);
                self.start(adapter, "adapter", is_ready)
            }
            Server::Floor => {
                let mut floor = self.pinned(SERVER, &self.programs.join("floor"));
                floor.args(["--coaps", "127.0.0.1:7684", "--amqp", "127.0.0.1:6672"]);
                self.start(floor, "floor", is_bound)
            }
            Server::Hono => {
                let mut adapter = self.pinned(SERVER, Path::new("java"));
                adapter.args(hono::PROPERTIES).arg("-jar");
                adapter.arg(hono::jar(&self.hono()));
                configure(&mut adapter);
                adapter.envs(hono::SETTINGS);
                self.start(adapter, "hono", is_ready)
            }
            Server::Californium => {
                let mut echo = self.pinned(SERVER, Path::new("java"));
                let path = format!("{}/jars/*:{}", self.folder.display(), self.folder.display());
                echo.args(["-cp", &path, "EchoServer", "7684", "100000"]);
                self.start(echo, "californium", is_bound)
            }
        }
    }

    /// Plays telemetry, and gives the numbers.
    pub(super) fn load(&self, server: Server, running: &Running, load: Load) -> Result<Value> {
        let json = self.folder.join("load.json");
        let picture = self.folder.join(format!("{server:?}-{}.svg", load.rate));
        let mut play = self.pinned(OTHERS, &self.programs.join("load"));
        play.arg("run")
            .arg(self.root.join("tools/load/scenarios/telemetry.yaml"))
            .args(["--coaps", "127.0.0.1:7684", "--amqp", "127.0.0.1:6672"])
            .args(["--rate", &load.rate.to_string()])
            .args(["--duration", &load.seconds.to_string()])
            .args(["--devices", &load.devices.to_string()])
            .args(["--pid", &running.0.id().to_string()])
            .arg("--json")
            .arg(&json)
            .arg("--svg")
            .arg(picture)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if server == Server::Californium {
            play.arg("--no-consumer");
        }
        // What failed is in the numbers.
        play.status()?;
        let text = fs::read_to_string(&json).context("the load generator wrote no numbers")?;
        fs::remove_file(&json)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A program that has one CPU.
    fn pinned(&self, cpu: &str, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", cpu]).arg(program);
        command.current_dir(&self.folder);
        command
    }

    /// Starts it, and returns when it is ready.
    fn start(&self, mut command: Command, name: &str, ready: impl Fn() -> bool) -> Result<Running> {
        let log = self.folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let mut running = Running(command.spawn()?);
        let started = Instant::now();
        while !ready() {
            let ended = running.0.try_wait()?.is_some();
            if ended || started.elapsed() > READY_WITHIN {
                let last = BufReader::new(File::open(&log)?).lines().last();
                bail!(
                    "{name} is not ready: {}",
                    last.transpose()?.unwrap_or_default()
                );
            }
            sleep(Duration::from_millis(100));
        }
        ensure!(running.0.try_wait()?.is_none(), "{name} ended");
        Ok(running)
    }
}

/// Settings that this adapter and Hono share.
fn configure(adapter: &mut Command) {
    for service in SERVICES {
        adapter.env(format!("HONO_{service}_HOST"), "127.0.0.1");
        adapter.env(format!("HONO_{service}_PORT"), "6672");
    }
    adapter
        .env("HONO_COAP_PORT", "7684")
        .env("HONO_COAP_BINDADDRESS", "127.0.0.1")
        .env("QUARKUS_HTTP_HOST", "127.0.0.1")
        .env("QUARKUS_HTTP_PORT", "7088");
}

/// Whether an adapter says that it is.
fn is_ready() -> bool {
    let url = "http://127.0.0.1:7088/readiness";
    let mut ask = Command::new("curl");
    ask.args(["-fsS", "-o", "/dev/null", url]);
    ask.stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

/// Whether somebody listens on the port under test.
fn is_bound() -> bool {
    UdpSocket::bind(loopback(7684)).is_err()
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

const READY_WITHIN: Duration = Duration::from_secs(120);
/// The CPU of the server under test.
const SERVER: &str = "0";
/// The CPU of all else.
const OTHERS: &str = "1";
const SERVICES: [&str; 6] = [
    "MESSAGING",
    "COMMAND",
    "TENANT",
    "REGISTRATION",
    "CREDENTIALS",
    "COMMANDROUTER",
];

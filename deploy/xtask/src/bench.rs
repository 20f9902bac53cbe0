//! The comparison run: adapter, floor and Californium under the same devices on the same CPU, in turn, several times.
//!
//! Devices, AMQP network and application have one CPU, the server under test has the other, so that both kinds of servers are seen
//! under the same load. Latencies are those of two busy CPUs; what a server costs is told by its own CPU time.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;
use serde_json::Value;

use crate::{
    californium,
    step::{self, cargo},
};

/// `bench [RATE]...`: telemetry at each rate, the servers in turn.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let rates: Vec<u32> = match words {
        [] => vec![2000, 8000],
        words => words
            .iter()
            .map(|word| word.parse().with_context(|| format!("`{word}` is no rate")))
            .collect::<Result<_>>()?,
    };
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let target = metadata.target_directory.as_std_path();
    let root = metadata.workspace_root.as_std_path();
    step::run(&mut cargo(
        "build --locked --release -p adapter -p load -p floor".split(' '),
    ))?;
    let field = Field {
        programs: target.join("release"),
        folder: target.join("bench"),
        root: root.to_owned(),
    };
    fs::create_dir_all(&field.folder)?;
    let californium = field.install_californium();
    if let Err(error) = &californium {
        println!("SKIPPED: Californium is not compared with: {error:#}");
    }
    field.write_world()?;
    let _sandbox = field.start_sandbox()?;
    let mut lines = Vec::new();
    for round in 1..=ROUNDS {
        for rate in &rates {
            for server in [Server::Adapter, Server::Floor, Server::Californium] {
                if server == Server::Californium && californium.is_err() {
                    continue;
                }
                let row = field
                    .measure(server, *rate)
                    .with_context(|| format!("{server:?} at {rate}/s"))?;
                println!("xtask: round {round}, {server:?} at {rate}/s: {row}");
                lines.push(format!("| {server:?} | {rate} | {round} | {row} |"));
            }
        }
    }
    lines.sort();
    println!("\n{HEAD}\n{}", lines.join("\n"));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Adapter,
    Floor,
    Californium,
}

struct Field {
    /// Where the release builds are.
    programs: PathBuf,
    /// For what is written.
    folder: PathBuf,
    root: PathBuf,
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Field {
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

    fn write_world(&self) -> Result<()> {
        let mut write = Command::new(self.programs.join("load"));
        write.args(["world", "--devices", "1000"]);
        fs::write(self.folder.join("world.yaml"), step::output(&mut write)?)?;
        Ok(())
    }

    fn start_sandbox(&self) -> Result<Running> {
        let mut sandbox = self.pinned(OTHERS, &self.programs.join("coap-adapter"));
        sandbox.args(["sandbox", "--no-play", "--world"]);
        sandbox.arg(self.folder.join("world.yaml"));
        sandbox.args(["--amqp", "6672", "--coaps", "6684", "--coap", "6683"]);
        sandbox.args(["--health", "6088"]);
        self.start(sandbox, "sandbox", || {
            std::net::TcpStream::connect(loopback(6672)).is_ok()
        })
    }

    fn measure(&self, server: Server, rate: u32) -> Result<String> {
        let running = match server {
            Server::Adapter => self.start_adapter()?,
            Server::Floor => {
                let mut floor = self.pinned(SERVER, &self.programs.join("floor"));
                floor.args(["--coaps", "127.0.0.1:7684", "--amqp", "127.0.0.1:6672"]);
                self.start(floor, "floor", is_bound)?
            }
            Server::Californium => {
                let mut echo = self.pinned(SERVER, Path::new("java"));
                let path = format!("{}/jars/*:{}", self.folder.display(), self.folder.display());
                echo.args(["-cp", &path, "EchoServer", "7684", "100000"]);
                self.start(echo, "californium", is_bound)?
            }
        };
        if server == Server::Californium {
            // The machine's own compiler has to see the code often before it is at its best.
            self.load(server, rate, WARM_UP, running.0.id())?;
        }
        let numbers = self.load(server, rate, SECONDS, running.0.id())?;
        let latency = &numbers["latency_ms"]["telemetry"];
        let codes = &numbers["codes"];
        Ok(format!(
            "{} | {} | {:.0} | {} | {} | {} | {} | {}",
            codes["2.04"],
            numbers["intended"].as_i64().unwrap_or(0) - codes["2.04"].as_i64().unwrap_or(0),
            numbers["answered_per_cpu_second"].as_f64().unwrap_or(0.0),
            latency["p50"],
            latency["p99"],
            latency["p99.9"],
            numbers["rss_kb"]["before"],
            numbers["rss_kb"]["peak"],
        ))
    }

    fn start_adapter(&self) -> Result<Running> {
        let mut adapter = self.pinned(SERVER, &self.programs.join("coap-adapter"));
        adapter.arg("run");
        for service in SERVICES {
            adapter.env(format!("HONO_{service}_HOST"), "127.0.0.1");
            adapter.env(format!("HONO_{service}_PORT"), "6672");
        }
        adapter
            .env("HONO_COAP_PORT", "7684")
            .env("HONO_COAP_BINDADDRESS", "127.0.0.1")
            .env("QUARKUS_HTTP_HOST", "127.0.0.1")
            .env("QUARKUS_HTTP_PORT", "7088");
        self.start(adapter, "adapter", || {
            let url = "http://127.0.0.1:7088/readiness";
            let mut ask = Command::new("curl");
            ask.args(["-fsS", "-o", "/dev/null", url]);
            ask.stderr(Stdio::null())
                .status()
                .is_ok_and(|it| it.success())
        })
    }

    /// Plays telemetry, and gives the numbers.
    fn load(&self, server: Server, rate: u32, seconds: u32, process: u32) -> Result<Value> {
        let json = self.folder.join("load.json");
        let picture = self.folder.join(format!("{server:?}-{rate}.svg"));
        let mut load = self.pinned(OTHERS, &self.programs.join("load"));
        load.arg("run")
            .arg(self.root.join("benches/load/scenarios/telemetry.yaml"))
            .args(["--coaps", "127.0.0.1:7684", "--amqp", "127.0.0.1:6672"])
            .args(["--rate", &rate.to_string()])
            .args(["--duration", &seconds.to_string()])
            .args(["--pid", &process.to_string()])
            .arg("--json")
            .arg(&json)
            .arg("--svg")
            .arg(picture)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if server == Server::Californium {
            load.arg("--no-consumer");
        }
        // What failed is in the numbers.
        load.status()?;
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

/// Whether somebody listens on the port under test.
fn is_bound() -> bool {
    UdpSocket::bind(loopback(7684)).is_err()
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

const HEAD: &str = "\
| server | rate | round | 2.04 | not | answers a CPU-second | p50 ms | p99 ms | p99.9 ms | RSS kB with 1000 sessions | at most |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
const ROUNDS: u32 = 3;
const SECONDS: u32 = 10;
const WARM_UP: u32 = 20;
const READY_WITHIN: Duration = Duration::from_secs(30);
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

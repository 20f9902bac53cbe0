//! `load`: many devices that do what a scenario says, at a rate that does not wait for answers, and what came of it.
//!
//! ```text
//! scenario ─> worker: arrivals ─> Device (DTLS, CoAP) ─> loss ─> UDP ─> the adapter ─> AMQP ─> Consumer
//!                                   └──────── Tally ─────> Report <──────── Arrived ──────────────┘
//! ```
//!
//! It speaks to this machine only. A latency counts from the moment a request was meant to be sent, not from when a busy device got
//! round to it, so that a server that stalls does not look fast.

mod scenario;
mod world;
mod credentials;
mod random;
mod coap;
mod device;
mod worker;
mod application;
mod process;
mod histogram;
mod progress;
mod report;
mod picture;

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use self::{
    application::Consumer,
    credentials::{Authority, Credentials},
    process::Usage,
    progress::Progress,
    report::{Cost, North, Report},
    scenario::Scenario,
    worker::{Order, Tally},
};

/// Plays many CoAP devices against an adapter on this machine, and tells what it bears.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the tenant with all devices, for `coap-adapter sandbox --world`.
    World {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        devices: u32,
        /// Let devices have certificates, too: make who issues them, and write its name and key there, for `run --authority`.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
    },
    /// Play a scenario. Exits with 1 if anything failed, was lost or came twice.
    Run(Box<Options>),
}

#[derive(Args)]
struct Options {
    /// A YAML file such as those in benches/load/scenarios.
    scenario: PathBuf,
    /// Where the adapter listens for DTLS.
    #[arg(long, value_name = "ADDR", default_value_t = local(5684))]
    coaps: SocketAddr,
    /// Where the adapter listens without security.
    #[arg(long, value_name = "ADDR", default_value_t = local(5683))]
    coap: SocketAddr,
    /// Where the AMQP network listens, from which the application receives.
    #[arg(long, value_name = "ADDR", default_value_t = local(5672))]
    amqp: SocketAddr,
    /// Attach no application: somebody else receives.
    #[arg(long)]
    no_consumer: bool,
    /// Instead of what the scenario says.
    #[arg(long)]
    devices: Option<u32>,
    /// What all devices together do a second, in the mixture that the scenario says.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds, instead of what the scenario says.
    #[arg(long)]
    duration: Option<f64>,
    /// The share of datagrams to lose in each direction, instead of what the scenario says.
    #[arg(long)]
    loss: Option<f64>,
    /// The same seed has the same arrivals and loses the same datagrams of a device.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that the devices share.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// The server's process, to tell what it costs.
    #[arg(long)]
    pid: Option<u32>,
    /// Who issues certificates, as `load world --authority` wrote it.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// The PSK identity, with `{}` for the device's number, for a server with other devices than those of `load world`.
    #[arg(long)]
    identity: Option<String>,
    /// Likewise the key.
    #[arg(long)]
    key: Option<String>,
    /// Draw latencies and throughput there.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the numbers there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::World { devices, authority } => print_world(devices, authority.as_deref()),
        Command::Run(options) => run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("load: {error}\n"));
            ExitCode::from(EX_USAGE)
        }
    }
}

fn print_world(devices: u32, authority: Option<&Path>) -> Result<bool, String> {
    let authority = authority.map(Authority::create).transpose()?;
    let output = io::BufWriter::new(io::stdout());
    world::write(output, devices, authority.as_ref()).map_err(|error| error.to_string())?;
    Ok(true)
}

/// Whether all went well.
fn run(options: &Options) -> Result<bool, String> {
    let addresses = [options.coaps, options.coap, options.amqp];
    if let Some(far) = addresses.iter().find(|it| !it.ip().is_loopback()) {
        return Err(format!(
            "{far} is not an address of this machine alone, such as 127.0.0.1"
        ));
    }
    let scenario = Arc::new(scenario(options)?);
    let consumer = match options.no_consumer {
        true => None,
        false => Some(Consumer::start(options.amqp)?),
    };
    let credentials = Arc::new(credentials(options, &scenario)?);
    let (tally, cost) = play(options, &scenario, &credentials)?;
    let arrived = consumer.map(Consumer::stop);
    let report = Report {
        north: arrived.map(|arrived| North::of(&tally, &arrived)),
        scenario: Scenario::clone(&scenario),
        seed: options.seed,
        tally,
        cost,
    };
    write!(io::stdout(), "{report}").map_err(|error| error.to_string())?;
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report.to_json());
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &options.svg {
        let title = options.scenario.file_stem().unwrap_or_default();
        let title = format!(
            "{}: {:.0}/s, {} devices",
            title.to_string_lossy(),
            report.scenario.rates.total(),
            report.scenario.devices
        );
        picture::draw(&report.tally, &title, path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report.is_clean())
}

fn credentials(options: &Options, scenario: &Scenario) -> Result<Credentials, String> {
    let certificates = match (&options.authority, scenario.certificates) {
        (Some(path), share) if share > 0.0 => Some((share, Authority::read(path)?)),
        (None, share) if share > 0.0 => {
            return Err(
                "certificates need `--authority`; `load world --authority` makes one".into(),
            );
        }
        _ => None,
    };
    Ok(Credentials {
        identity: options.identity.clone(),
        key: options.key.clone(),
        certificates,
    })
}

fn scenario(options: &Options) -> Result<Scenario, String> {
    let name = options.scenario.display();
    let text = fs::read_to_string(&options.scenario).map_err(|error| format!("{name}: {error}"))?;
    let mut scenario = Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    scenario.devices = options.devices.unwrap_or(scenario.devices);
    if let Some(rate) = options.rate {
        scenario.rates = scenario.rates.scaled_to(rate);
    }
    scenario.loss = options.loss.unwrap_or(scenario.loss);
    if let Some(seconds) = options.duration {
        let duration = Duration::try_from_secs_f64(seconds);
        scenario.duration = duration.map_err(|error| format!("--duration: {error}"))?;
    }
    scenario.check()?;
    Ok(scenario)
}

fn play(
    options: &Options,
    scenario: &Arc<Scenario>,
    credentials: &Arc<Credentials>,
) -> Result<(Tally, Option<Cost>), String> {
    let lends_sockets = process::open_files().is_some_and(|it| it < scenario.devices + SPARE_FILES);
    let workers = options.workers.min(scenario.devices);
    let ready = Arc::new(Barrier::new(workers as usize + 1));
    let progress = Arc::new(Progress::default());
    let threads: Vec<_> = (0..workers)
        .map(|worker| {
            let share =
                |worker| u64::from(scenario.devices) * u64::from(worker) / u64::from(workers);
            let place = |worker| u32::try_from(share(worker)).unwrap_or(u32::MAX);
            let devices = place(worker)..place(worker + 1);
            let order = Order {
                credentials: Arc::clone(credentials),
                lends_sockets,
                rate: scenario.rates.total() * f64::from(devices.end - devices.start)
                    / f64::from(scenario.devices),
                scenario: Arc::clone(scenario),
                server: if scenario.secure {
                    options.coaps
                } else {
                    options.coap
                },
                seed: options.seed,
                devices,
                ready: Arc::clone(&ready),
                progress: Arc::clone(&progress),
            };
            thread::spawn(move || worker::run(order))
        })
        .collect();
    ready.wait();
    let usage = || options.pid.and_then(Usage::of);
    let before = usage();
    let mut peak = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        thread::sleep(Duration::from_millis(200));
        peak = peak.max(usage().map_or(0, |usage| usage.resident));
        tell(&format!("\r{} ", progress.line()));
    }
    tell("\n");
    let cost = before.zip(usage()).map(|(before, after)| Cost {
        before,
        after,
        peak,
    });
    let mut all = Tally::new();
    for thread in threads {
        let tally = thread.join().map_err(|_| "a worker failed")?;
        all.add(tally.map_err(|error| error.to_string())?);
    }
    Ok((all, cost))
}

/// Writes to standard error, if that is there.
fn tell(text: &str) {
    drop(write!(io::stderr(), "{text}"));
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Files that this process has open beside the devices' sockets, and some more.
const SPARE_FILES: u32 = 100;
/// Wrong usage (`sysexits.h`).
const EX_USAGE: u8 = 64;

//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Plays many CoAP devices against an adapter on this machine, and tells what it bears.
///
/// `load run telemetry` starts an AMQP network, a device registry and the adapter that was built beside it, and plays.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Play a scenario. Exits with 1 if anything failed, was lost or came twice.
    Run(Box<Options>),
    /// Print the scenarios that can be played by name.
    Scenarios,
    /// Print the tenant with all devices, for `coap-adapter sandbox --world`.
    World {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        devices: u32,
        /// Let devices have certificates, too: make who issues them, and write its name and key there, for `run --authority`.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
    },
    /// Be the AMQP network and the registry of all devices until standard input ends, for an adapter that is started by hand.
    Network {
        /// How many there are.
        #[arg(long, default_value_t = 1000)]
        devices: u32,
        /// Where to listen.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5672")]
        amqp: SocketAddr,
        /// Who issues certificates, as `load world --authority` wrote it.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct Options {
    /// One of `load scenarios`, or a YAML file such as those in tools/load/scenarios.
    pub(crate) scenario: String,
    /// Instead of what the scenario says.
    #[arg(long, help_heading = SCENARIO)]
    pub(crate) devices: Option<u32>,
    /// What all devices together do a second, in the mixture that the scenario says.
    #[arg(long, help_heading = SCENARIO)]
    pub(crate) rate: Option<f64>,
    /// Seconds, instead of what the scenario says.
    #[arg(long, help_heading = SCENARIO)]
    pub(crate) duration: Option<f64>,
    /// The share of datagrams to lose in each direction, instead of what the scenario says.
    #[arg(long, help_heading = SCENARIO)]
    pub(crate) loss: Option<f64>,
    /// Seconds without load at the end, instead of what the scenario says.
    #[arg(long, help_heading = SCENARIO)]
    pub(crate) rest: Option<f64>,
    /// Seconds after which the network is killed and started again, instead of what the scenario says.
    #[arg(long, value_name = "SECONDS", help_heading = SCENARIO)]
    pub(crate) restart_network: Option<f64>,
    /// The same seed has the same arrivals and loses the same datagrams of a device.
    #[arg(long, default_value_t = 1, help_heading = SCENARIO)]
    pub(crate) seed: u64,
    /// Threads that the devices share.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = SCENARIO)]
    pub(crate) workers: u32,
    /// Draw latencies and throughput there.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) svg: Option<PathBuf>,
    /// Write the numbers there.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) json: Option<PathBuf>,
    /// Look at the adapter's memory and gauges every 5 s, and write them there.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) csv: Option<PathBuf>,
    /// Where a server listens for DTLS. With it or `--coap`, nothing is started.
    #[arg(long, value_name = "ADDR", help_heading = SERVER)]
    pub(crate) coaps: Option<SocketAddr>,
    /// Where a server listens without security.
    #[arg(long, value_name = "ADDR", help_heading = SERVER)]
    pub(crate) coap: Option<SocketAddr>,
    /// Where the AMQP network listens, from which the application receives.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:5672",
        help_heading = SERVER
    )]
    pub(crate) amqp: SocketAddr,
    /// Attach no application: somebody else receives.
    #[arg(long, help_heading = SERVER)]
    pub(crate) no_consumer: bool,
    /// The server's process, to tell what it costs.
    #[arg(long, help_heading = SERVER)]
    pub(crate) pid: Option<u32>,
    /// Who issues certificates, as `load world --authority` wrote it.
    #[arg(long, value_name = "FILE", help_heading = SERVER)]
    pub(crate) authority: Option<PathBuf>,
    /// The PSK identity, with `{}` for the device's number, for a server with other devices than those of `load world`.
    #[arg(long, help_heading = SERVER)]
    pub(crate) identity: Option<String>,
    /// Likewise the key.
    #[arg(long, help_heading = SERVER)]
    pub(crate) key: Option<String>,
}

impl Options {
    /// Whether there is a server, so that none has to be started.
    pub(crate) const fn names_a_server(&self) -> bool {
        self.coaps.is_some() || self.coap.is_some()
    }
}

const SCENARIO: &str = "What is played";
const OUTPUT: &str = "What comes of it";
const SERVER: &str = "A server that runs already";

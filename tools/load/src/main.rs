//! `load`: many devices that do what a scenario says, at a rate that does not wait for answers, and what came of it.
//!
//! ```text
//! scenario ─> worker: arrivals ─> Device (DTLS, CoAP) ─> loss ─> UDP ─> the adapter ─> AMQP ─> Consumer
//!                                   └──────── Tally ─────> Report <──────── Arrived ──────────────┘
//! ```
//!
//! It speaks to this machine only. A latency counts from the moment a request was meant to be sent, not from when a busy device got
//! round to it, so that a server that stalls does not look fast.

mod options;
mod library;
mod scenario;
mod world;
mod credentials;
mod stage;
mod run;
mod random;
mod coap;
mod device;
mod network;
mod worker;
mod tally;
mod application;
mod process;
mod watch;
mod http;
mod histogram;
mod progress;
mod report;
mod picture;

use std::{
    io::{self, IsTerminal, Read, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use sandbox::{Sandbox, SandboxConfig};
use tokio::runtime::Builder;

use self::{
    credentials::Authority,
    options::{Cli, Command},
};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Scenarios => print_scenarios(),
        Command::World { devices, authority } => print_world(devices, authority.as_deref()),
        Command::Network {
            devices,
            amqp,
            authority,
        } => network(devices, amqp, authority.as_deref()),
        Command::Run(options) => run::execute(&options),
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

fn print_scenarios() -> Result<bool, String> {
    let mut output = io::stdout();
    let mut lines = library::lines();
    let written = lines.try_for_each(|line| output.write_all(line.as_bytes()));
    written.map_err(|error| error.to_string())?;
    Ok(true)
}

fn print_world(devices: u32, authority: Option<&Path>) -> Result<bool, String> {
    let authority = authority.map(Authority::create).transpose()?;
    let output = io::BufWriter::new(io::stdout());
    world::write(output, devices, authority.as_ref()).map_err(|error| error.to_string())?;
    Ok(true)
}

/// Until standard input ends, that is as long as who started it lives.
fn network(devices: u32, amqp: SocketAddr, authority: Option<&Path>) -> Result<bool, String> {
    let authority = authority.map(Authority::read).transpose()?;
    let world = world::world(devices, authority.as_ref());
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut config = SandboxConfig::new(amqp, world);
        config.link_credit = LINK_CREDIT;
        let sandbox = Sandbox::start(config)
            .await
            .map_err(|error| error.to_string())?;
        let ended = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
        drop(ended.await);
        sandbox.stop().await;
        Ok(true)
    })
}

/// Writes to standard error, if that is there.
fn tell(text: &str) {
    drop(write!(io::stderr(), "{text}"));
}

/// Shows how far it is, where somebody looks on.
fn show(text: &str) {
    if io::stderr().is_terminal() {
        tell(text);
    }
}

/// What comes in a pause of some hundred milliseconds, as a machine has that plays everything at once, at thousands of messages a second.
/// A router grants 250 by default, ActiveMQ Artemis 1000 (`amqpCredits`); messages beyond that are
/// refused.
const LINK_CREDIT: u32 = 4000;
/// Wrong usage (`sysexits.h`).
const EX_USAGE: u8 = 64;

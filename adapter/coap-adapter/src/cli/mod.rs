//! The command line: subcommands, options and error messages.

pub(crate) mod run;
#[cfg(feature = "sandbox")]
pub(crate) mod sandbox;
pub(crate) mod check_config;
pub(crate) mod config_schema;
#[cfg(feature = "sandbox")]
pub(crate) mod send;
pub(crate) mod doctor;
pub(crate) mod docs_table;
mod logging;
mod marker;
pub(crate) mod process;
mod reconfigure;
mod signals;

use std::{
    ffi::OsString,
    fmt,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use adapter::{app::StartError, config::Problem};
use clap::{Args, Parser, Subcommand};

/// CoAP/DTLS protocol adapter that forwards device messages over AMQP 1.0.
#[derive(Debug, Parser)]
#[command(name = "coap-adapter", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve devices, using the services in the configuration.
    Run(ConfigOptions),
    /// Run adapter, AMQP network, registry and application in one process, for trying things out.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::SandboxOptions),
    /// Print the effective configuration with the source of each value, and every error.
    CheckConfig(ConfigOptions),
    /// Print the JSON Schema of the configuration file.
    ConfigSchema,
    /// Print a table of the documentation.
    #[command(hide = true)]
    DocsTable {
        /// The table.
        #[arg(value_enum)]
        table: docs_table::Table,
    },
    /// Connect as a device would and report each step; also a small CoAP client.
    Doctor(Box<doctor::DoctorOptions>),
    /// Send a command to a device over AMQP, as an application would, and print its outcome.
    #[cfg(feature = "sandbox")]
    Send(send::SendOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    /// YAML file with settings; environment variables such as `HONO_COAP_PORT` override it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is invalid, or help was requested.
    #[error(transparent)]
    Usage(clap::Error),
    /// Settings are invalid.
    #[error("{}", listed(.0))]
    Config(Vec<Problem>),
    /// The world file is invalid.
    #[error("{}", listed(.0))]
    #[cfg(feature = "sandbox")]
    World(Vec<::sandbox::world::Problem>),
    /// Flags or variables are invalid or contradict each other.
    #[error("{0}")]
    Wrong(String),
    /// A port is in use.
    #[error("{0}")]
    #[cfg(feature = "sandbox")]
    PortBusy(String),
    /// The adapter did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The sandbox or its scene failed.
    #[error(transparent)]
    #[cfg(feature = "sandbox")]
    Sandbox(#[from] ::sandbox::Error),
    /// The adapter does not reach the sandbox.
    #[error("the adapter did not become ready within {0:?}")]
    #[cfg(feature = "sandbox")]
    NotReady(std::time::Duration),
    /// The requested operation failed.
    #[error("{0}")]
    Failed(String),
    /// A file or the output failed.
    #[error("{0}")]
    Io(String, #[source] io::Error),
}

impl Error {
    /// 64 if another command line or configuration can fix it (`EX_USAGE`), otherwise 1.
    fn exit_code(&self) -> ExitCode {
        match self {
            #[cfg(feature = "sandbox")]
            Self::World(_) => ExitCode::from(EX_USAGE),
            Self::Usage(error) if !error.use_stderr() => ExitCode::SUCCESS,
            Self::Usage(_)
            | Self::Config(_)
            | Self::Wrong(_)
            | Self::Start(
                StartError::Missing(_)
                | StartError::Connection { .. }
                | StartError::Identity { .. }
                | StartError::Key { .. }
                | StartError::Sessions(_),
            ) => ExitCode::from(EX_USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Prints the error and returns its exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    match error {
        // Help and versions go where they belong by themselves.
        Error::Usage(error) => drop(error.print()),
        Error::Config(_) => tell(&error.to_string()),
        #[cfg(feature = "sandbox")]
        Error::World(_) => tell(&error.to_string()),
        _ => tell(&format!("coap-adapter: {}", chain(error))),
    }
    error.exit_code()
}

/// Writes a line to standard error, ignoring failures.
pub(crate) fn tell(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Writes to standard output; a closed pipe is not an error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io("cannot write".to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// The error and its causes, without repetitions.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn listed<T: fmt::Display>(problems: &[T]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("error: {problem}"))
        .collect();
    lines.join("\n")
}

/// The variables of the environment that are valid UTF-8, as all settings are.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text)
}

/// Usage error (`sysexits.h`).
const EX_USAGE: u8 = 64;

//! The command line: what can be asked for, and what is told when it cannot be done.

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
mod process;
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

/// Takes what constrained devices say over CoAP and DTLS, and hands it to AMQP 1.0.
#[derive(Debug, Parser)]
#[command(name = "coap-adapter", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve devices, with the services that the configuration names.
    Run(ConfigOptions),
    /// Serve devices on this machine alone, with everything else inside, and show what happens.
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::SandboxOptions),
    /// Show the configuration with the origin of each value, and every mistake in it.
    CheckConfig(ConfigOptions),
    /// Print the JSON Schema of the configuration file.
    ConfigSchema,
    /// Print a table of the documentation.
    #[command(hide = true)]
    DocsTable {
        /// Of what.
        #[arg(value_enum)]
        table: docs_table::Table,
    },
    /// Do what a device does, step by step, and tell where and why it ends; also a small CoAP client.
    Doctor(Box<doctor::DoctorOptions>),
    /// Send a command to a device by AMQP, as an application does, and show what becomes of it.
    #[cfg(feature = "sandbox")]
    Send(send::SendOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigOptions {
    /// YAML file with settings; environment variables such as `HONO_COAP_PORT` outdo it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or help was asked for.
    #[error(transparent)]
    Usage(clap::Error),
    /// Settings are wrong.
    #[error("{}", listed(.0))]
    Config(Vec<Problem>),
    /// The world file is wrong.
    #[error("{}", listed(.0))]
    #[cfg(feature = "sandbox")]
    World(Vec<::sandbox::world::Problem>),
    /// Two flags or variables do not go together, or one cannot be understood.
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
    /// What was asked for was tried, and did not work.
    #[error("{0}")]
    Failed(String),
    /// A file or the output does not work.
    #[error("{0}")]
    Io(String, #[source] io::Error),
}

impl Error {
    /// 64 if the one who called can mend it by calling or configuring otherwise (`EX_USAGE`), else 1.
    fn exit_code(&self) -> ExitCode {
        match self {
            #[cfg(feature = "sandbox")]
            Self::World(_) => ExitCode::from(EX_USAGE),
            Self::Usage(told) if !told.use_stderr() => ExitCode::SUCCESS,
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

/// Tells why, and by which exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    match error {
        // Help and versions go where they belong by themselves.
        Error::Usage(told) => drop(told.print()),
        Error::Config(_) => tell(&error.to_string()),
        #[cfg(feature = "sandbox")]
        Error::World(_) => tell(&error.to_string()),
        _ => tell(&format!("coap-adapter: {}", chain(error))),
    }
    error.exit_code()
}

/// Writes a line to standard error, if that is there.
pub(crate) fn tell(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Writes to standard output; whoever does not listen any more is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io("cannot write".to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// The error and what caused it, each once.
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

/// The environment as far as it is text; no setting is anything else.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text)
}

/// Wrong usage (`sysexits.h`).
const EX_USAGE: u8 = 64;

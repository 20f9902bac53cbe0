//! `coap-adapter`: reads the command line, does what it says, and tells by the exit code how that went.

mod cli;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use mimalloc::MiMalloc;

use self::cli::{Cli, Command, Error};

/// Faster than the system's at what a request takes, and after many have waited it gives memory back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => execute(cli.command),
        Err(error) => Err(Error::Usage(error).into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(known) => cli::report(known),
            None => {
                cli::tell(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match &command {
        Command::CheckConfig(options) => return Ok(cli::check_config::execute(options)?),
        Command::DocsTable { table } => return Ok(cli::docs_table::execute(*table)?),
        Command::ConfigSchema => return Ok(cli::config_schema::execute()?),
        _ => {}
    }
    // Before threads start: a page stays huge once it is.
    cli::process::disable_huge_pages();
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let result = match command {
        Command::Run(options) => runtime.block_on(cli::run::execute(&options)),
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => runtime.block_on(cli::sandbox::execute(options)),
        Command::Doctor(options) => runtime.block_on(cli::doctor::execute(*options)),
        #[cfg(feature = "sandbox")]
        Command::Send(options) => runtime.block_on(cli::send::execute(options)),
        Command::CheckConfig(_) | Command::ConfigSchema | Command::DocsTable { .. } => Ok(()),
    };
    runtime.shutdown_background();
    Ok(result?)
}

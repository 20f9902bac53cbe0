//! A command that must succeed; prints it before it runs, and its duration afterwards.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

/// The cargo that runs this helper.
pub(crate) fn cargo<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    command
}

/// Runs `command` with its output shown.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    println!("xtask: {line}");
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("`{line}` does not start"))?;
    ensure!(status.success(), "`{line}` ended with {status}");
    println!("xtask: that took {} s", started.elapsed().as_secs());
    Ok(())
}

/// Runs `command` and gives what it writes.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command
        .output()
        .with_context(|| format!("`{line}` does not start"))?;
    ensure!(
        output.status.success(),
        "`{line}` ended with {}",
        output.status
    );
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` does not write text"))
}

fn command_line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

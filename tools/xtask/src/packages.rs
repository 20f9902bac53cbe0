//! Packages of a Debian system that a step needs.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::step;

/// A package, and a command that succeeds only if it is there.
pub(crate) type Package = (&'static str, &'static [&'static str]);

/// Installs those that are not there.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing = packages.iter().filter(|(_, trial)| !succeeds(trial));
    let missing: Vec<&str> = missing.map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    step::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing);
    step::run(
        install
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null()),
    )
}

/// Whether a command can be run and ends well.
pub(crate) fn succeeds(words: &[&str]) -> bool {
    let Some((program, words)) = words.split_first() else {
        return false;
    };
    let mut trial = Command::new(program);
    trial
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

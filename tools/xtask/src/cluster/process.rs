//! A process with a log of its own, which ends with its owner.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A running program.
pub(super) struct Process {
    pub(super) child: Child,
}

impl Process {
    /// Starts it; what it says goes to `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        Ok(Self { child })
    }

    /// Whether it is still there.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) -> Result<()> {
        let mut kill = Command::new("kill");
        crate::step::output(kill.args(["-s", "TERM", &self.child.id().to_string()])).map(drop)
    }

    /// Ends it now.
    pub(super) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again, until it is so or too late.
pub(super) fn until(what: &str, limit: Duration, mut so: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !so() {
        if started.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

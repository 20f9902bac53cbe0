//! Signals to end (Ctrl-C, or SIGTERM from a service manager), or to reload files (SIGHUP).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the process was started to continue without its terminal, as by `nohup`. To
/// be asked before [`Signals::new`], which takes the signal over.
#[cfg(feature = "sandbox")]
pub(super) fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first signal is SIGHUP.
    mask.is_some_and(|mask| mask & 1 != 0)
}

/// Listens from its creation on, so that no signal is missed.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// The action that a signal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// End.
    End,
    /// Read files again.
    Reload,
}

impl Signals {
    /// Takes the signals over.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Action {
        tokio::select! {
            _ = self.interrupt.recv() => Action::End,
            _ = self.terminate.recv() => Action::End,
            _ = self.hang_up.recv() => Action::Reload,
        }
    }

    /// Waits for the next one that says to end.
    pub(super) async fn end(&mut self) {
        while self.next().await != Action::End {}
    }
}

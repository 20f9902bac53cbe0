//! What a server process has cost so far, as Linux tells it.

use std::fs;

/// A moment in the life of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds of a CPU, in user and kernel mode.
    pub(crate) cpu: f64,
    /// Kilobytes that are in memory.
    pub(crate) resident: u64,
}

impl Usage {
    /// None if there is no such process, or no Linux.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it may hold anything, also blanks.
        let (_, behind) = stat.rsplit_once(')')?;
        let ticks = |place| behind.split_whitespace().nth(place)?.parse::<u32>().ok();
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            cpu: (f64::from(ticks(11)?) + f64::from(ticks(12)?)) / TICKS,
            resident: resident.trim().strip_suffix("kB")?.trim().parse().ok()?,
        })
    }
}

/// `USER_HZ` of Linux on all usual machines.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_seen() {
        let usage = super::Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 100);
    }
}

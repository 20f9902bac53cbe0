//! A server's process, and what it costs.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Ended when dropped.
pub(crate) struct ServerProcess {
    pub(crate) address: SocketAddr,
    /// Whether it proves itself with a certificate, and wants one.
    pub(crate) certified: bool,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ServerProcess {
    /// Waits until it says that it listens.
    pub(crate) fn start(command: &[String], pem: &str) -> Self {
        // Free a moment ago; nobody else takes it so soon.
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .args([&address.port().to_string(), pem])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Java's loggers complain that there are none.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "listening");
        Self {
            address,
            certified: pem != "-",
            process,
            lines,
        }
    }

    /// What all its threads have had of the processor. A thread's time is complete when it sleeps.
    pub(crate) fn cpu_time(&self) -> Duration {
        std::thread::sleep(Duration::from_millis(20));
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let of_task = |path: std::path::PathBuf| {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().unwrap_or_default();
            first.parse().unwrap_or(0)
        };
        Duration::from_nanos(tasks.flatten().map(|task| of_task(task.path())).sum())
    }

    /// Bytes of it in memory; of a server with a collector, what it holds after it has collected.
    pub(crate) fn memory(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        if status.starts_with("Name:\tjava") {
            let input = self.process.stdin.as_mut().unwrap();
            writeln!(input, "heap").unwrap();
            return self.lines.next().unwrap().unwrap().parse().unwrap();
        }
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

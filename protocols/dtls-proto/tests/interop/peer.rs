//! Another stack's program, run with its input and output in our hands.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use crate::server::TIMEOUT;

/// A running program; it is ended when dropped.
pub(crate) struct Peer {
    process: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Peer {
    /// `None`, and a loud word about it, if there is no such program; `package` is what brings it.
    pub(crate) fn start(command: &mut Command, package: &str) -> Option<Self> {
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = spawned else {
            let program = command.get_program().display();
            assert!(!is_required(), "{program} of {package} is not there");
            eprintln!("SKIPPED: this test needs {program} (Debian: apt-get install {package})");
            return None;
        };
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(process.stdout.take().unwrap()),
            Box::new(process.stderr.take().unwrap()),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Some(Self {
            process,
            lines,
            seen: String::new(),
        })
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                    if found {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} in:\n{}", self.seen)
                }
            }
        }
    }

    pub(crate) fn output(&mut self) -> String {
        self.seen
            .extend(self.lines.try_iter().map(|line| line + "\n"));
        self.seen.clone()
    }
}

/// Whether a program that is missing is a fault.
pub(crate) fn is_required() -> bool {
    std::env::var_os("INTEROP_REQUIRED").is_some()
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

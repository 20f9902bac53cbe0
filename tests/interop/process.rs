//! A program of others while it runs: its lines as they come, and its end when we leave it.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// Starts it; what it writes to either output becomes one stream of lines.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let name = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let (sender, lines) = mpsc::channel(LINES);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(forward(output, sender.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(forward(output, sender));
        }
        let input = child.stdin.take();
        Ok(Self {
            name,
            child,
            input,
            lines,
        })
    }

    /// The next line; none if none comes in time or the program has ended.
    pub(crate) async fn line(&mut self, within: Duration) -> Option<String> {
        timeout(within, self.lines.recv()).await.ok().flatten()
    }

    /// Everything it writes until it ends.
    pub(crate) async fn rest(&mut self, within: Duration) -> Result<String, String> {
        self.input = None;
        let mut text = String::new();
        let reading = async {
            while let Some(line) = self.lines.recv().await {
                text += &line;
                text.push('\n');
            }
        };
        let ended = timeout(within, reading).await;
        ended.map_err(|_| format!("{} did not end in time; it wrote:\n{text}", self.name))?;
        Ok(text)
    }

    /// Gives it bytes to read.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(input) = &mut self.input else {
            return Err(format!("{} reads no more", self.name));
        };
        let written = async {
            input.write_all(bytes).await?;
            input.flush().await
        };
        written
            .await
            .map_err(|error| format!("{} does not read: {error}", self.name))
    }

    /// Lets it end by itself, as its input has ended.
    pub(crate) async fn leave(mut self) {
        self.input = None;
        if timeout(FAREWELL, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it at once, whatever it is doing.
    pub(crate) async fn kill(mut self) {
        // It may have ended before.
        drop(self.child.kill().await);
    }
}

async fn forward(output: impl AsyncRead + Unpin, sender: mpsc::Sender<String>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|length| length > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if sender.send(text).await.is_err() {
            return;
        }
        line.clear();
    }
}

/// Lines that nobody read yet; a program that writes more has to wait.
const LINES: usize = 10_000;
const FAREWELL: Duration = Duration::from_secs(5);

//! The servers, and how each is made to be there.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::ServerProcess;

/// A kind of server.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// How many handshakes it is given at a time.
    pub(crate) at_a_time: u32,
    command: Vec<String>,
}

impl Kind {
    /// Starts one with this PEM file, or `-` for a key.
    pub(crate) fn start(&self, pem: &str) -> ServerProcess {
        ServerProcess::start(&self.command, pem)
    }
}

/// Those that can be started here.
pub(crate) fn all() -> Vec<Kind> {
    let this = std::env::current_exe().unwrap();
    let mut all = Vec::new();
    let mut add = |name, at_a_time, needs: &str, command: Option<Vec<String>>| match command {
        Some(command) => all.push(Kind {
            name,
            at_a_time,
            command,
        }),
        None => println!("SKIPPED {name}: it needs {needs}"),
    };
    add("this", 50, "nothing", Some(command(&this, &["serve"])));
    add("openssl", 50, "a C compiler and libssl-dev", openssl());
    add(
        "scandium",
        50,
        "javac, and what `--test matrix` fetches",
        scandium(),
    );
    // It shakes hands with one client at a time, and loses what the others send meanwhile.
    add("webrtc", 1, "cargo, and the registry of crates", webrtc());
    all
}

fn command(program: &Path, words: &[&str]) -> Vec<String> {
    let words = words.iter().map(|word| (*word).to_owned());
    std::iter::once(program.to_str().unwrap().to_owned())
        .chain(words)
        .collect()
}

fn openssl() -> Option<Vec<String>> {
    let program = target().join("openssl-server");
    succeeds(
        Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-o"])
            .arg(&program)
            .args(["benches/beside/openssl.c", "-lssl", "-lcrypto"]),
    )?;
    Some(command(&program, &[]))
}

/// The jars are those of the tests.
fn scandium() -> Option<Vec<String>> {
    let folder = target().join("scandium");
    let class_path = format!("{0}:{0}/*", folder.display());
    succeeds(
        Command::new("javac")
            .args(["-cp", &class_path, "-d"])
            .arg(&folder)
            .arg("benches/beside/ScandiumServer.java"),
    )?;
    let words = ["-Xmx512m", "-cp", &class_path, "ScandiumServer"];
    Some(command(Path::new("java"), &words))
}

/// Optimised, other than for the tests.
fn webrtc() -> Option<Vec<String>> {
    let folder = target().join("../interop/webrtc");
    succeeds(
        Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--manifest-path",
            ])
            .arg("tests/matrix/webrtc/Cargo.toml")
            .arg("--target-dir")
            .arg(&folder),
    )?;
    Some(command(&folder.join("release/webrtc-peer"), &["server"]))
}

fn succeeds(command: &mut Command) -> Option<()> {
    let status = command.stdin(Stdio::null()).status().ok()?;
    status.success().then_some(())
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

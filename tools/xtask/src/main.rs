//! Build helper: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask coverage`, `cargo xtask interop`,
//! `cargo xtask bench`, `cargo xtask counts`, `cargo xtask chart`,
//! `cargo xtask image`, `cargo xtask cluster`.
//!
//! Everything that proves the workspace right can be run from here; `.ci/run` does no more than call it.
#![expect(clippy::print_stdout, reason = "a build helper talks to people")]

mod ci;
mod tidy;
mod coverage;
mod interop;
mod californium;
mod bench;
mod counts;
mod chart;
mod image;
mod cluster;
mod manifest;
mod packages;
mod step;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words {
        ["ci"] => ci::run(),
        ["tidy"] => tidy::run(),
        ["coverage"] => coverage::run(),
        ["interop", ref further @ ..] => interop::run(further),
        ["bench", ref rates @ ..] => bench::run(rates),
        ["counts", ref names @ ..] => counts::run(names),
        ["chart", ref further @ ..] => chart::run(further),
        ["image", ref further @ ..] => image::run(further),
        ["cluster", ref further @ ..] => cluster::run(further),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(EX_USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
cargo xtask ci       format, lints, tidy, tests and documentation; what must be green before a change lands
cargo xtask tidy     dependencies that must not be, duplicate versions, licences, machine paths
cargo xtask coverage the lines of the specification, what proves each, and the gaps
cargo xtask interop  install independent clients, consumers and a broker, then test against them;
                     further words go to the test runner
cargo xtask bench    load the adapter, the floor, Eclipse Hono's adapter and Californium in turn, at the rates given, and print what
                     each cost
cargo xtask counts   count the instructions of each hot operation and compare them with benches/counts/pinned.md; names
                     restrict it to these; with UPDATE_COUNTS=1 in the environment, pin what was counted
cargo xtask chart    the Helm chart: what is generated, every profile, wrong values; builds Helm with Go once;
                     --write writes what is generated
cargo xtask image    the file system of the container image, by the steps of deploy/Dockerfile, and whether the adapter runs
                     in it; --debug takes the unoptimised binary
cargo xtask cluster  the chart against a real API server, and a rolling update under live devices, measured; as root;
                     builds the control plane with Go once (half an hour); profiles or rolling does only that part";
/// A command was used wrongly (`sysexits.h`).
const EX_USAGE: u8 = 64;

//! Replays exchanges that were recorded from Hono, and compares what device and application
//! receive.
//!
//! Each case has its own sandbox and adapter on free ports of this machine. `GOLDEN_DIR=<folder>` replays another folder with
//! `setup.json` and `cases/`.
#![expect(clippy::print_stdout, reason = "a test runner talks to people")]

mod replay;
mod commands;

use std::{process::ExitCode, sync::Arc};

use acceptance::golden::{Case, Folder};
use libtest_mimic::{Arguments, Failed, Trial};
use sandbox::world::World;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A case waits most of its time.
    arguments.test_threads.get_or_insert(4);
    let (world, cases) = match load(&Folder::chosen()) {
        Ok(loaded) => loaded,
        Err(mistake) => {
            println!("golden: {mistake}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            println!("golden: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let count = cases.len();
    let trials = cases
        .into_iter()
        .map(|case| trial(case, world.clone(), Arc::clone(&runtime)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    println!("golden: {count} recorded exchanges are replayed");
    conclusion.exit_code()
}

fn load(folder: &Folder) -> Result<(World, Vec<Case>), String> {
    let setup = folder.setup().map_err(|error| error.to_string())?;
    let world = World::from_golden_setup(&setup).map_err(|error| format!("setup.json: {error}"))?;
    let cases = folder.cases().map_err(|error| error.to_string())?;
    if cases.is_empty() {
        return Err("there is no case".to_owned());
    }
    Ok((world, cases))
}

fn trial(case: Case, world: World, runtime: Arc<Runtime>) -> Trial {
    let name = case.name.clone();
    Trial::test(name, move || {
        runtime
            .block_on(replay::replay(&case, world))
            .map_err(Failed::from)
    })
}

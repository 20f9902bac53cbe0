//! Replays exchanges that were recorded from the reference adapter, and compares what the device and the application get.
//!
//! Each case has its own sandbox and adapter on free ports of this machine. `GOLDEN_DIR=<folder>` replays another folder with
//! `setup.json` and `cases/`. A case that needs an ability the adapter is yet to get is listed as ignored, with what it waits
//! for; `-- --include-ignored` runs it nevertheless.
#![expect(clippy::print_stdout, reason = "a test runner talks to people")]

mod replay;
mod commands;

use std::{process::ExitCode, sync::Arc};

use acceptance::golden::{Case, Feature, Folder};
use libtest_mimic::{Arguments, Failed, Trial};
use sandbox::world::World;
use tokio::runtime::Runtime;

/// What the adapter cannot do yet.
const AWAITED: [Feature; 1] = [Feature::MessageLimits];

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
    let summary = summary(&cases);
    let trials = cases
        .into_iter()
        .map(|case| trial(case, world.clone(), Arc::clone(&runtime)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    println!("{summary}");
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
    let (name, awaited) = (case.name.clone(), awaited(&case));
    let run = move || {
        runtime
            .block_on(replay::replay(&case, world))
            .map_err(Failed::from)
    };
    match awaited {
        None => Trial::test(name, run),
        Some(feature) => Trial::test(name, run)
            .with_kind(format!("waits for {feature}"))
            .with_ignored_flag(true),
    }
}

fn awaited(case: &Case) -> Option<Feature> {
    AWAITED
        .into_iter()
        .find(|feature| feature.is_needed_by(case))
}

fn summary(cases: &[Case]) -> String {
    let waiting: Vec<Feature> = cases.iter().filter_map(awaited).collect();
    let mut text = format!(
        "golden: {} of {} recorded exchanges are replayed",
        cases.len() - waiting.len(),
        cases.len()
    );
    for feature in AWAITED {
        let count = waiting
            .iter()
            .filter(|awaited| **awaited == feature)
            .count();
        if count > 0 {
            text += &format!("; {count} wait for {feature}");
        }
    }
    text
}

//! The instructions of each hot operation, counted by valgrind, held to what is pinned in `benches/counts/pinned.md`.
//!
//! `cargo xtask counts NAME...` counts these only; with `UPDATE_COUNTS=1` what was counted is pinned.

mod pinned;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

use self::pinned::{Pinned, Row};
use crate::{
    packages::{self, Package},
    step::{self, cargo},
};

pub(crate) fn run(names: &[&str]) -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    if let Err(error) = packages::install(&[VALGRIND]) {
        println!("xtask: SKIPPED: no instruction is counted, for there is no valgrind: {error:#}");
        return Ok(());
    }
    step::run(&mut cargo(BUILD.split(' ')))?;
    let bench = Bench::new(metadata.target_directory.as_std_path())?;
    let path = metadata.workspace_root.as_std_path().join(PINNED);
    let pinned = Pinned::parse(&fs::read_to_string(&path).unwrap_or_default())?;
    let (processor, subjects) = (bench.processor()?, bench.subjects()?);
    let update = std::env::var_os("UPDATE_COUNTS").is_some_and(|value| value == "1");
    if !update && pinned.processor != processor {
        println!(
            "xtask: SKIPPED: no instruction is counted, for what is pinned is for a processor with\n  {}\nand this one has\n  {processor}",
            pinned.processor
        );
        return Ok(());
    }
    let mut rows = Vec::new();
    for (name, what) in subjects {
        if names.is_empty() || names.contains(&name.as_str()) {
            let instructions = bench.count(&name)?;
            println!("{name:<32}{instructions:>10}");
            rows.push(Row {
                name,
                instructions,
                what,
            });
        }
    }
    ensure!(!rows.is_empty(), "there is no such operation");
    let counted = Pinned { processor, rows };
    if update {
        let all = if names.is_empty() {
            counted
        } else {
            pinned.with(counted)
        };
        return fs::write(&path, all.to_string())
            .with_context(|| format!("cannot write {}", path.display()));
    }
    let mut faults = pinned.dearer(&counted);
    faults.extend(counted.growing());
    if names.is_empty() {
        faults.extend(pinned.strangers(&counted));
    }
    for gain in pinned.cheaper(&counted) {
        println!("counts: NOTE: {gain}; `{UPDATE}` keeps it so");
    }
    for fault in &faults {
        println!("counts: {fault}");
    }
    ensure!(
        faults.is_empty(),
        "{} faults in what operations cost; `callgrind_annotate {}/NAME.out` tells where it goes, `{UPDATE}` pins what was counted",
        faults.len(),
        bench.folder.display()
    );
    println!(
        "xtask: {} operations cost what is pinned, or less",
        counted.rows.len()
    );
    Ok(())
}

/// The program that does each operation by itself.
struct Bench {
    program: PathBuf,
    /// Where callgrind's profiles go.
    folder: PathBuf,
}

impl Bench {
    fn new(target: &Path) -> Result<Self> {
        let program = target.join("counts/counts");
        let folder = target.join("callgrind");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { program, folder })
    }

    /// The names of operations, and what they are.
    fn subjects(&self) -> Result<Vec<(String, String)>> {
        let list = step::output(Command::new(&self.program).arg("list"))?;
        let subjects = list.lines().filter_map(|line| line.split_once('\t'));
        Ok(subjects
            .map(|(name, what)| (name.to_owned(), what.to_owned()))
            .collect())
    }

    /// What the processor that valgrind plays offers to code that asks for it.
    fn processor(&self) -> Result<String> {
        let mut valgrind = valgrind("none");
        valgrind.arg(&self.program).arg("processor");
        Ok(step::output(&mut valgrind)?.trim().to_owned())
    }

    /// The instructions of one operation, on average.
    fn count(&self, name: &str) -> Result<u64> {
        let profile = self.folder.join(format!("{name}.out"));
        let mut file = std::ffi::OsString::from("--callgrind-out-file=");
        file.push(&profile);
        let mut valgrind = valgrind("callgrind");
        valgrind
            .arg("--toggle-collect=*instructions_counted*")
            .arg(file);
        valgrind.arg(&self.program).arg(name);
        let operations: u64 = step::output(&mut valgrind)?.trim().parse()?;
        let profile = fs::read_to_string(&profile)
            .with_context(|| format!("cannot read {}", profile.display()))?;
        let total = profile
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .context("callgrind tells no total")?;
        let total: u64 = total.trim().parse()?;
        ensure!(total > 0 && operations > 0, "{name} counted nothing");
        Ok((total + operations / 2) / operations)
    }
}

/// Nothing of this process's environment changes what the program does.
fn valgrind(tool: &str) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .env_clear()
        .arg("--quiet")
        .arg(format!("--tool={tool}"));
    valgrind.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    valgrind
}

const VALGRIND: Package = ("valgrind", &["valgrind", "--version"]);
const BUILD: &str = "build --locked --profile counts -p counts";
const PINNED: &str = "benches/counts/pinned.md";
const UPDATE: &str = "UPDATE_COUNTS=1 cargo xtask counts";

//! The container image without a container engine: its root file system is made by the very steps of `deploy/Dockerfile`, and the binary
//! is run in it, alone, as nobody, unable to write.

mod bill;
mod dockerfile;
mod compose;
mod rootfs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use self::rootfs::Rootfs;
use crate::step;

/// `--into FOLDER` makes the file system there, as the build of the image does; without, it is made beside what cargo builds, and the
/// image's recipe is checked, too. `--debug` takes the unoptimised binary. The binary is of the production form, unless `--sandbox`
/// stands last.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (form, words) = match *words {
        [ref rest @ .., "--sandbox"] => (Form::Sandbox, rest),
        _ => (Form::Production, words),
    };
    let metadata = metadata(form)?;
    let target = metadata.target_directory.as_std_path().to_owned();
    let (folder, profile, check) = match *words {
        ["--into", folder] => (PathBuf::from(folder), "release", false),
        [] => (target.join("image"), "release", true),
        ["--debug"] => (target.join("image"), "debug", true),
        _ => bail!(
            "`cargo xtask image` takes `--into FOLDER` or `--debug`, and `--sandbox` after that"
        ),
    };
    let root = metadata.workspace_root.as_std_path();
    let rootfs = fill(&metadata, &folder, profile, form)?;
    if check {
        let recipe = fs::read_to_string(root.join("deploy/Dockerfile")).context("no Dockerfile")?;
        complain(&dockerfile::faults(&recipe))?;
        rootfs.starts()?;
        complain(&compose::faults(&root.join("deploy"), &rootfs)?)?;
    }
    Ok(())
}

/// Makes the file system beside what cargo builds.
pub(crate) fn make(profile: &str) -> Result<()> {
    let metadata = metadata(Form::Production)?;
    let folder = metadata.target_directory.as_std_path().join("image");
    fill(&metadata, &folder, profile, Form::Production).map(drop)
}

/// What is linked into the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The adapter and its device-side tools.
    Production,
    /// Also the sandbox.
    Sandbox,
}

impl Form {
    /// The flag that cargo builds it by.
    const fn flag(self) -> &'static str {
        match self {
            Self::Production => "--no-default-features",
            Self::Sandbox => "--features=coap-adapter/sandbox",
        }
    }
}

fn fill(metadata: &Metadata, folder: &Path, profile: &str, form: Form) -> Result<Rootfs> {
    let target = metadata.target_directory.as_std_path();
    let rootfs = Rootfs::make(folder, target, profile, form)?;
    fs::write(rootfs.path(BILL), bill::of(metadata, &rootfs.packages()?)?)?;
    rootfs.show()?;
    Ok(rootfs)
}

/// What is built for this platform.
fn metadata(form: Form) -> Result<Metadata> {
    let reported = step::output(Command::new("rustc").arg("-vV"))?;
    let host = reported
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not tell its platform")?;
    let options = ["--locked", form.flag(), "--filter-platform", host].map(str::to_owned);
    Ok(MetadataCommand::new().other_options(options).exec()?)
}

fn complain(faults: &[String]) -> Result<()> {
    for fault in faults {
        println!("image: {fault}");
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} faults in what the image is made by", faults.len())
}

/// Where the image tells what it is made of.
const BILL: &str = "usr/share/doc/coap-adapter/sbom.cdx.json";

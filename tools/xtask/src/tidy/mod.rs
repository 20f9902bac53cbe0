//! Walls that no compiler holds up: what may depend on what, versions, licences, paths that only
//! one machine has, and references to the specification.
//!
//! Nothing here looks at sizes.

mod arrows;
mod versions;
mod licences;
mod files;
mod paths;
mod spec;

use anyhow::{Result, ensure};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};

pub(crate) fn run() -> Result<()> {
    let metadata = metadata(CargoOpt::AllFeatures)?;
    let mut faults = arrows::faults(&metadata);
    faults.extend(arrows::production_faults(&self::metadata(
        CargoOpt::NoDefaultFeatures,
    )?));
    faults.extend(versions::faults()?);
    faults.extend(licences::faults(&metadata));
    let root = metadata.workspace_root.as_std_path();
    let texts = files::texts(root)?;
    faults.extend(paths::faults(&texts));
    faults.extend(spec::faults(root, &texts)?);
    for fault in &faults {
        println!("tidy: {fault}");
    }
    ensure!(faults.is_empty(), "tidy found {} faults", faults.len());
    println!("tidy: {} packages, no fault", metadata.packages.len());
    Ok(())
}

/// What cargo knows of the packages that are built for the machines the adapter runs on.
fn metadata(features: CargoOpt) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.features(features);
    let platform = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    Ok(command
        .other_options(platform.map(str::to_owned).to_vec())
        .exec()?)
}

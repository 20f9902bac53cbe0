//! The Helm chart: what is generated is up to date, every profile renders to what Kubernetes takes, wrong values are refused by name,
//! and what is rendered starts the adapter.
//!
//! `cargo xtask chart --write` writes what is generated; the change is for people to read.

mod generated;
mod policy;
mod profile;
mod refused;
mod schemas;
mod starts;
mod table;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub(crate) use self::{
    profile::files as profiles,
    schemas::definitions,
    tools::{Tools, go},
};
use crate::step;

/// Checks everything, or writes what is generated.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let chart = Chart::here()?;
    let write = match *words {
        [] => false,
        ["--write"] => true,
        _ => bail!("`cargo xtask chart` takes `--write` or nothing"),
    };
    generated::schema(&chart, write)?;
    generated::copies(&chart, write)?;
    generated::table(&chart, write)?;
    let Some(tools) = Tools::ready()? else {
        println!(
            "xtask: SKIPPED: all checks of the chart that need Helm, for there is no Go (1.21 or later) to build it with"
        );
        return Ok(());
    };
    step::run(&mut chart.lint(&tools)?)?;
    let profiles = profile::all(&chart, &tools)?;
    generated::snapshots(&chart, &profiles, write)?;
    let schemas = schemas::ready(&tools)?;
    schemas::check(&tools, &schemas, &profiles)?;
    policy::score(&tools, &profiles)?;
    let mut faults = policy::faults(&profiles);
    faults.extend(refused::faults(&chart, &tools)?);
    faults.extend(starts::faults(&profiles)?);
    for fault in &faults {
        println!("chart: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults in the chart", faults.len());
    }
    println!("xtask: {} profiles of the chart are right", profiles.len());
    Ok(())
}

/// The chart's folders.
pub(crate) struct Chart {
    /// The workspace.
    pub(crate) root: PathBuf,
}

impl Chart {
    pub(crate) fn here() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root
            .canonicalize()
            .with_context(|| format!("no {}", root.display()))?;
        Ok(Self { root })
    }

    /// What is packaged.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join("helm/coap-adapter")
    }

    fn lint(&self, tools: &Tools) -> Result<std::process::Command> {
        let mut lint = tools.helm();
        lint.args([
            "lint",
            "--strict",
            "--quiet",
            "--kube-version",
            tools::KUBERNETES,
        ]);
        lint.arg(self.folder());
        let profiles = profile::files(self)?;
        lint.arg("--values")
            .arg(profiles.first().context("no profile")?);
        Ok(lint)
    }
}

//! The profiles: values for typical installations, and what the chart makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Chart, Tools, tools::KUBERNETES};
use crate::{manifest, step};

/// A values file and what is rendered of it.
pub(super) struct Profile {
    /// The file's name without `-values.yaml`.
    pub(super) name: String,
    /// The manifests in a file.
    pub(super) file: PathBuf,
    /// The manifests as text.
    pub(super) text: String,
    /// The same, one by one.
    pub(super) manifests: Vec<Value>,
}

impl Profile {
    /// The manifests of a kind.
    pub(super) fn of_kind<'p>(&'p self, kind: &'p str) -> impl Iterator<Item = &'p Value> {
        self.manifests
            .iter()
            .filter(move |manifest| manifest["kind"] == kind)
    }
}

/// Every `ci/*-values.yaml`, rendered.
pub(super) fn all(chart: &Chart, tools: &Tools) -> Result<Vec<Profile>> {
    files(chart)?
        .iter()
        .map(|file| render(chart, tools, file))
        .collect()
}

/// The values files of all profiles.
pub(crate) fn files(chart: &Chart) -> Result<Vec<PathBuf>> {
    let folder = chart.folder().join("ci");
    let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn render(chart: &Chart, tools: &Tools, file: &Path) -> Result<Profile> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches("-values.yaml").to_owned();
    let mut template = tools.helm();
    template.args(["template", RELEASE, "--namespace", NAMESPACE]);
    template.args(["--kube-version", KUBERNETES, "--values"]);
    let text = step::output(template.arg(file).arg(chart.folder()))?;
    let written = tools.path("rendered");
    fs::create_dir_all(&written)?;
    let written = written.join(&name).with_extension("yaml");
    fs::write(&written, &text)?;
    let manifests = manifest::read(&text).with_context(|| format!("profile {name}"))?;
    Ok(Profile {
        name,
        file: written,
        text,
        manifests,
    })
}

/// The name of each profile's release.
pub(super) const RELEASE: &str = "try";
const NAMESPACE: &str = "iot";

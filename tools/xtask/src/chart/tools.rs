//! Helm, kubeconform and kube-score, built from their Go modules once and kept beside what cargo builds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

use crate::step;

/// Where the tools are.
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Installs what is missing; none if there is no Go, and none can be had.
    pub(crate) fn ready() -> Result<Option<Self>> {
        let target = MetadataCommand::new().no_deps().exec()?.target_directory;
        let folder = target.as_std_path().join("tools");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let tools = Self { folder };
        let missing: Vec<_> = MODULES
            .iter()
            .filter(|(name, _)| !tools.path(name).exists())
            .collect();
        if !missing.is_empty() && !go_is_there()? {
            return Ok(None);
        }
        for (_, module) in missing {
            let mut install = go(["install", "-trimpath", "-ldflags=-s -w", module]);
            step::run(install.env("GOBIN", &tools.folder))?;
        }
        Ok(Some(tools))
    }

    /// Helm, independent of the user's settings.
    pub(crate) fn helm(&self) -> Command {
        let mut helm = Command::new(self.path("helm"));
        // Nothing of the person's who runs this may decide.
        for variable in ["HELM_NAMESPACE", "HELM_KUBECONTEXT", "KUBECONFIG"] {
            helm.env_remove(variable);
        }
        helm.stdin(Stdio::null());
        helm
    }

    /// The judge of manifests.
    pub(crate) fn kubeconform(&self) -> Command {
        Command::new(self.path("kubeconform"))
    }

    /// A scorer of manifests.
    pub(crate) fn kube_score(&self) -> Command {
        Command::new(self.path("kube-score"))
    }

    /// A folder or a file beside the tools.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A Go that takes a newer tool chain if a module wants one.
pub(crate) fn go<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut go = Command::new("go");
    go.args(words).env("CGO_ENABLED", "0").stdin(Stdio::null());
    // A release that is too old for a module fetches the one that it wants.
    go.env("GOTOOLCHAIN", "auto")
        .env("GOFLAGS", "-mod=mod -buildvcs=false");
    go
}

/// Whether a Go of use is there, after an attempt to install it on a Debian system.
fn go_is_there() -> Result<bool> {
    let there = || {
        let reported = step::output(Command::new("go").arg("version"));
        reported.is_ok_and(|reported| fetches_newer(&reported))
    };
    if there() {
        return Ok(true);
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Ok(false);
    }
    let mut install = Command::new("apt-get");
    install.args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "golang-go",
    ]);
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    if let Err(error) = step::run(&mut install) {
        println!("xtask: {error:#}");
    }
    Ok(there())
}

/// Whether a Go with this version fetches a newer one that a module wants; the first was 1.21.
fn fetches_newer(version: &str) -> bool {
    let minor = version.split_once(" go1.").and_then(|(_, rest)| {
        rest.split(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    });
    minor.is_some_and(|minor: u32| minor >= 21)
}

/// For what Kubernetes charts are rendered, where one version must do.
pub(super) const KUBERNETES: &str = "1.37.0";

/// A program and the package that it is built from.
const MODULES: [(&str, &str); 3] = [
    (
        "kube-score",
        "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
    ),
    ("helm", "helm.sh/helm/v3/cmd/helm@v3.22.0"),
    (
        "kubeconform",
        "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    ),
];

#[cfg(test)]
mod tests {
    use super::fetches_newer;

    #[test]
    fn a_go_that_is_too_old_counts_as_none() {
        for (version, fetches) in [
            ("go version go1.26.8 linux/amd64", true),
            ("go version go1.21rc2 linux/arm64", true),
            ("go version go1.19.8 linux/amd64", false),
            ("go version devel", false),
        ] {
            assert_eq!(fetches_newer(version), fetches, "{version}");
        }
    }
}

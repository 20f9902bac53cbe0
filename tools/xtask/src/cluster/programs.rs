//! The programs of a control plane, each built from its Go module by a module of our own: the modules replace parts of themselves by folders
//! that are not in them, which `go install` does not accept.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    chart::{Tools, go},
    step,
};

/// Builds what is missing.
pub(super) fn install(tools: &Tools) -> Result<()> {
    for program in &PROGRAMS {
        if !tools.path(program.name).exists() {
            program.build(tools)?;
        }
    }
    stages(tools)
}

/// What kwok plays, in the words of its own module: a pod is ready at once, and gone at once when it is deleted.
fn stages(tools: &Tools) -> Result<()> {
    let path = tools.path(STAGES);
    if path.exists() {
        return Ok(());
    }
    let kwok = format!("{}@{}", KWOK.module, KWOK.version);
    let reported = step::output(&mut go(["mod", "download", "-json", &kwok]))?;
    let reported: serde_json::Value = serde_json::from_str(&reported)?;
    let folder = Path::new(
        reported["Dir"]
            .as_str()
            .context("the module has no folder")?,
    );
    let mut text = String::new();
    for stage in [
        "node/fast/node-initialize",
        "pod/fast/pod-ready",
        "pod/fast/pod-delete",
    ] {
        let file = folder
            .join("kustomize/stage")
            .join(stage)
            .with_extension("yaml");
        text += &fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        text += "\n---\n";
    }
    fs::write(path, text)?;
    Ok(())
}

/// The file with what kwok plays, beside the tools.
pub(super) const STAGES: &str = "kwok-stages.yaml";

struct Program {
    name: &'static str,
    module: &'static str,
    version: &'static str,
    package: &'static str,
}

impl Program {
    fn build(&self, tools: &Tools) -> Result<()> {
        let folder = tools.path(&format!("build-{}", self.name));
        fs::create_dir_all(&folder)?;
        let replaced = if self.module == KUBERNETES {
            parts()?
        } else {
            String::new()
        };
        let text = format!(
            "module build\n\nrequire {} {}\n\n{replaced}",
            self.module, self.version
        );
        fs::write(folder.join("go.mod"), text)?;
        let mut build = go(["build", "-trimpath", "-ldflags", &flags(), "-o"]);
        build
            .arg(tools.path(self.name))
            .arg(self.package)
            .current_dir(&folder);
        step::run(&mut build)?;
        fs::remove_dir_all(&folder).context("cannot clean up")
    }
}

/// Kubernetes' own modules, of the version that belongs to it.
fn parts() -> Result<String> {
    let reported = step::output(&mut go([
        "mod",
        "download",
        "-json",
        &format!("{KUBERNETES}@v1.{RELEASE}"),
    ]))?;
    let reported: serde_json::Value = serde_json::from_str(&reported)?;
    let path = reported["GoMod"]
        .as_str()
        .context("the module has no go.mod")?;
    let text = fs::read_to_string(path)?;
    let mut lines = String::new();
    for line in text.lines().filter(|line| line.contains("=> ./staging/")) {
        let name = line
            .split_whitespace()
            .find(|word| word.contains('/'))
            .unwrap_or_default();
        lines += &format!("replace {name} => {name} v0.{RELEASE}\n");
    }
    Ok(lines)
}

/// Helm asks the server for its version.
fn flags() -> String {
    let version = "k8s.io/component-base/version";
    let minor = RELEASE.split('.').next().unwrap_or_default();
    format!(
        "-s -w -X {version}.gitVersion=v1.{RELEASE} -X {version}.gitMajor=1 -X {version}.gitMinor={minor}"
    )
}

const KUBERNETES: &str = "k8s.io/kubernetes";
/// Its version without the leading 1.
const RELEASE: &str = "37.2";

const fn of_kubernetes(name: &'static str, package: &'static str) -> Program {
    Program {
        name,
        module: KUBERNETES,
        version: "v1.37.2",
        package,
    }
}

const KWOK: Program = Program {
    name: "kwok",
    module: "sigs.k8s.io/kwok",
    version: "v0.8.0",
    package: "sigs.k8s.io/kwok/cmd/kwok",
};

const PROGRAMS: [Program; 5] = [
    KWOK,
    Program {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        version: "v3.7.3",
        package: "go.etcd.io/etcd/server/v3",
    },
    of_kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    of_kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    of_kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

//! The chart against a real API server: etcd, kube-apiserver, kube-controller-manager and kwok, built from their Go modules, in a network
//! namespace of their own.
//!
//! Every profile is installed, upgraded, rolled back and removed, with pods that kwok plays. Then the adapter runs for real: a small
//! kubelet ([`node`]) starts the image for each pod with what the API server says it mounts, asks its probes, and ends it as Kubernetes does;
//! a small kube-proxy ([`proxy`]) sends the Service's datagrams to the pods that are ready. A rolling update under live devices is measured.
//! Needs root and Linux; the first run builds for half an hour.

mod api;
mod lifecycle;
mod node;
mod pod;
mod process;
mod plane;
mod programs;
mod proxy;
mod rolling;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

use self::{node::Node, plane::Plane};
use crate::{
    chart::{Chart, Tools},
    image, step,
};

/// `--debug` takes unoptimised binaries; `profiles` or `rolling` does only that part.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let place = Place::new(words.contains(&"--debug"))?;
    if words.contains(&INSIDE) {
        return inside(&place, words);
    }
    if let Some(wrong) = words
        .iter()
        .find(|word| !["--debug", "profiles", "rolling"].contains(word))
    {
        bail!("`cargo xtask cluster` does not know {wrong}");
    }
    place.prepare()?;
    // Everything that is started ends with the first process of the namespace.
    let mut enter = Command::new("unshare");
    enter.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    enter
        .arg(std::env::current_exe()?)
        .args(["cluster", INSIDE])
        .args(words);
    step::run(&mut enter)
}

/// What is where.
pub(crate) struct Place {
    chart: Chart,
    tools: Tools,
    /// What is written in a run.
    folder: PathBuf,
    /// The image's root file system.
    image: PathBuf,
    /// Where cargo puts binaries.
    built: PathBuf,
    profile: &'static str,
}

impl Place {
    fn new(debug: bool) -> Result<Self> {
        let target = MetadataCommand::new().no_deps().exec()?.target_directory;
        let target = target.into_std_path_buf();
        let profile = if debug { "debug" } else { "release" };
        Ok(Self {
            chart: Chart::here()?,
            tools: Tools::ready()?.context("this lane needs Go")?,
            folder: target.join("cluster"),
            image: target.join("image"),
            built: target.join(profile),
            profile,
        })
    }

    /// Builds all that runs inside, where there is no network.
    fn prepare(&self) -> Result<()> {
        programs::install(&self.tools)?;
        image::make(self.profile)?;
        // The world outside the cluster is a sandbox, which the image has not.
        let mut build =
            step::cargo("build --locked --workspace --bin load --bin coap-adapter".split(' '));
        if self.profile == "release" {
            build.arg("--release");
        }
        step::run(&mut build)?;
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        Ok(())
    }
}

fn inside(place: &Place, words: &[&str]) -> Result<()> {
    step::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let plane = Plane::start(place)?;
    plane.define_custom_resources(place)?;
    let node = Node::start(place, plane.api())?;
    let only = |part| {
        words.contains(&part) || !["profiles", "rolling"].iter().any(|it| words.contains(it))
    };
    if only("profiles") {
        lifecycle::run(place, &plane)?;
    }
    if only("rolling") {
        rolling::run(place, &plane, &node)?;
    }
    Ok(())
}

/// The word by which this program knows that it is in the namespace.
const INSIDE: &str = "--inside";

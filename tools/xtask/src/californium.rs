//! Californium's jars, from Maven Central.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::step;

/// Puts them into `folder`, those that are not there.
pub(crate) fn fetch(folder: &Path) -> Result<()> {
    for artifact in JARS {
        let mut parts = artifact.split(':').skip(1);
        let name = parts.by_ref().take(2).collect::<Vec<_>>().join("-") + ".jar";
        if folder.join(name).is_file() {
            continue;
        }
        let mut fetch = Command::new("mvn");
        fetch
            .args(["--quiet", "--batch-mode", COPY])
            .arg(format!("-Dartifact={artifact}"))
            .arg(format!("-DoutputDirectory={}", folder.display()));
        step::run(&mut fetch)?;
    }
    Ok(())
}

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

const JARS: [&str; 4] = [
    "org.eclipse.californium:californium-core:3.14.0",
    "org.eclipse.californium:scandium:3.14.0",
    "org.eclipse.californium:element-connector:3.14.0",
    "org.slf4j:slf4j-api:1.7.36",
];

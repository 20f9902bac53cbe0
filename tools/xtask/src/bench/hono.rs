//! Eclipse Hono's CoAP adapter, made of what Maven Central has of it by `benches/hono/pom.xml`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::step;

/// Makes the application below `folder`, unless it is there.
pub(super) fn build(pom: &Path, folder: &Path) -> Result<()> {
    let jar = jar(folder);
    if is_newer(&jar, pom) {
        return Ok(());
    }
    let mut build = Command::new("mvn");
    build
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(pom)
        .arg(format!("-Dfolder={}", folder.display()))
        .arg("package");
    step::run(&mut build)?;
    ensure!(jar.is_file(), "{} was not made", jar.display());
    Ok(())
}

/// What starts it.
pub(super) fn jar(folder: &Path) -> PathBuf {
    folder.join("quarkus-app/quarkus-run.jar")
}

fn is_newer(made: &Path, source: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|it| it.modified());
    matches!((modified(made), modified(source)), (Ok(made), Ok(source)) if made > source)
}

/// What its container image gives to Java.
pub(super) const PROPERTIES: [&str; 2] = [
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    "-Dvertx.json.base64=legacy",
];

/// Settings of Hono only: AMQP is the only network, and traces are not exported.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("HONO_APP_KAFKAMESSAGINGDISABLED", "true"),
    ("HONO_APP_PUBSUBMESSAGINGDISABLED", "true"),
    ("QUARKUS_OTEL_SDK_DISABLED", "true"),
    ("QUARKUS_LOG_LEVEL", "WARN"),
];

//! Scandium's jars and our classes.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub(crate) const VERSION: &str = "3.14.0";

/// Where the jars are, fetched once; `None`, and a loud word about it, if they can't be had.
static JARS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let folder = folder();
    for (group, artifact, version) in [
        ("org.eclipse.californium", "scandium", VERSION),
        ("org.eclipse.californium", "element-connector", VERSION),
        ("org.slf4j", "slf4j-api", "1.7.36"),
    ] {
        let jar = folder.join(format!("{artifact}-{version}.jar"));
        if !jar.is_file() && !fetch(&format!("{group}:{artifact}:{version}")) {
            eprintln!(
                "SKIPPED: this test needs {group}:{artifact}:{version} from Maven Central (Debian: apt-get install maven default-jdk-headless)"
            );
            return None;
        }
    }
    Some(folder)
});

/// Compiles a class of ours beside the jars; says so, and `false`, if it or they can't be had.
pub(crate) fn compile(source: &str) -> bool {
    let Some(folder) = JARS.as_ref() else {
        return false;
    };
    let compiled = Command::new("javac")
        .arg("-cp")
        .arg(class_path())
        .arg("-d")
        .arg(folder)
        .arg(source)
        .status();
    let compiled = compiled.is_ok_and(|status| status.success());
    if !compiled {
        eprintln!("SKIPPED: this test needs javac (Debian: apt-get install default-jdk-headless)");
    }
    compiled
}

/// Our classes, and the jars.
pub(crate) fn class_path() -> String {
    let folder = folder();
    format!("{}:{}/*", folder.display(), folder.display())
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scandium")
}

fn fetch(artifact: &str) -> bool {
    let spawned = Command::new("mvn")
        .args(["--quiet", "--batch-mode", PLUGIN])
        .arg(format!("-Dartifact={artifact}"))
        .arg(format!("-DoutputDirectory={}", folder().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut fetching) = spawned else {
        return false;
    };
    let end = Instant::now() + Duration::from_secs(180);
    while Instant::now() < end {
        if let Some(status) = fetching.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    fetching.kill().unwrap();
    fetching.wait().unwrap();
    false
}

const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";

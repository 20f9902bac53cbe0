//! Independent peers: installs them, then runs the tests against them, in which none may be missing.
//!
//! What comes from `PyPI`, Maven Central and the Go module proxy is kept in `target/interop`, the rest are packages of a Debian system. What is there
//! already is left as it is.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

use crate::{
    californium,
    packages::{self, Package, succeeds},
    step::{self, cargo},
};

pub(crate) fn run(further: &[&str]) -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let folder = metadata.target_directory.as_std_path().join("interop");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    packages::install(&PACKAGES)?;
    install_python(&folder)?;
    build_gocoap(metadata.workspace_root.as_std_path(), &folder)?;
    install_artemis(&folder)?;
    californium::fetch(&folder.join("californium"))?;
    build_webrtc(metadata.workspace_root.as_std_path(), &folder)?;
    // The whole workspace is named so that what `ci` built is used again.
    let words = "test --locked --workspace --no-fail-fast --test interop --test matrix --test differential --";
    let mut tests = cargo(words.split(' '));
    step::run(tests.args(further).env("INTEROP_REQUIRED", "1"))
}

/// qpid-proton is built from source, its C library included.
fn install_python(folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if succeeds(&[&python.to_string_lossy(), "-c", "import proton, aiocoap"]) {
        return Ok(());
    }
    step::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    let mut install = Command::new(python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.arg(format!("python-qpid-proton=={PROTON}"));
    step::run(install.arg(format!("aiocoap=={AIOCOAP}")))
}

/// The modules come from the Go module proxy, in the versions of `go.sum`.
fn build_gocoap(root: &Path, folder: &Path) -> Result<()> {
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(folder.join("gocoap"));
    step::run(
        build
            .arg(".")
            .current_dir(root.join("tests/interop/gocoap")),
    )
}

fn install_artemis(folder: &Path) -> Result<()> {
    let home = folder.join(format!("apache-artemis-{ARTEMIS}"));
    if home.join("bin/artemis").exists() {
        return Ok(());
    }
    let mut fetch = Command::new("mvn");
    fetch.args([
        "--quiet",
        "--batch-mode",
        &format!("{DEPENDENCY_PLUGIN}:copy"),
    ]);
    fetch.arg(format!(
        "-Dartifact=org.apache.activemq:apache-artemis:{ARTEMIS}:tar.gz:bin"
    ));
    let mut output = std::ffi::OsString::from("-DoutputDirectory=");
    output.push(folder);
    step::run(fetch.arg(output))?;
    let archive = folder.join(format!("apache-artemis-{ARTEMIS}-bin.tar.gz"));
    step::run(
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder),
    )?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

/// The crate `dtls` is no dependency of the workspace, as it would bring older versions of much that is there.
fn build_webrtc(root: &Path, folder: &Path) -> Result<()> {
    let mut build = cargo("build --quiet --locked --manifest-path".split(' '));
    build.arg(root.join("protocols/dtls-proto/tests/matrix/webrtc/Cargo.toml"));
    step::run(build.arg("--target-dir").arg(folder.join("webrtc")))
}

const PACKAGES: [Package; 16] = [
    (
        "libcoap3-bin",
        &[
            "sh",
            "-c",
            "command -v coap-client-openssl coap-client-gnutls coap-client-notls",
        ],
    ),
    ("openssl", &["openssl", "version"]),
    ("python3-venv", &["python3", "-c", "import ensurepip, venv"]),
    ("python3-dev", &["python3", "-c", PYTHON_HEADERS]),
    ("build-essential", &["cc", "--version"]),
    ("libssl-dev", &["sh", "-c", OPENSSL_HEADERS]),
    ("libmbedtls-dev", &["sh", "-c", MBEDTLS_HEADERS]),
    ("libcoap3-dev", &["sh", "-c", LIBCOAP_HEADERS]),
    ("gnutls-bin", &["gnutls-cli", "--version"]),
    ("iproute2", &["ip", "-V"]),
    ("default-jdk-headless", &["javac", "-version"]),
    ("maven", &["mvn", "--version"]),
    ("tar", &["tar", "--version"]),
    ("prometheus", &["prometheus", "--version"]),
    (
        "python3-jsonschema",
        &["python3", "-c", "import jsonschema"],
    ),
    ("python3-yaml", &["python3", "-c", "import yaml"]),
];
const OPENSSL_HEADERS: &str = "echo '#include <openssl/ssl.h>' | cc -E -";
const MBEDTLS_HEADERS: &str = "echo '#include <mbedtls/ssl.h>' | cc -E -";
const LIBCOAP_HEADERS: &str = "echo '#include <coap3/coap.h>' | cc -E -";
const PYTHON_HEADERS: &str = "import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))";
/// The version of `python-qpid-proton`.
const PROTON: &str = "0.40.0";
/// The version of `aiocoap`.
const AIOCOAP: &str = "0.4.17";
/// The version of ActiveMQ Artemis; later ones want a later Java.
const ARTEMIS: &str = "2.37.0";
const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

//! Whether the adapter takes what is rendered: each profile's config maps and secrets are laid out in a folder as the pod mounts them, and
//! `coap-adapter check-config` reads them there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use serde_json::Value;

use super::profile::Profile;
use crate::step::{self, cargo};

/// What the adapter finds wrong in the profiles.
pub(super) fn faults(profiles: &[Profile]) -> Result<Vec<String>> {
    // The whole workspace is named so that what was built for the tests is used again.
    step::run(&mut cargo(
        "build --locked --workspace --bin coap-adapter".split(' '),
    ))?;
    let target = MetadataCommand::new().no_deps().exec()?.target_directory;
    let adapter = target.as_std_path().join("debug/coap-adapter");
    let identity = Identity::new()?;
    let mut faults = Vec::new();
    for profile in profiles {
        for set in profile.of_kind("StatefulSet") {
            let pod = &set["spec"]["template"]["spec"];
            let folder = target.as_std_path().join("tools/pods").join(&profile.name);
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            lay_out(profile, pod, &folder, &identity)?;
            faults.extend(check(&adapter, profile, &pod["containers"][0], &folder)?);
        }
    }
    Ok(faults)
}

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    /// Makes a certificate that signs itself, by OpenSSL: `check-config` loads what files hold.
    fn new() -> Result<Self> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt"]);
        openssl.args(["ec_paramgen_curve:P-256", "-nodes", "-days", "365"]);
        openssl.args(["-subj", "/CN=chart", "-keyout", "-", "-out", "-"]);
        let both = step::output(&mut openssl).context("apt-get install openssl")?;
        let (key, certificate) = both
            .split_once("-----BEGIN CERTIFICATE-----")
            .context("openssl made no certificate")?;
        Ok(Self {
            certificate: format!("-----BEGIN CERTIFICATE-----{certificate}"),
            key: key.to_owned(),
        })
    }

    /// What Secrets hold, whatever they are for.
    fn secrets(&self) -> [(&str, &str); 7] {
        [
            ("tls.crt", &self.certificate),
            ("tls.key", &self.key),
            ("ca.crt", &self.certificate),
            ("credentials.properties", "username = u\npassword = p\n"),
            ("token", "0123456789abcdef"),
            ("ticket-key", KEY),
            ("session-key", KEY),
        ]
    }
}

/// Writes what the pod's container sees, under `folder` instead of the root.
fn lay_out(profile: &Profile, pod: &Value, folder: &Path, identity: &Identity) -> Result<()> {
    for mount in items(&pod["containers"][0]["volumeMounts"]) {
        let place = inside(folder, mount["mountPath"].as_str().unwrap_or_default());
        fs::create_dir_all(&place)?;
        let volume = items(&pod["volumes"]).find(|volume| volume["name"] == mount["name"]);
        let volume = volume.unwrap_or(&Value::Null);
        if let Some(name) = volume["configMap"]["name"].as_str() {
            let rendered = profile
                .of_kind("ConfigMap")
                .find(|map| map["metadata"]["name"] == name);
            match rendered.and_then(|map| map["data"].as_object()) {
                Some(data) => {
                    for (file, text) in data {
                        let text = text.as_str().unwrap_or_default();
                        fs::write(place.join(file), moved(text, folder))?;
                    }
                }
                // One that is there before.
                None => write_all(&place, &[("ca.crt", &identity.certificate)])?,
            }
        } else if volume["secret"].is_object() {
            write_all(&place, &identity.secrets())?;
        }
    }
    Ok(())
}

fn check(
    adapter: &Path,
    profile: &Profile,
    container: &Value,
    folder: &Path,
) -> Result<Option<String>> {
    let words: Vec<_> = items(&container["args"])
        .filter_map(Value::as_str)
        .collect();
    let Some(file) = words.iter().find_map(|word| word.strip_prefix("--config=")) else {
        return Ok(None);
    };
    let mut command = Command::new(adapter);
    command.env_clear().args(["check-config", "--config"]);
    command.arg(inside(folder, file));
    for variable in items(&container["env"]) {
        let text = variable["value"].as_str().unwrap_or("0");
        command.env(variable["name"].as_str().unwrap_or_default(), text);
    }
    let output = command.output().context("the adapter does not start")?;
    let reported = String::from_utf8_lossy(&output.stderr).into_owned();
    let page = String::from_utf8_lossy(&output.stdout);
    let doubtful = page
        .lines()
        .find(|line| line.starts_with("warning:") || line.starts_with("no effect:"));
    Ok(match doubtful {
        _ if !output.status.success() => Some(format!(
            "profile {}: the adapter says {reported}",
            profile.name
        )),
        Some(line) => Some(format!("profile {}: the adapter says {line}", profile.name)),
        None => None,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn write_all(place: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (file, text) in files {
        let path = place.join(file);
        fs::write(&path, text)?;
        // As the pod mounts secrets: nobody else reads them.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440))?;
    }
    Ok(())
}

fn inside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path.trim_start_matches('/'))
}

/// Paths in the settings point into the folder.
fn moved(text: &str, folder: &Path) -> String {
    text.replace(ROOT, &inside(folder, ROOT).to_string_lossy())
}

/// The chart's `coap-adapter.mountRoot`.
const ROOT: &str = "/etc/coap-adapter";

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

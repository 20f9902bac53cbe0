//! The compose file for a laptop: containers can do as little as in a cluster, ports are open on this machine only, images have versions,
//! and the adapter takes the settings.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use super::rootfs::Rootfs;
use crate::manifest;

/// What is wrong in the file.
pub(super) fn faults(folder: &Path, rootfs: &Rootfs) -> Result<Vec<String>> {
    let text = fs::read_to_string(folder.join("compose.yaml")).context("no compose.yaml")?;
    let file = manifest::read(&text)?
        .pop()
        .context("the compose file is empty")?;
    let mut faults = shape(&file);
    faults.extend(missing(&file, folder));
    let adapter = &file["services"]["adapter"];
    let mut check: Command = rootfs.enter(&["check-config"])?;
    for (name, text) in adapter["environment"].as_object().into_iter().flatten() {
        check.env(name, text.as_str().unwrap_or_default());
    }
    let output = check.output()?;
    let (page, reported) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let doubtful = page
        .lines()
        .find(|line| line.starts_with("warning:") || line.starts_with("no effect:"));
    if !output.status.success() || doubtful.is_some() {
        faults.push(format!(
            "compose.yaml: the adapter says {}{reported}",
            doubtful.unwrap_or_default()
        ));
    }
    Ok(faults)
}

/// What a service wants of this folder and does not find.
fn missing(file: &Value, folder: &Path) -> Vec<String> {
    let services = file["services"].as_object().into_iter().flatten();
    let volumes =
        services.flat_map(|(_, service)| service["volumes"].as_array().into_iter().flatten());
    let paths = volumes.filter_map(|volume| volume.as_str()?.split(':').next());
    paths
        .filter(|path| path.starts_with("./") && !folder.join(path).exists())
        .map(|path| format!("compose.yaml: there is no {path}"))
        .collect()
}

fn shape(file: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in file["services"].as_object().into_iter().flatten() {
        let mut tell = |wrong: &str| faults.push(format!("compose.yaml: {name}: {wrong}"));
        let image = service["image"].as_str().unwrap_or_default();
        if image
            .rsplit_once(':')
            .is_none_or(|(_, tag)| tag == "latest")
        {
            tell("an image should have a version");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            if !port
                .as_str()
                .is_some_and(|port| port.starts_with("127.0.0.1:"))
            {
                tell("its ports should be open on this machine only");
            }
        }
        if image.starts_with("coap-adapter:") {
            for (key, wanted) in [
                ("read_only", Value::from(true)),
                ("cap_drop", Value::from(vec!["ALL"])),
                ("user", "65532:65532".into()),
            ] {
                if service[key] != wanted {
                    tell(&format!("`{key}` should be {wanted}"));
                }
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_doors_are_told() {
        let text = "services:\n  a: {image: x, ports: ['80:80']}\n  b: {image: 'coap-adapter:1', read_only: true}\n";
        let found = shape(&manifest::read(text).unwrap().remove(0)).join("\n");
        for wrong in ["a: an image", "a: its ports", "b: `cap_drop`", "b: `user`"] {
            assert!(found.contains(wrong), "{found}");
        }
        assert!(!found.contains("read_only"), "{found}");
    }
}

//! Whether Kubernetes takes what is rendered: kubeconform, strict, for three versions, custom resources included.
//!
//! Nothing of it is kept in this repository. The schemas of Kubernetes come with the package `kubernetes-validate`; those of the
//! custom resources are made from the definitions in the Go modules of their projects.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{Tools, profile::Profile, tools::go};
use crate::{manifest, step};

/// Patterns of files, as kubeconform understands them.
pub(super) struct Schemas {
    kubernetes: String,
    custom: String,
}

/// Fetches what is missing.
pub(super) fn ready(tools: &Tools) -> Result<Schemas> {
    let folder = tools.path("schemas");
    fs::create_dir_all(&folder)?;
    for resource in &CUSTOM {
        let path = folder.join(resource.schema);
        if !path.exists() {
            fs::write(&path, serde_json::to_string(&resource.fetch()?)?)?;
        }
    }
    for version in VERSIONS {
        let place = folder.join(format!("v{version}"));
        if KINDS.iter().any(|kind| !place.join(kind).exists()) {
            fs::create_dir_all(&place)?;
            bundle(&kubernetes(tools)?, version, &place)?;
        }
    }
    let kind = "{{ .ResourceKind }}{{ .KindSuffix }}.json";
    let folder = folder.display();
    Ok(Schemas {
        kubernetes: format!("{folder}/{{{{ .NormalizedKubernetesVersion }}}}/{kind}"),
        custom: format!("{folder}/{kind}"),
    })
}

/// Writes each kind's schema with the definitions that it needs; kubeconform does not find them in another file.
fn bundle(from: &Path, version: &str, place: &Path) -> Result<()> {
    let from = from.join(format!("v{version}-local-strict"));
    let read = |name: &str| -> Result<Value> {
        let path = from.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    };
    let definitions = &read("_definitions.json")?["$defs"];
    for kind in KINDS {
        let mut schema = read(kind)?;
        let mut needed = Map::new();
        gather(&mut schema, definitions, &mut needed);
        schema["$defs"] = Value::Object(needed);
        if let Some(entries) = schema.as_object_mut() {
            entries.remove("$id");
        }
        fs::write(place.join(kind), serde_json::to_string(&schema)?)?;
    }
    Ok(())
}

/// Makes references point into the same schema, and takes along what they point to.
fn gather(value: &mut Value, definitions: &Value, needed: &mut Map<String, Value>) {
    match value {
        Value::Object(entries) => {
            for (key, held) in entries {
                let name = held.as_str().and_then(|text| text.rsplit('/').next());
                let Some(name) = name.filter(|_| key == "$ref").map(str::to_owned) else {
                    gather(held, definitions, needed);
                    continue;
                };
                *held = json!(format!("#/$defs/{name}"));
                if !needed.contains_key(&name) {
                    let mut definition = definitions[&name].clone();
                    needed.insert(name.clone(), Value::Null);
                    gather(&mut definition, definitions, needed);
                    needed.insert(name, definition);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                gather(item, definitions, needed);
            }
        }
        _ => {}
    }
}

/// Every profile against every version.
pub(super) fn check(tools: &Tools, schemas: &Schemas, profiles: &[Profile]) -> Result<()> {
    for version in VERSIONS {
        let mut conform = tools.kubeconform();
        conform.args(["-strict", "-summary", "-kubernetes-version", version]);
        conform.args(["-schema-location", &schemas.kubernetes]);
        conform.args(["-schema-location", &schemas.custom]);
        step::run(conform.args(profiles.iter().map(|profile| &profile.file)))?;
    }
    Ok(())
}

/// Where the schemas of all versions of Kubernetes are.
fn kubernetes(tools: &Tools) -> Result<PathBuf> {
    let venv = tools.path("venv");
    let python = venv.join("bin/python");
    let found = || -> Option<PathBuf> {
        let mut ask = Command::new(&python);
        ask.args(["-c", WHERE]).stderr(Stdio::null());
        Some(PathBuf::from(step::output(&mut ask).ok()?.trim()))
    };
    if let Some(folder) = found() {
        return Ok(folder);
    }
    step::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    step::run(install.arg(PACKAGE))?;
    found().context("the package with the schemas has no folder of schemas")
}

/// The definitions of all custom resources of the chart, kept beside the tools.
pub(crate) fn definitions(tools: &Tools) -> Result<Vec<Value>> {
    let folder = tools.path("definitions");
    fs::create_dir_all(&folder)?;
    let read = |resource: &Custom| {
        let path = folder.join(resource.schema);
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok(serde_json::from_str(&text)?);
        }
        let definition = resource.definition()?;
        fs::write(&path, definition.to_string())?;
        Ok(definition)
    };
    CUSTOM.iter().map(read).collect()
}

/// A custom resource of the chart.
struct Custom {
    /// The Go module with its definition.
    module: &'static str,
    /// The definition inside of it.
    definition: &'static str,
    /// The file that its schema becomes.
    schema: &'static str,
}

impl Custom {
    fn fetch(&self) -> Result<Value> {
        let definition = self.definition()?;
        let versions = definition["spec"]["versions"].as_array();
        let stored = versions.and_then(|all| all.iter().find(|it| it["storage"] == true));
        let Some(stored) = stored else {
            bail!("{} defines no version that is stored", self.definition);
        };
        let mut schema = stored["schema"]["openAPIV3Schema"].clone();
        close(&mut schema);
        Ok(schema)
    }

    /// Schema of the resource for the API server.
    fn definition(&self) -> Result<Value> {
        let path = self.definition_path()?;
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        Ok(match path.extension() {
            Some(extension) if extension == "json" => serde_json::from_str(&text)?,
            _ => manifest::read(&text)?.pop().unwrap_or_default(),
        })
    }

    /// The module is fetched without what it depends on.
    fn definition_path(&self) -> Result<PathBuf> {
        let reported = step::output(&mut go(["mod", "download", "-json", self.module]))?;
        let reported: Value = serde_json::from_str(&reported)?;
        let folder = reported["Dir"]
            .as_str()
            .context("the module has no folder")?;
        Ok(Path::new(folder).join(self.definition))
    }
}

/// Definitions of custom resources let unknown keys pass, for the API server drops them; here they are mistakes.
fn close(schema: &mut Value) {
    if let Some(entries) = schema.as_object_mut() {
        let open = entries.contains_key("additionalProperties")
            || entries.contains_key("x-kubernetes-preserve-unknown-fields");
        if entries.contains_key("properties") && !open {
            entries.insert("additionalProperties".to_owned(), json!(false));
        }
        entries.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

/// The versions of Kubernetes that are supported by its makers.
const VERSIONS: [&str; 3] = ["1.35.0", "1.36.0", "1.37.0"];

/// The kinds of Kubernetes' own that the chart makes.
const KINDS: [&str; 8] = [
    "configmap-v1.json",
    "horizontalpodautoscaler-autoscaling-v2.json",
    "networkpolicy-networking-v1.json",
    "pod-v1.json",
    "poddisruptionbudget-policy-v1.json",
    "service-v1.json",
    "serviceaccount-v1.json",
    "statefulset-apps-v1.json",
];

const PACKAGE: &str = "kubernetes-validate==1.37.0";
const WHERE: &str = "from importlib.util import find_spec; print(find_spec('kubernetes_validate').submodule_search_locations[0] + '/kubernetes-json-schema')";

const OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";

const CUSTOM: [Custom; 3] = [
    Custom {
        module: OPERATOR,
        definition: "jsonnet/prometheus-operator/servicemonitors-crd.json",
        schema: "servicemonitor-monitoring-v1.json",
    },
    Custom {
        module: OPERATOR,
        definition: "jsonnet/prometheus-operator/prometheusrules-crd.json",
        schema: "prometheusrule-monitoring-v1.json",
    },
    Custom {
        module: "github.com/cert-manager/cert-manager@v1.21.2",
        definition: "deploy/crds/cert-manager.io_certificates.yaml",
        schema: "certificate-cert-manager-v1.json",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_takes_along_what_it_points_to_and_no_more() {
        let definitions =
            json!({"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}, "c": {}});
        let mut schema =
            json!({"properties": {"x": [{"$ref": "/api/_definitions.json#/$defs/a"}]}});
        let mut needed = Map::new();
        gather(&mut schema, &definitions, &mut needed);
        assert_eq!(schema["properties"]["x"][0]["$ref"], "#/$defs/a");
        assert_eq!(needed.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(needed["b"], definitions["b"]);
    }

    #[test]
    fn only_what_is_left_open_on_purpose_takes_unknown_keys() {
        let mut schema = json!({
            "properties": {
                "a": {"type": "object"},
                "b": {"properties": {}, "x-kubernetes-preserve-unknown-fields": true},
                "c": {"items": {"properties": {"d": {}}}},
            },
        });
        close(&mut schema);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["c"]["items"]["additionalProperties"],
            false
        );
        assert_eq!(schema["properties"]["a"].get("additionalProperties"), None);
        assert_eq!(schema["properties"]["b"].get("additionalProperties"), None);
    }
}

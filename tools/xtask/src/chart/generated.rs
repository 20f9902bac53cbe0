//! What is generated: the schema of the values, the table of values, copies of rules and
//! dashboard, what each profile renders to.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{Chart, profile::Profile, table};

/// `values.schema.json`: what the chart itself takes, and under `config` what the adapter's settings file takes.
pub(super) fn schema(chart: &Chart, write: bool) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let path = chart.root.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))
    };
    let mut schema = read("helm/schema/values.json")?;
    let mut config = read("deploy/config.schema.json")?;
    move_references(&mut config);
    if let Some(config) = config.as_object_mut() {
        config.remove("$schema");
    }
    if let Some(settings) = config["properties"].as_object_mut() {
        nest(settings);
    }
    schema["properties"]["config"] = config;
    let text = format!("{}\n", serde_json::to_string_pretty(&schema)?);
    hold(&chart.folder().join("values.schema.json"), &text, write)
}

/// The file may also have whole names such as `hono.coap.port`, but the chart reads values by their place. Whole names are left only
/// where there is no place: what has a value cannot have something below.
fn nest(settings: &mut Map<String, Value>) {
    let whole: Vec<String> = settings
        .keys()
        .filter(|name| name.contains('.'))
        .cloned()
        .collect();
    settings.retain(|name, _| {
        let below = |outer: &String| {
            name.strip_prefix(outer.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        !name.contains('.') || whole.iter().any(below)
    });
}

/// References of the adapter's schema count from its root, which is `config` here.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, held) in entries {
                match held.as_str().and_then(|text| text.strip_prefix("#/")) {
                    Some(path) if key == "$ref" => {
                        *held = json!(format!("#/properties/config/{path}"));
                    }
                    _ => move_references(held),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

/// The rules and the dashboard, which a packaged chart must hold itself.
pub(super) fn copies(chart: &Chart, write: bool) -> Result<()> {
    for shipped in ["prometheus/rules.yaml", "grafana/coap-adapter.json"] {
        let from = chart.root.join("deploy").join(shipped);
        let text = fs::read_to_string(&from).with_context(|| format!("no {}", from.display()))?;
        let name = from.file_name().unwrap_or_default();
        hold(&chart.folder().join("files").join(name), &text, write)?;
    }
    Ok(())
}

/// The table of values in the chart's README.
pub(super) fn table(chart: &Chart, write: bool) -> Result<()> {
    let values =
        fs::read_to_string(chart.folder().join("values.yaml")).context("no values.yaml")?;
    let readme = chart.folder().join("README.md");
    let text = fs::read_to_string(&readme).context("no README.md of the chart")?;
    let Some((before, _)) = text.split_once(MARK) else {
        bail!("the chart's README.md should have the line `{MARK}`");
    };
    hold(
        &readme,
        &format!("{before}{MARK}\n\n{}", table::of(&values)?),
        write,
    )
}

/// What every profile renders to, for people to see what a change of the chart changes.
pub(super) fn snapshots(chart: &Chart, profiles: &[Profile], write: bool) -> Result<()> {
    for profile in profiles {
        let path = chart.root.join("helm/snapshots").join(&profile.name);
        hold(&path.with_extension("yaml"), &profile.text, write)?;
    }
    Ok(())
}

fn hold(path: &Path, wanted: &str, write: bool) -> Result<()> {
    let held = fs::read_to_string(path).unwrap_or_default();
    if held == wanted {
        return Ok(());
    }
    if write {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        println!("xtask: wrote {}", path.display());
        return fs::write(path, wanted).with_context(|| format!("cannot write {}", path.display()));
    }
    let mut lines = held.lines().zip(wanted.lines()).enumerate();
    let first = lines.find(|(_, (held, wanted))| held != wanted);
    let first = first.map_or_else(String::new, |(number, (held, wanted))| {
        format!(
            ", first in line {}: `{held}` should be `{wanted}`",
            number + 1
        )
    });
    bail!(
        "{} is not up to date{first}; see `cargo xtask chart --write`",
        path.display()
    )
}

/// The table follows this line.
const MARK: &str = "<!-- The table below is written by `cargo xtask chart --write`. -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_the_schema_to_its_new_place() {
        let mut schema =
            json!({"a": [{"$ref": "#/definitions/x"}], "$ref": 7, "text": "#/definitions/x"});
        move_references(&mut schema);
        let moved = json!({"a": [{"$ref": "#/properties/config/definitions/x"}], "$ref": 7, "text": "#/definitions/x"});
        assert_eq!(schema, moved);
    }

    #[test]
    fn whole_names_are_left_where_there_is_no_place() {
        let mut settings = Map::new();
        for name in ["a", "a.b", "a.b.c", "a.bc"] {
            settings.insert(name.to_owned(), json!({}));
        }
        nest(&mut settings);
        let left: Vec<_> = settings.keys().collect();
        assert_eq!(left, ["a", "a.b.c"]);
    }
}

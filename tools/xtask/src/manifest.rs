//! YAML documents as JSON values, so that they can be asked by path.

use anyhow::{Context, Result, bail};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

/// Every document of a text that is not empty.
pub(crate) fn read(text: &str) -> Result<Vec<Value>> {
    let documents = Yaml::load_from_str(text).context("this is not YAML")?;
    let values = documents.iter().map(value).collect::<Result<Vec<_>>>()?;
    Ok(values
        .into_iter()
        .filter(|value| !value.is_null())
        .collect())
}

fn value(yaml: &Yaml<'_>) -> Result<Value> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::FloatingPoint(number)) => number.into_inner().into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(value).collect::<Result<_>>()?,
        Yaml::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, held)| Ok((key_of(key)?, value(held)?)))
                .collect::<Result<Map<_, _>>>()?,
        ),
        other => bail!("{other:?} has no place in a manifest"),
    })
}

fn key_of(yaml: &Yaml<'_>) -> Result<String> {
    match value(yaml)? {
        Value::String(key) => Ok(key),
        other => bail!("the key {other} should be a text"),
    }
}

/// A manifest as people name it.
pub(crate) fn name(manifest: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!(
        "{} {}",
        word(&manifest["kind"]),
        word(&manifest["metadata"]["name"])
    )
}

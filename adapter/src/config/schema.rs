//! The JSON Schema (draft 7) of the YAML file, for editors and charts; it says what the tables of settings say.
//!
//! It wants values in their plain form: numbers and truth values without quotes. The file is read more kindly than that.
//! Settings are nested, or stand with their full name at the top.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Kind, Setting, catalogue};

/// The schema of the whole file.
#[must_use]
pub fn schema() -> Value {
    let mut root = Node::default();
    for (name, setting) in catalogue::all() {
        root.at(&name).leaf = Some(leaf(setting));
    }
    for (name, why) in catalogue::all_without_effect() {
        match name.strip_suffix(".*") {
            Some(family) => root.at(family).open = Some(why),
            None => root.at(&name).leaf = Some(json!({"description": no_effect(why)})),
        }
    }
    root.at("quarkus.log.category").leaf = Some(categories());
    let mut schema = root.object();
    let mut dotted = Map::new();
    root.full_names("", "#", &mut dotted);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.append(&mut dotted);
    }
    schema.insert("$schema".into(), DRAFT.into());
    schema.insert("title".into(), "Configuration of coap-adapter".into());
    Value::Object(schema)
}

/// A part of a name, and what is below it.
#[derive(Default)]
struct Node {
    /// What it holds itself; `console.json` and `console.json.enabled` are both settings.
    leaf: Option<Value>,
    below: BTreeMap<String, Self>,
    /// Why further names below it are accepted, though they mean nothing.
    open: Option<&'static str>,
}

impl Node {
    fn at(&mut self, name: &str) -> &mut Self {
        name.split('.').fold(self, |node, part| {
            node.below.entry(part.into()).or_default()
        })
    }

    fn is_mapping(&self) -> bool {
        !self.below.is_empty() || self.open.is_some()
    }

    fn schema(&self) -> Value {
        match &self.leaf {
            Some(leaf) if self.is_mapping() => json!({"anyOf": [leaf, self.object()]}),
            Some(leaf) => leaf.clone(),
            None => Value::Object(self.object()),
        }
    }

    fn object(&self) -> Map<String, Value> {
        let below = self.below.iter();
        let properties: Map<_, _> = below
            .map(|(part, node)| (part.clone(), node.schema()))
            .collect();
        let mut object = Map::new();
        object.insert("type".into(), json!(["object", "null"]));
        if let Some(why) = self.open {
            object.insert(
                "description".into(),
                format!("Other properties have no effect: {why}.").into(),
            );
        }
        object.insert("additionalProperties".into(), self.open.is_some().into());
        object.insert("properties".into(), properties.into());
        object
    }

    /// Where each setting below it stands, by its full name.
    fn full_names(&self, name: &str, pointer: &str, names: &mut Map<String, Value>) {
        for (part, node) in &self.below {
            let name = if name.is_empty() {
                part.clone()
            } else {
                format!("{name}.{part}")
            };
            let mut at = format!("{pointer}/properties/{part}");
            if node.leaf.is_some() {
                let leaf = if node.is_mapping() {
                    format!("{at}/anyOf/0")
                } else {
                    at.clone()
                };
                if name.contains('.') {
                    names.insert(name.clone(), json!({"$ref": leaf}));
                }
                at += "/anyOf/1";
            }
            node.full_names(&name, &at, names);
        }
    }
}

fn leaf(setting: &Setting) -> Value {
    let mut schema = form(setting.kind);
    let unit = match setting.kind {
        Kind::Number { unit, .. } if !unit.is_empty() => format!(" In {unit}."),
        Kind::Millis { .. } => " In ms.".into(),
        Kind::Seconds => " In s.".into(),
        _ => String::new(),
    };
    let description = format!("{}{unit}", setting.doc.trim());
    schema.insert("description".into(), description.into());
    if let Some(default) = setting.default {
        schema.insert("default".into(), plain(setting.kind, default));
    }
    Value::Object(schema)
}

/// What may be written; nothing at all leaves the default.
fn form(kind: Kind) -> Map<String, Value> {
    let whole =
        |min: i64, max: i64| json!({"type": ["integer", "null"], "minimum": min, "maximum": max});
    let matching = |pattern: &str| json!({"type": ["string", "null"], "pattern": pattern});
    let form = match kind {
        Kind::Flag => json!({"type": ["boolean", "null"]}),
        Kind::Number { min, max, .. } => whole(min, max),
        Kind::Millis { min } => whole(min.into(), i32::MAX.into()),
        Kind::Seconds => whole(1, i32::MAX.into()),
        Kind::Iso8601 => {
            json!({"type": ["string", "integer", "null"], "minimum": 0, "pattern": DURATION})
        }
        Kind::Text | Kind::Password | Kind::Path | Kind::WrittenPath => {
            json!({"type": ["string", "number", "null"]})
        }
        Kind::Regex => json!({"type": ["string", "null"], "format": "regex"}),
        Kind::Address => matching(ADDRESS),
        Kind::Addresses => json!({
            "type": ["string", "array", "null"],
            "pattern": format!("^{ADDRESSES}( *, *{ADDRESSES})*$"),
            "items": {"type": "string", "pattern": format!("^{ADDRESSES}$")},
        }),
        Kind::List => json!({"type": ["string", "array", "null"], "items": {"type": "string"}}),
        Kind::OneOf(words) => json!({"enum": either_case(words)}),
    };
    match form {
        Value::Object(form) => form,
        _ => Map::new(),
    }
}

/// The words as they are and in lower case, which editors can offer; an empty value leaves the default.
fn either_case(words: &[&str]) -> Vec<Value> {
    let mut both: Vec<String> = words
        .iter()
        .flat_map(|word| [(*word).to_owned(), word.to_lowercase()])
        .collect();
    both.sort();
    both.dedup();
    both.into_iter()
        .map(Value::from)
        .chain([Value::Null])
        .collect()
}

/// A default in its plain form.
fn plain(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Flag | Kind::Number { .. } | Kind::Millis { .. } | Kind::Seconds => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        Kind::List => text.split(',').filter(|item| !item.is_empty()).collect(),
        _ => text.into(),
    }
}

/// Levels of single crates; those of Hono's classes have no effect.
fn categories() -> Value {
    let level = json!({
        "type": ["object", "null"],
        "properties": {"level": {"enum": either_case(super::service::LEVELS)}},
    });
    json!({
        "type": ["object", "null"],
        "description": "Log levels of single crates: `dtls_server: {level: DEBUG}`.",
        "additionalProperties": level,
    })
}

fn no_effect(why: &str) -> String {
    format!("Accepted without effect: {why}.")
}

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
const ADDRESS: &str = r"^([0-9.]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?|localhost)$";
/// One of several addresses, perhaps with a zone.
const ADDRESSES: &str =
    r"([0-9.]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[0-9A-Za-z_.@-]+)?\]?|localhost)";
const DURATION: &str = r"^([0-9]+|[Pp]?([Tt]?[0-9]+(\.[0-9]+)?([Mm][Ss]|[DdHhMmSs]))+)$";

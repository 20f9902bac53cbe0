//! Effective settings from all sources: the last source that sets one wins, and is recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::{Origin, Problem, Setting, kind::Value, setting::FromValue, source::Written};

/// Values that are set, by full name; other settings have their defaults.
#[derive(Debug, Clone, Default)]
pub(super) struct Chosen {
    values: BTreeMap<String, Choice>,
    failed: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
}

/// A value and its source.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) value: Value,
    /// As it was written.
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Chosen {
    /// Records a written setting; it overrides an earlier one.
    pub(super) fn write(&mut self, setting: &Setting, written: Written) {
        let Written { name, text, origin } = written;
        let read = if is_expression(&text) {
            Err("written out: expressions are not expanded here; an environment variable overrides the file".to_owned())
        } else {
            setting.kind.read(&text)
        };
        match read {
            Ok(value) => {
                self.values.insert(
                    name,
                    Choice {
                        value,
                        text,
                        origin,
                    },
                );
            }
            Err(wanted) => {
                let shown = if setting.kind.is_secret() {
                    String::new()
                } else {
                    format!(" is `{text}`, but")
                };
                let hint = service_link(&text, &origin);
                self.problems.push(Problem::new(
                    origin,
                    format!("`{name}`{shown} should be {wanted}{hint}"),
                ));
                self.failed.insert(name);
            }
        }
    }

    /// The value of a row, for its field.
    pub(super) fn take<T: FromValue>(&self, prefix: &str, row: Option<&Setting>) -> T {
        let taken = row.and_then(|setting| {
            let written = self.values.get(&full_name(prefix, setting.key));
            let default = || {
                setting
                    .default
                    .and_then(|text| setting.kind.read(text).ok())
            };
            T::from_value(
                written
                    .map(|choice| choice.value.clone())
                    .or_else(default)
                    .as_ref(),
            )
        });
        #[expect(clippy::expect_used, reason = "a test takes every row of every table")]
        taken.expect("the kind and the default of a row fit its field")
    }

    /// Who wrote the setting, if somebody did.
    pub(super) fn choice(&self, prefix: &str, key: &str) -> Option<&Choice> {
        self.values.get(&full_name(prefix, key))
    }

    /// Reports a missing setting, unless it is present and invalid.
    pub(super) fn require(&mut self, prefix: &str, key: &str, text: &str) {
        let name = full_name(prefix, key);
        if !self.failed.contains(&name) {
            self.problems
                .push(Problem::missing(format!("`{name}` {text}")));
        }
    }

    /// Reports settings that are valid each but not together, at the first of them that is set.
    /// Does nothing if one of them is invalid already.
    pub(super) fn refuse(&mut self, prefix: &str, keys: &[&str], text: impl Into<String>) {
        let mut names = keys.iter().map(|key| full_name(prefix, key));
        if names.clone().any(|name| self.failed.contains(&name)) {
            return;
        }
        let written = names.find_map(|name| Some((self.values.get(&name)?.origin.clone(), name)));
        let text = text.into();
        self.problems.push(match written {
            Some((origin, name)) => Problem::new(origin, format!("`{name}`: {text}")),
            None => Problem::missing(format!("`{prefix}`: {text}")),
        });
    }
}

pub(super) fn full_name(prefix: &str, key: &str) -> String {
    format!("{prefix}.{key}")
}

/// Whether the text is an expression such as `${NAME}` or `${NAME:default}`, which Hono expands.
fn is_expression(text: &str) -> bool {
    let inner = text
        .trim()
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']))
}

/// Kubernetes sets `<SERVICE>_PORT` for every service; one named `hono-coap` meets the setting's name.
fn service_link(text: &str, origin: &Origin) -> &'static str {
    let from_kubernetes = ["tcp://", "udp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    match origin {
        Origin::Variable(_) if from_kubernetes => {
            "; Kubernetes sets this for a service of that name: set `enableServiceLinks: false` in the pod"
        }
        _ => "",
    }
}

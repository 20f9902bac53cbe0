//! Environment variables: `HONO_COAP_MAXPAYLOADSIZE` is `hono.coap.maxPayloadSize`.

use std::collections::BTreeMap;

use super::{
    Ignored, Origin,
    catalogue::{self, underscored, variable},
    service,
    source::{Written, closest},
};

/// What the environment says, and what in it nobody listens to.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) written: Vec<Written>,
    pub(super) ignored: Vec<Ignored>,
    pub(super) warnings: Vec<String>,
}

/// Picks what is known from the environment. An empty variable counts as one that is not set.
pub(super) fn read(environment: impl Iterator<Item = (String, String)>) -> Variables {
    let names: Vec<String> = catalogue::all().map(|(name, _)| name).collect();
    let spellings = spellings(&names);
    let mut variables = Variables::default();
    let mut environment: Vec<_> = environment
        .filter(|(_, text)| !text.trim().is_empty())
        .collect();
    // The spelling in upper case sorts first, so that the property's own name overrides it, as with
    // Hono.
    environment.sort();
    for (name, text) in environment {
        if let Some(known) = spellings.get(name.as_str()) {
            let origin = Origin::Variable(name);
            variables.written.push(Written {
                name: (*known).to_owned(),
                text,
                origin,
            });
        } else if let Some(category) = service::category_of_variable(&name) {
            let origin = Origin::Variable(name);
            variables.written.push(Written {
                name: category,
                text,
                origin,
            });
        } else if let Some(meant) = catalogue::renamed_variable(&name)
            .or_else(|| nearly(&name, &spellings).map(str::to_owned))
        {
            variables.warnings.push(format!(
                "{name} is not known and has no effect; did you mean {meant}?"
            ));
        } else if let Some(why) = catalogue::without_effect_variable(&name) {
            variables.ignored.push(Ignored { name, why });
        }
    }
    variables
}

/// The three spellings under which Hono finds a property in the environment.
fn spellings(names: &[String]) -> BTreeMap<String, &str> {
    let three = |name: &String| [name.clone(), underscored(name), variable(name)];
    names
        .iter()
        .flat_map(|name| three(name).map(|spelling| (spelling, name.as_str())))
        .collect()
}

/// A known variable that somebody may have meant; what means nothing here is meant as it stands.
fn nearly<'s>(name: &str, spellings: &'s BTreeMap<String, &str>) -> Option<&'s str> {
    let ours = ["HONO_", "QUARKUS_", "OTEL_"]
        .iter()
        .any(|prefix| name.to_ascii_uppercase().starts_with(prefix));
    let without_effect = catalogue::names_without_effect().any(|known| variable(&known) == name);
    let upper = spellings
        .keys()
        .map(String::as_str)
        .filter(|spelling| !spelling.chars().any(|letter| letter.is_ascii_lowercase()));
    (ours && !without_effect)
        .then(|| closest(name, upper))
        .flatten()
}

//! One version of a package in the whole workspace, but for exceptions with a reason.
//!
//! Asks `cargo tree`: `cargo metadata` also has optional dependencies that nobody switched on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::step::{self, cargo};

/// Packages of which there are several versions, and why that must be.
const EXCEPTIONS: [(&str, &str); 8] = [
    (
        "coap-message",
        "coap-lite implements the traits of two versions",
    ),
    ("const-oid", OCSP),
    ("der", OCSP),
    (
        "getrandom",
        "ring has not yet moved to the one that uuid and proptest have",
    ),
    ("rand", TRACES),
    ("rand_core", TRACES),
    ("syn", MACROS),
    ("synstructure", MACROS),
];

const OCSP: &str = "x509-ocsp has not yet moved to the one that p256 has";
const TRACES: &str = "opentelemetry_sdk has not yet moved to the one that the rest has";
const MACROS: &str = "macros run while building and are in no program";

pub(super) fn faults() -> Result<Vec<String>> {
    let words =
        "tree --locked --workspace --edges normal,build,dev --prefix none --no-dedupe --format {p}";
    let tree = step::output(&mut cargo(words.split(' ')))?;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, rest) in tree.lines().filter_map(|line| line.split_once(' ')) {
        versions
            .entry(name)
            .or_default()
            .extend(rest.split(' ').next());
    }
    let several: BTreeMap<_, _> = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .collect();
    let excepted = |name: &str| EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
    let denied = several.iter().filter(|(name, _)| !excepted(name));
    let mut faults: Vec<String> = denied
        .map(|(name, versions)| {
            format!(
                "{name} is there in versions {}",
                Vec::from_iter(versions.iter().copied()).join(" and ")
            )
        })
        .collect();
    let idle = EXCEPTIONS
        .iter()
        .filter(|(name, _)| !several.contains_key(name));
    faults.extend(
        idle.map(|(name, why)| format!("{name} is there once, the exception ({why}) can go")),
    );
    Ok(faults)
}

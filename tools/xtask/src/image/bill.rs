//! The software bill of materials of the image, in the form of `CycloneDX`: the crates that the binary is linked of, and the packages that
//! its files come from.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use serde_json::{Value, json};

/// The bill as text.
pub(super) fn of(metadata: &Metadata, debian: &[(String, String)]) -> Result<String> {
    let product = metadata
        .packages
        .iter()
        .find(|package| package.name == "coap-adapter")
        .context("no package `coap-adapter`")?;
    let linked = linked(metadata, &product.id)?;
    let crates = metadata
        .packages
        .iter()
        .filter(|package| linked.contains(&package.id) && package.id != product.id);
    let mut components: Vec<Value> = crates.map(crate_of).collect();
    components.extend(debian.iter().map(|(name, version)| {
        let purl = format!("pkg:deb/debian/{name}@{version}");
        json!({"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl})
    }));
    println!("image: {} components in its bill", components.len());
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "coap-adapter", "version": product.version.to_string()}},
        "components": components,
    });
    Ok(format!("{bill:#}\n"))
}

fn crate_of(package: &Package) -> Value {
    let purl = format!("pkg:cargo/{}@{}", package.name, package.version);
    let licences: Vec<Value> = package
        .license
        .iter()
        .map(|expression| json!({"expression": expression.replace('/', " OR ")}))
        .collect();
    json!({
        "type": "library",
        "name": package.name.to_string(),
        "version": package.version.to_string(),
        "purl": purl,
        "bom-ref": purl,
        "licenses": licences,
    })
}

/// What is reached without what only builds or tests.
fn linked(metadata: &Metadata, product: &PackageId) -> Result<BTreeSet<PackageId>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo resolved nothing")?;
    let mut linked = BTreeSet::new();
    let mut open = vec![product.clone()];
    while let Some(id) = open.pop() {
        if !linked.insert(id.clone()) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id);
        let normal = node
            .into_iter()
            .flat_map(|node| &node.deps)
            .filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            });
        open.extend(normal.map(|dependency| dependency.pkg.clone()));
    }
    Ok(linked)
}

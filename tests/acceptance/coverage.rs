//! The tables that say which test proves which line of the specification name only what exists.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use crate::scene::workspace;

const TABLES: [&str; 4] = [
    "coap-adapter",
    "command-routing",
    "resource-limits",
    "reference-tests",
];

#[test]
fn every_proof_that_a_table_names_exists() {
    let functions = functions();
    let cases = workspace().join("tests/vectors/golden/cases");
    let mut wrong = Vec::new();
    for name in TABLES {
        let table = workspace().join(format!("tests/coverage/{name}.tsv"));
        for line in fs::read_to_string(&table).unwrap().lines() {
            if line.starts_with('#') {
                continue;
            }
            let row: Vec<&str> = line.split('\t').collect();
            let [section, claim, proofs] = *row.as_slice() else {
                wrong.push(format!("{name}: a row has three columns: {line}"));
                continue;
            };
            let exists = |proof: &str| match proof.strip_prefix("golden:") {
                Some(case) => cases.join(format!("{case}.json")).is_file(),
                None => functions.contains(proof),
            };
            let why = ["gap: ", "elsewhere: "]
                .iter()
                .find_map(|prefix| proofs.strip_prefix(prefix));
            match why {
                _ if why.unwrap_or(proofs).trim().is_empty() => {
                    wrong.push(format!("{name} §{section}: nothing proves `{claim}`"));
                }
                Some(_) => {}
                None => wrong.extend(
                    proofs
                        .split(' ')
                        .filter(|proof| !exists(proof))
                        .map(|proof| format!("{name} §{section}: there is no {proof}")),
                ),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every row of the page about the differences from Hono names a test in its last column.
#[test]
fn every_difference_from_hono_names_a_test_that_exists() {
    let functions = functions();
    let page = fs::read_to_string(workspace().join("docs/migrating.md")).unwrap();
    let (_, differences) = page.split_once("## What is different from Hono").unwrap();
    let cells = |line: &str| -> Option<Vec<String>> {
        let line = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(
            line.split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect(),
        )
    };
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in differences.lines().filter_map(cells) {
        let [subject, _, _, tests] = row.as_slice() else {
            wrong.push(format!("a row has four columns: {row:?}"));
            continue;
        };
        if subject == "subject" || subject.starts_with("---") {
            continue;
        }
        rows += 1;
        let exists = |test: &str| {
            let name = test.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
            name.is_some_and(|name| functions.contains(name))
        };
        let missing = tests.split(", ").filter(|test| !exists(test));
        wrong.extend(missing.map(|test| format!("{subject}: there is no test {test}")));
    }
    assert!(rows > 20, "{rows} rows were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The names of all test functions of the workspace.
fn functions() -> HashSet<String> {
    let mut names = HashSet::new();
    let mut folders: Vec<PathBuf> = [
        "protocols",
        "network",
        "adapter",
        "registry-client",
        "sandbox",
        "tools",
        "tests",
    ]
    .map(|folder| workspace().join(folder))
    .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                names.extend(tests_of(&path));
            }
        }
    }
    names
}

/// A test's name stands behind the first `fn` after its attribute. The tests against independent
/// programs have a runner of their own, which needs no attribute.
fn tests_of(source: &Path) -> Vec<String> {
    let text = fs::read_to_string(source).unwrap();
    let has_runner = source.starts_with(workspace().join("tests/interop"));
    let mut names = Vec::new();
    let mut is_test = has_runner;
    for line in text.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line);
        if let Some(rest) = function.strip_prefix("fn ") {
            if is_test {
                names.extend(rest.split('(').next().map(str::to_owned));
            }
            is_test = has_runner;
        }
    }
    names
}

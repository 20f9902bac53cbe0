//! Walks the table of bounds in docs/security.md: no bounded table is missing, and each row names a
//! metric and a test that exist.

use std::{collections::BTreeSet, fs, path::Path};

use acceptance::stand;

use crate::scene::workspace;

/// A row: resource, bound in total, shares, entry that makes room, metric, test, reason.
const COLUMNS: usize = 7;
const TOTAL: usize = 1;
const METRIC: usize = 4;
const TEST: usize = 5;

#[test]
fn each_bounded_table_has_a_row() {
    let everything = [
        ("HONO_RESOURCELIMITS_PROMETHEUSBASED_HOST", "127.0.0.1"),
        ("HONO_BUDGET_DEVICE_MESSAGES", "100"),
        ("HONO_COAP_RESUMPTIONCACHESIZE", "100"),
    ];
    let services = ([127, 0, 0, 1], 5672).into();
    let config = stand::config(services, &everything).unwrap();
    let rows = rows();
    for share in &config.memory.shares {
        let name = format!("`{}`", share.table.name());
        let is_there = rows.iter().any(|row| row[TOTAL].contains(&name));
        assert!(is_there, "docs/security.md has no row for the table {name}");
    }
}

#[test]
fn each_row_names_a_metric_that_is_documented() {
    let documented = fs::read_to_string(workspace().join("docs/metrics.md")).unwrap();
    for row in rows() {
        let names: Vec<_> = quoted(&row[METRIC]).collect();
        let is_said = !names.is_empty() || row[METRIC] == "none";
        assert!(is_said, "{}: no metric", row[0]);
        for name in names {
            assert!(
                documented.contains(name),
                "{}: docs/metrics.md has no {name}",
                row[0]
            );
        }
    }
}

#[test]
fn each_row_names_a_test_that_exists() {
    let mut tests = BTreeSet::new();
    for folder in [
        "protocols",
        "network",
        "adapter",
        "registry-client",
        "sandbox",
        "tools",
        "tests",
    ] {
        collect_functions(&workspace().join(folder), &mut tests);
    }
    for row in rows() {
        let names: Vec<_> = quoted(&row[TEST]).collect();
        assert!(!names.is_empty(), "{}: no test", row[0]);
        for name in names {
            assert!(tests.contains(name), "{}: there is no test {name}", row[0]);
        }
    }
}

/// The cells of each row of the table under the heading "Bounds and shares".
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let section = page.split("\n## Bounds and shares\n").nth(1).unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with("## "));
    let rows = lines.filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Vec<String>> = rows
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(rows.len() > 10, "the table has {} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), COLUMNS, "{row:?}");
    }
    rows
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Names of all functions in the Rust files of a folder.
fn collect_functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect_functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let functions = text.lines().filter_map(|line| {
                let (_, after) = line.split_once("fn ")?;
                after.split(['(', '<']).next()
            });
            names.extend(functions.map(str::to_owned));
        }
    }
}

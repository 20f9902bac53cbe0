//! Prints which test proves which line of the specification, and the lines that none proves; that the tests exist is checked by
//! the acceptance tests.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

pub(crate) fn run() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/coverage");
    let (mut rows, mut untested, mut gaps) = (0, Vec::new(), Vec::new());
    for name in TABLES {
        let table = folder.join(name).with_extension("tsv");
        let text = fs::read_to_string(&table).with_context(|| format!("no {}", table.display()))?;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.splitn(3, '\t').collect();
            let [section, claim, proofs] = *columns.as_slice() else {
                anyhow::bail!("{name}: a row has three columns: {line}");
            };
            rows += 1;
            println!("{name} {section}: {claim}\n    {proofs}");
            for (list, prefix) in [(&mut gaps, "gap: "), (&mut untested, "elsewhere: ")] {
                if let Some(why) = proofs.strip_prefix(prefix) {
                    list.push(format!("{name} {section}: {claim}\n    {why}"));
                }
            }
        }
    }
    println!("\n{rows} lines, {} gaps", gaps.len());
    for gap in gaps {
        println!("{gap}");
    }
    println!("{} lines are no matter of what is here", untested.len());
    for line in untested {
        println!("{line}");
    }
    Ok(())
}

/// In the order in which they are printed.
const TABLES: [&str; 4] = [
    "coap-adapter",
    "command-routing",
    "resource-limits",
    "reference-tests",
];

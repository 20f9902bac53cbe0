//! The text files that the repository tracks.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use crate::step;

/// Name and text of each tracked file that is text and still there.
pub(super) fn texts(root: &Path) -> Result<Vec<(String, String)>> {
    let mut list = Command::new("git");
    let listed = step::output(list.args(["ls-files", "-z"]).current_dir(root))?;
    let names = listed.split('\0').filter(|name| !name.is_empty());
    let texts = names.filter_map(|name| {
        let text = fs::read_to_string(root.join(name)).ok()?;
        Some((name.to_owned(), text))
    });
    Ok(texts.collect())
}

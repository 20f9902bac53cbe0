//! References to the specification, such as `spec: coap-adapter §4`, that lead nowhere.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

/// Where the pages are.
const FOLDER: &str = "docs/spec";

/// Headings of each page, without the `#`.
type Pages = BTreeMap<String, Vec<String>>;

pub(super) fn faults(root: &Path, texts: &[(String, String)]) -> Result<Vec<String>> {
    let pages = pages(&root.join(FOLDER))?;
    let mut faults = Vec::new();
    for (name, text) in texts {
        for (index, line) in text.lines().enumerate() {
            let found = references(name, line).flat_map(|reference| dangling(&pages, reference));
            faults.extend(found.map(|fault| format!("{name}:{}: {fault}", index + 1)));
        }
    }
    Ok(faults)
}

fn pages(folder: &Path) -> Result<Pages> {
    let mut pages = Pages::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {FOLDER}"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let headings = headings.map(|line| line.trim_start_matches('#').trim().to_owned());
        if let Some(page) = path.file_stem().and_then(|stem| stem.to_str()) {
            pages.insert(page.to_owned(), headings.collect());
        }
    }
    Ok(pages)
}

/// What follows each [`MARK`] in a comment of code or in a page, up to the end of the reference.
fn references<'a>(name: &str, line: &'a str) -> impl Iterator<Item = &'a str> {
    let prose = if name.ends_with(".rs") {
        line.split_once("//").map_or("", |(_, comment)| comment)
    } else if name.ends_with(".md") {
        line
    } else {
        ""
    };
    let after = prose.match_indices(MARK).map(move |(at, mark)| {
        let from = prose.get(at + mark.len()..).unwrap_or_default();
        from.split([')', '`']).next().unwrap_or_default()
    });
    after.filter(|reference| !reference.starts_with('<'))
}

/// The parts of a reference that lead nowhere. A reference names a page, then sections of it, then
/// perhaps another page: `coap-adapter §4 steps 4 and 5, §5; amqp-messages §2-§4`.
fn dangling(pages: &Pages, reference: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut page = None;
    for word in reference.split([' ', ',', ';']) {
        if let Some(headings) = pages.get(word.trim_end_matches('.')) {
            page = Some((word, headings));
            continue;
        }
        let Some((page, headings)) = page else { break };
        for section in word.split('-').filter_map(section) {
            let opening = format!("{section}.");
            let is_there = headings.iter().any(|heading| {
                heading.starts_with(&opening) || heading.starts_with(&format!("{section} "))
            });
            if !is_there {
                faults.push(format!("{FOLDER}/{page}.md has no section {section}"));
            }
        }
    }
    if page.is_none() {
        faults.push(format!("`{MARK}{reference}` names no page of {FOLDER}"));
    }
    faults
}

/// The section that a word names: `§4`, `A.3`, or the single letter of a part.
fn section(word: &str) -> Option<&str> {
    let word = word.trim_end_matches('.');
    if let Some(section) = word.strip_prefix('§') {
        return Some(section);
    }
    let is_part = |part: &str| matches!(part, "A" | "B" | "C");
    let (part, rest) = word.split_once('.').unwrap_or((word, "1"));
    let is_section = is_part(part) && rest.parse::<u8>().is_ok();
    is_section.then_some(word)
}

/// What a reference begins with.
const MARK: &str = "spec: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(reference: &str) -> Vec<String> {
        let headings = |list: &[&str]| list.iter().map(|&heading| heading.to_owned()).collect();
        let pages = Pages::from([
            ("one".to_owned(), headings(&["1. Scope", "2. More"])),
            ("two".to_owned(), headings(&["A. Part", "A.3 Section"])),
        ]);
        dangling(&pages, reference)
    }

    #[test]
    fn references_to_sections_that_are_there_pass() {
        for good in [
            "one",
            "one §1",
            "one §1-§2, §2 step 4; two A.3",
            "two part A, rules",
            "two A.",
        ] {
            assert_eq!(faults_of(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn references_that_lead_nowhere_are_reported() {
        for bad in [
            "three §1",
            "one §3",
            "one §1-§3",
            "two A.4",
            "two part B",
            "§1",
        ] {
            assert_eq!(faults_of(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn only_comments_and_pages_are_read() {
        let found = |name, line| references(name, line).count();
        let code = format!("{MARK}bool, // {MARK}one §1");
        assert_eq!(found("a.rs", &code), 1);
        assert_eq!(found("a.rs", "change_cipher_spec: bool,"), 0);
        let page = format!("({MARK}one §1) and `{MARK}<page> §<n>`");
        assert_eq!(found("a.md", &page), 1);
        assert_eq!(found("a.yaml", &code), 0);
    }
}

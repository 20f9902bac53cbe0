//! Tables of all settings in Markdown, for the documentation.

use super::{GROUPS, Group, Kind, Setting, variable};

/// One table for all groups that share their settings.
#[must_use]
pub fn table() -> String {
    let mut page = String::new();
    for (number, group) in GROUPS.iter().enumerate() {
        let alike = |other: &&Group| keys(other).eq(keys(group));
        if GROUPS.iter().position(|other| alike(&other)) != Some(number) {
            continue;
        }
        let sharing = GROUPS.iter().filter(alike);
        let prefixes = sharing.map(|group| group.prefix);
        page += &format!("### {}\n\n", group.topic);
        for prefix in prefixes {
            page += &format!("- `{prefix}.*`, variables `{}_*`\n", variable(prefix));
        }
        page.push('\n');
        page += "| Setting | Value | Default | Meaning |\n| --- | --- | --- | --- |\n";
        page.extend(group.settings.iter().map(row));
        page.push('\n');
    }
    page
}

fn keys(group: &Group) -> impl Iterator<Item = &str> {
    group.settings.iter().map(|setting| setting.key)
}

fn row(setting: &Setting) -> String {
    let wanted = match setting.kind {
        Kind::OneOf(words) if words.len() > MANY => format!("one of {}, ...", some(words)),
        kind => kind.wanted(),
    };
    let default = match setting.default {
        None => String::new(),
        Some("") => "none".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let cells = [
        &format!("`{}`", setting.key),
        &wanted,
        &default,
        setting.doc.trim(),
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

fn some(words: &[&str]) -> String {
    words
        .iter()
        .take(MANY)
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Maximum number of words that a cell lists.
const MANY: usize = 8;

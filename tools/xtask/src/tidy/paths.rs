//! Paths that exist only on an author's machine.

pub(super) fn faults(texts: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, text) in texts {
        for (index, line) in text.lines().enumerate() {
            if let Some(path) = machine_path(line) {
                faults.push(format!(
                    "{name}:{}: a path of one machine, {path}",
                    index + 1
                ));
            }
        }
    }
    faults
}

/// The folder that gives a line away.
fn machine_path(line: &str) -> Option<String> {
    HOMES.iter().map(|home| format!("/{home}/")).find(|folder| {
        line.match_indices(folder.as_str()).any(|(at, _)| {
            // `x/work/` is a path inside of something, and no machine's.
            let before = line.get(..at).and_then(|start| start.chars().next_back());
            !before.is_some_and(|before| {
                before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '}' | ')')
            })
        })
    })
}

/// First folders of such paths, without the slashes, so that this file does not report itself.
const HOMES: [&str; 4] = ["work", "root", "home", "Users"];

#[cfg(test)]
mod tests {
    use super::machine_path;

    #[test]
    fn only_paths_from_the_root_of_a_machine_are_reported() {
        for home in super::HOMES {
            for (line, found) in [
                (format!("see /{home}/x"), true),
                (format!("\"/{home}/x\""), true),
                (format!("FROM=/{home}/"), true),
                (format!("a/{home}/b"), false),
                (format!("../{home}/b"), false),
                (format!("$HOME/{home}"), false),
                (home.to_owned(), false),
            ] {
                assert_eq!(machine_path(&line).is_some(), found, "{line}");
            }
        }
    }
}

//! The table of values, from the comments of `values.yaml`: a comment that begins with `--` tells of the next key.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::manifest;

/// The table as Markdown.
pub(super) fn of(text: &str) -> Result<String> {
    let values = manifest::read(text)?.pop().unwrap_or_default();
    let mut table = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
    let (mut path, mut reported): (Vec<(usize, &str)>, Option<&str>) = (Vec::new(), None);
    for line in text.lines() {
        let rest = line.trim_start();
        if let Some(comment) = rest.strip_prefix("# -- ") {
            ensure!(reported.is_none(), "two comments for one value: {comment}");
            reported = Some(comment);
            continue;
        }
        let Some((key, _)) = rest
            .split_once(':')
            .filter(|_| !rest.starts_with(['#', '-']))
        else {
            continue;
        };
        let depth = line.len() - rest.len();
        path.retain(|(outer, _)| *outer < depth);
        path.push((depth, key));
        if let Some(meaning) = reported.take() {
            let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            table += &row(&keys, &values, meaning);
        }
    }
    ensure!(reported.is_none(), "the last comment documents no value");
    Ok(table)
}

fn row(keys: &[&str], values: &Value, meaning: &str) -> String {
    let held = keys.iter().fold(values, |held, key| &held[*key]);
    let default = match held {
        Value::Object(entries) if !entries.is_empty() => "see `values.yaml`".to_owned(),
        Value::Array(items) if !items.is_empty() => "see `values.yaml`".to_owned(),
        other => format!("`{other}`"),
    };
    format!(
        "| `{}` | {default} | {} |\n",
        keys.join("."),
        meaning.replace('|', "\\|")
    )
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn each_told_value_has_a_row_with_its_whole_name() {
        let text = "a:\n  # -- First | one.\n  b: 1\n  c: 2\n# Not listed.\nd: x\n# -- All of it.\ne:\n  - f: 1\n  # -- Deep.\ng: []\n";
        let rows: Vec<_> = of(text)
            .unwrap()
            .lines()
            .skip(2)
            .map(str::to_owned)
            .collect();
        assert_eq!(
            rows,
            [
                "| `a.b` | `1` | First \\| one. |",
                "| `e` | see `values.yaml` | All of it. |",
                "| `g` | `[]` | Deep. |",
            ]
        );
    }

    #[test]
    fn a_comment_that_tells_of_nothing_is_refused() {
        assert!(of("a: 1\n# -- Nothing.\n").is_err());
        assert!(of("# -- One.\n# -- Two.\na: 1\n").is_err());
    }
}

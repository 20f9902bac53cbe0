//! Whether every package may be shipped with a work under EPL-2.0.

use cargo_metadata::Metadata;

/// Licences that ask for no more than notices, by their SPDX names, and our own.
const ALLOWED: [&str; 11] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "CC0-1.0",
    "0BSD",
    "EPL-2.0",
];

pub(super) fn faults(metadata: &Metadata) -> Vec<String> {
    let forbidden = metadata
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_allowed));
    forbidden
        .map(|package| {
            format!(
                "{} {} has the licence {}",
                package.name,
                package.version,
                package.license.as_deref().unwrap_or("?")
            )
        })
        .collect()
}

/// Whether an SPDX expression leaves a choice that is allowed. A licence `WITH` an exception allows what the licence does.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut allowed = all(words);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        allowed |= all(words);
    }
    allowed
}

fn all(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = any(words);
            if let [")", rest @ ..] = words {
                *words = rest;
            }
            allowed
        }
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            let allowed = ALLOWED.contains(licence);
            *words = rest;
            allowed
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn an_expression_is_allowed_if_a_choice_in_it_is() {
        let rows = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR GPL-2.0-only) AND OpenSSL", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
            ("", false),
            ("MIT MIT", false),
        ];
        for (expression, allowed) in rows {
            assert_eq!(is_allowed(expression), allowed, "{expression}");
        }
    }
}

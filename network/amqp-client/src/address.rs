//! The addresses of links, and the rule that rewrites those of senders (spec: amqp-messages §1).

use std::{borrow::Cow, str::FromStr};

use regex::Regex;

use crate::ConfigError;

/// `"<regex> <replacement>"`: each match of the expression in an address is replaced.
///
/// ```
/// let rule: amqp_client::AddressRewriteRule = "^([a-z_]+)/(.*)$ hono.$1.$2".parse()?;
/// assert_eq!(rule.apply("telemetry/T"), "hono.telemetry.T");
/// # Ok::<(), amqp_client::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AddressRewriteRule {
    pattern: Regex,
    replacement: String,
}

impl AddressRewriteRule {
    /// The address to attach to instead of `address`.
    #[must_use]
    pub fn apply<'a>(&self, address: &'a str) -> Cow<'a, str> {
        self.pattern.replace_all(address, self.replacement.as_str())
    }
}

impl FromStr for AddressRewriteRule {
    type Err = ConfigError;

    fn from_str(rule: &str) -> Result<Self, ConfigError> {
        let (pattern, replacement) = rule
            .split_once(' ')
            .ok_or(ConfigError::AddressRewriteRule { source: None })?;
        let pattern = Regex::new(pattern).map_err(|source| ConfigError::AddressRewriteRule {
            source: Some(Box::new(source)),
        })?;
        Ok(Self {
            pattern,
            replacement: java_to_rust(replacement.trim()),
        })
    }
}

/// A replacement as Java reads it (`$1x` is group 1 and an `x`, `${name}` a named one, `\` takes the next as it is), as the
/// `regex` crate reads it.
fn java_to_rust(replacement: &str) -> String {
    let mut written = String::with_capacity(replacement.len());
    let mut rest = replacement.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some('$') => written.push_str("$$"),
                Some(literal) => written.push(literal),
                None => {}
            },
            '$' if rest.peek().is_some_and(char::is_ascii_digit) => {
                written.push_str("${");
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    written.push(digit);
                }
                written.push('}');
            }
            other => written.push(other),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::AddressRewriteRule;

    #[test]
    fn a_rule_replaces_all_matches() {
        for (rule, address, rewritten) in [
            (
                "([a-z_]+)/([\\w-]+) $1.$2",
                "telemetry/T-1",
                "telemetry.T-1",
            ),
            ("/ .", "command_response/T/a/b", "command_response.T.a.b"),
            ("^(\\w+)/(.+)$ $1x/$2", "event/T", "eventx/T"),
            ("^(?<kind>\\w+)/ ${kind}\\$/", "event/T", "event$/T"),
            ("nothing else", "event/T", "event/T"),
        ] {
            let rule: AddressRewriteRule = rule.parse().unwrap();
            assert_eq!(rule.apply(address), rewritten, "{rule:?}");
        }
    }

    #[test]
    fn a_rule_needs_both_parts() {
        for rule in ["", "onlyapattern", "( x"] {
            assert!(rule.parse::<AddressRewriteRule>().is_err(), "{rule}");
        }
    }
}

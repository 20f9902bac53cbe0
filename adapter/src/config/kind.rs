//! What a setting may hold: how its text is read, and how the right text is described.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use regex::Regex;

use super::{
    Secret,
    bind::{self, BindAddress},
};

/// What may be written for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// True or false.
    Flag,
    /// A whole number; the unit is empty if it only counts.
    Number {
        /// The least that is allowed.
        min: i64,
        /// The most that is allowed.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// A length of time as a whole number of milliseconds.
    Millis {
        /// The least that is allowed, in milliseconds.
        min: u32,
    },
    /// A length of time as a whole number of seconds, at least 1.
    Seconds,
    /// A length of time as ISO 8601 has it, `PT` may be omitted.
    Iso8601,
    /// Any text.
    Text,
    /// A text that is never shown.
    Password,
    /// The path of a file.
    Path,
    /// The path of a file that is written, and need not be there before.
    WrittenPath,
    /// A regular expression.
    Regex,
    /// An IP address of this machine.
    Address,
    /// IP addresses of this machine, parted by commas; link-local ones with their interface.
    Addresses,
    /// Texts parted by commas.
    List,
    /// One of these words, in upper or lower case.
    OneOf(&'static [&'static str]),
}

/// What was read.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Flag(bool),
    Number(i64),
    Duration(Duration),
    Text(String),
    Secret(Secret),
    Path(PathBuf),
    Regex(Regex),
    Address(IpAddr),
    Addresses(Vec<BindAddress>),
    List(Vec<String>),
}

impl Kind {
    /// Reads what is written.
    ///
    /// # Errors
    /// What would be right, as it goes on after "should be".
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        let value = match self {
            Self::Flag => flag(trimmed).map(Value::Flag),
            Self::Number { min, max, .. } => whole(trimmed, min, max).map(Value::Number),
            Self::Millis { min } => whole(trimmed, min.into(), i64::from(i32::MAX))
                .and_then(|number| u64::try_from(number).ok())
                .map(|number| Value::Duration(Duration::from_millis(number))),
            Self::Seconds => whole(trimmed, 1, i64::from(i32::MAX))
                .and_then(|number| u64::try_from(number).ok())
                .map(|number| Value::Duration(Duration::from_secs(number))),
            Self::Iso8601 => duration(trimmed).map(Value::Duration),
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Password => Some(Value::Secret(Secret::new(text.to_owned()))),
            Self::Path | Self::WrittenPath => Some(Value::Path(PathBuf::from(text))),
            Self::Regex => {
                return Regex::new(text)
                    .map(Value::Regex)
                    .map_err(|error| format!("{}; {}", self.wanted(), last_line(&error)));
            }
            Self::Address => address(trimmed).map(Value::Address),
            Self::Addresses => return BindAddress::parse_list(trimmed).map(Value::Addresses),
            Self::List => Some(Value::List(list(trimmed))),
            Self::OneOf(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(trimmed))
                .map(|word| Value::Text((*word).to_owned())),
        };
        value.ok_or_else(|| self.wanted())
    }

    /// What would be right, as it goes on after "should be".
    #[must_use]
    pub fn wanted(self) -> String {
        match self {
            Self::Flag => "`true` or `false`".into(),
            Self::Number { min, max, unit } => format!("a whole number{}", bounds(min, max, unit)),
            Self::Millis { min } => {
                format!("a whole number{}", bounds(min.into(), i64::MAX, "ms"))
            }
            Self::Seconds => format!("a whole number{}", bounds(1, i64::MAX, "s")),
            Self::Iso8601 => "a duration such as `PT2H30M`, `90s` or `0s`".into(),
            Self::Text => "a text".into(),
            Self::Password => "a password".into(),
            Self::Path | Self::WrittenPath => "the path of a file".into(),
            Self::Regex => "a regular expression".into(),
            Self::Address => "an IP address such as `127.0.0.1` or `0.0.0.0`".into(),
            Self::Addresses => bind::WANTED.into(),
            Self::List => "a comma-separated list".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether what is written must not be shown.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Password)
    }
}

fn bounds(min: i64, max: i64, unit: &str) -> String {
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    match (min, max) {
        (i64::MIN, i64::MAX) if unit.is_empty() => String::new(),
        (i64::MIN, i64::MAX) => format!(" of{unit}"),
        (_, i64::MAX) => format!(" of at least {min}{unit}"),
        _ => format!(" from {min} to {max}{unit}"),
    }
}

/// Parses the words that Hono accepts for true and false.
fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn whole(text: &str, min: i64, max: i64) -> Option<i64> {
    let number = text.parse().ok()?;
    (min..=max).contains(&number).then_some(number)
}

fn address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A duration as ISO 8601 has it (`P1DT2H30M5.5S`). As with Hono, a bare number counts seconds,
/// `PT` may be omitted, and
/// so may upper case.
fn duration(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let text = text.strip_prefix('P').unwrap_or(&text);
    let (mut total, mut rest, mut parts) = (Duration::ZERO, text, 0);
    while !rest.is_empty() {
        rest = rest.strip_prefix('T').unwrap_or(rest);
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, unit) = rest.split_at(end);
        let (factor, unit) = [
            ("MS", 0.001),
            ("D", 86_400.0),
            ("H", 3600.0),
            ("M", 60.0),
            ("S", 1.0),
        ]
        .into_iter()
        .find_map(|(name, factor)| Some((factor, unit.strip_prefix(name)?)))?;
        let seconds: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds * factor).ok()?)?;
        (rest, parts) = (unit, parts + 1);
    }
    (parts > 0).then_some(total)
}

/// The last line of a message that draws the expression first.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines()
        .next_back()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

//! Java property files, as far as credentials need them: `username = hono` in a line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use amqp_client::UserCredentials;

use super::{Origin, Problem, Secret, chosen::Chosen};

/// User and password: the settings first, then what the file of credentials says.
pub(super) fn credentials(
    chosen: &mut Chosen,
    prefix: &str,
    (username, password, file): (Option<String>, Option<Secret>, Option<PathBuf>),
) -> Option<UserCredentials> {
    let (mut username, mut password) = (username, password);
    if let Some(path) = file.filter(|_| username.is_none() || password.is_none()) {
        match fs::read_to_string(&path) {
            Ok(text) => {
                let held = |key| entry(&text, key);
                username = username.or_else(|| held("username"));
                password = password.or_else(|| held("password").map(Secret::new));
                chosen
                    .problems
                    .extend(incomplete(&path, username.is_some(), password.is_some()));
            }
            Err(error) => chosen.refuse(
                prefix,
                &["credentialsPath"],
                format!(
                    "`{}` should be a readable property file: {error}",
                    path.display()
                ),
            ),
        }
    } else if username.is_some() != password.is_some() {
        let keys = ["username", "password"];
        chosen.refuse(
            prefix,
            &keys,
            "one of `username` and `password` is set; both are needed",
        );
    }
    let (username, password) = username.zip(password)?;
    Some(UserCredentials { username, password })
}

fn incomplete(path: &Path, username: bool, password: bool) -> Option<Problem> {
    let missing = match (username, password) {
        (true, true) => return None,
        (false, true) => "`username`",
        (true, false) => "`password`",
        (false, false) => "`username` and `password`",
    };
    let origin = Origin::File {
        path: path.to_owned(),
        line: 0,
    };
    Some(Problem::new(
        origin,
        format!("{missing} should stand in this file, each as `name = value`"),
    ))
}

/// The value of a key; the last line that has it holds.
fn entry(text: &str, key: &str) -> Option<String> {
    let lines = logical_lines(text);
    let pairs = lines.iter().map(|line| split(line));
    pairs
        .filter(|(name, _)| name == key)
        .map(|(_, value)| value)
        .next_back()
}

/// Lines that end in an odd number of backslashes go on in the next; comments and empty lines are left out.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let line = line.trim_start_matches(BLANK);
        if current.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        current.push_str(line);
        let backslashes = line
            .chars()
            .rev()
            .take_while(|letter| *letter == '\\')
            .count();
        if backslashes % 2 == 1 {
            current.pop();
        } else {
            lines.push(std::mem::take(&mut current));
        }
    }
    lines.extend(Some(current).filter(|rest| !rest.is_empty()));
    lines
}

/// Parts a line at the first `=`, `:` or blank that no backslash precedes.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line
        .find(|letter| {
            let ends = !escaped && (letter == '=' || letter == ':' || BLANK.contains(&letter));
            escaped = !escaped && letter == '\\';
            ends
        })
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (unescape(key), unescape(rest.trim_start_matches(BLANK)))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let letter = u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                plain.push(letter.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn values_are_read_as_java_reads_them() {
        let text = "# comment\n! too\nusername = hono\\\n  -user\npassword:s\\u0065cret\\=\\ \npassword2 other";
        assert_eq!(entry(text, "username").as_deref(), Some("hono-user"));
        assert_eq!(entry(text, "password").as_deref(), Some("secret= "));
        assert_eq!(entry(text, "password2").as_deref(), Some("other"));
        assert_eq!(entry(text, "# comment"), None);
    }

    #[test]
    fn the_last_of_equal_keys_holds() {
        assert_eq!(entry("a=1\na=2", "a").as_deref(), Some("2"));
    }
}

//! How long an answer may be kept: what `cache_control` says, and what holds without it (spec: registry-apis A.2).

use std::time::Duration;

/// What a service says about keeping its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    NoCache,
    MaxAge(Duration),
}

/// How long the answer may be kept, from now; `None` = not at all. The directive of an unsuccessful answer does not count.
pub(crate) fn lifetime(
    status: u16,
    cache_control: Option<&str>,
    default_timeout: Duration,
) -> Option<Duration> {
    let directive = cache_control.and_then(parse);
    let allowed = match directive.filter(|_| (200..300).contains(&status)) {
        Some(Directive::NoCache) => None,
        Some(Directive::MaxAge(age)) => Some(age.min(default_timeout)),
        None => CACHEABLE.contains(&status).then_some(default_timeout),
    };
    allowed.filter(|lifetime| !lifetime.is_zero())
}

fn parse(text: &str) -> Option<Directive> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("no-cache") {
        return Some(Directive::NoCache);
    }
    let (name, value) = text.split_once('=')?;
    if !name.trim_end().eq_ignore_ascii_case("max-age") {
        return None;
    }
    let digits = value.trim_start();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More seconds than fit are as good as forever.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some(Directive::MaxAge(Duration::from_secs(seconds)))
}

/// Status codes that are cacheable without a directive (RFC 2616 §13.4).
const CACHEABLE: [u16; 6] = [200, 203, 206, 300, 301, 410];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::lifetime;

    #[test]
    fn an_answer_is_kept_as_the_directive_or_the_status_says() {
        for (line, status, directive, seconds) in [
            ("A.2 rule 1", 200, Some("no-cache"), 0),
            ("A.2 rule 1, case", 200, Some("No-Cache"), 0),
            ("A.2 rule 2", 200, Some("max-age = 180"), 180),
            ("A.2 rule 2, no blanks", 200, Some("max-age=180"), 180),
            ("A.2 rule 2, case", 200, Some("MAX-AGE =180"), 180),
            ("A.2 rule 2, around", 200, Some("  max-age= 180 "), 180),
            (
                "A.2 rule 2, at most the default",
                200,
                Some("max-age = 601"),
                600,
            ),
            (
                "A.2 rule 2, huge",
                200,
                Some("max-age = 99999999999999999999999"),
                600,
            ),
            ("A.2 rule 2, nothing", 200, Some("max-age = 0"), 0),
            ("A.2 rule 2, any success", 201, Some("max-age = 5"), 5),
            ("A.2 rule 3, absent", 200, None, 600),
            ("A.2 rule 3, unparsable", 200, Some("max-age = x"), 600),
            ("A.2 rule 3, negative", 200, Some("max-age = -1"), 600),
            ("A.2 rule 3, empty", 200, Some("max-age ="), 600),
            ("A.2 rule 3, other", 200, Some("private"), 600),
            ("A.2 rule 3, blank inside", 200, Some("max age = 3"), 600),
            ("A.2 rule 3, 203", 203, None, 600),
            ("A.2 rule 3, 206", 206, None, 600),
            ("A.2 rule 3, 300", 300, None, 600),
            ("A.2 rule 3, 301", 301, None, 600),
            ("A.2 rule 3, 410", 410, None, 600),
            ("A.2 rule 3, 201", 201, None, 0),
            ("A.2 rule 3, 204", 204, None, 0),
            ("A.2, directive of an error", 404, Some("max-age = 180"), 0),
            ("A.2, directive of an error", 410, Some("max-age = 1"), 600),
            ("A.2, 404", 404, None, 0),
            ("A.2, 500", 500, None, 0),
            ("A.2, 503", 503, Some("max-age = 180"), 0),
        ] {
            let expected = (seconds > 0).then(|| Duration::from_secs(seconds));
            let default_timeout = Duration::from_secs(600);
            let reported = lifetime(status, directive, default_timeout);
            assert_eq!(reported, expected, "{line}: {status} {directive:?}");
        }
    }
}

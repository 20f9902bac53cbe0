//! What a source said: names and texts, not yet understood.

use super::Origin;

/// One setting as somebody wrote it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The property's full name in Hono's spelling: `hono.coap.maxPayloadSize`.
    pub(super) name: String,
    /// Its value; a list has commas.
    pub(super) text: String,
    /// Where it stands.
    pub(super) origin: Origin,
}

/// The known name that somebody who wrote `word` may have meant: few letters differ, whatever their case.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let last = last_part(&word);
    let distance = |known: &'a str| {
        let lower = known.to_lowercase();
        let whole = strsim::damerau_levenshtein(&word, &lower);
        (whole <= 1 + last.len().min(last_part(&lower).len()) / 4).then_some((whole, known))
    };
    known.filter_map(distance).min().map(|(_, known)| known)
}

/// What stands after the last dot or underscore: what may be mistyped grows with it, not with the prefix.
fn last_part(name: &str) -> &str {
    name.rsplit(['.', '_']).next().unwrap_or(name)
}

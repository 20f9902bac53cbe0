//! What Prometheus answers to a query (spec: resource-limits §6).

use serde_json::Value;

/// Reads how many bytes were sent; no result means none.
///
/// # Errors
/// [`Rubbish`], which counts as none, too, but should be told.
pub fn consumed(answer: &[u8]) -> Result<i64, Rubbish> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| Rubbish::NoJson)?;
    if answer.get("status").and_then(Value::as_str) == Some("error") {
        let text = answer.get("error").and_then(Value::as_str).unwrap_or("");
        return Err(Rubbish::Refused(text.chars().take(SHOWN).collect()));
    }
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    match result.map(Vec::as_slice) {
        Some([]) => Ok(0),
        Some([one]) => value(one).ok_or(Rubbish::NoInteger),
        _ => Err(Rubbish::NoSingleResult),
    }
}

/// The value of a sample, `[time, "integer"]`.
fn value(sample: &Value) -> Option<i64> {
    match sample.get("value")?.as_array()?.as_slice() {
        [_, Value::String(integer)] => integer.parse().ok(),
        _ => None,
    }
}

/// An answer that tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rubbish {
    /// Not JSON at all.
    #[error("the answer is no JSON")]
    NoJson,
    /// Prometheus did not evaluate the query.
    #[error("the query was refused: {0}")]
    Refused(String),
    /// Several samples, or nothing like a result.
    #[error("the answer has not exactly one result")]
    NoSingleResult,
    /// One result, but not a whole number.
    #[error("the result is no integer")]
    NoInteger,
}

/// So many characters of an error are kept.
const SHOWN: usize = 200;

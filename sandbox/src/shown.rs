//! Text and payloads from outside, shown to a person: they may hold anything.

/// A payload as text if it is some, else its bytes, either way not too long.
pub(crate) fn shown(payload: &[u8]) -> String {
    if payload.is_empty() {
        return "(empty)".to_owned();
    }
    let start = payload.get(..MAX_SHOWN).unwrap_or(payload);
    let more = if start.len() < payload.len() {
        format!("... ({} bytes)", payload.len())
    } else {
        String::new()
    };
    // A cut may go through a letter.
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => start
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok()),
        Err(_) => None,
    };
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => format!("{text}{more}"),
        None => format!("0x{}{more}", crate::amqp::sections::hex(start)),
    }
}

/// Text from outside without what could move the cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

const MAX_SHOWN: usize = 64;

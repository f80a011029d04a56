//! A client's text inside an error.

/// Enough of a client's text to recognise it, so that an error is not as long as its cause.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(SHOWN_CHARS).collect::<String>())
}

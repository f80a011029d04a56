//! Python's ways of writing things, which the server's error texts show.

/// `'text'`, with the quotes Python would choose.
pub(super) fn python_repr(text: &str) -> String {
    if text.contains('\'') && !text.contains('"') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// `['a', 'b']`.
pub(super) fn python_list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| python_repr(item)).collect::<Vec<_>>().join(", "))
}

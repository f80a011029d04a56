//! Texts of clients and providers, cut with a mark before they get into a message: what is long in a job or an answer
//! must not make a message that the broker refuses.

use std::borrow::Cow;

/// A text of at most so many bytes. One that is longer ends with a mark that says how long it was.
#[must_use]
pub fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let mark = format!("… ({} bytes)", text.len());
    let end = text.floor_char_boundary(max_bytes.saturating_sub(mark.len()));
    Cow::Owned(format!("{}{mark}", &text[..end]))
}

/// As [`cut`], of a text that is not needed any more.
#[must_use]
pub fn cut_owned(text: String, max_bytes: usize) -> String {
    match cut(&text, max_bytes) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shorter) => shorter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_how_long_it_was_and_fits() {
        assert_eq!(cut("short", 5), "short");
        for (text, max_bytes) in [("é".repeat(3_000), 2_000), ("x".repeat(400_000), 200), ("…".repeat(9), 26)]
        {
            let shorter = cut(&text, max_bytes);
            assert!(shorter.len() <= max_bytes && shorter.len() + 4 > max_bytes, "{} bytes", shorter.len());
            assert!(shorter.ends_with(&format!("… ({} bytes)", text.len())), "{shorter}");
            assert_eq!(cut_owned(text.clone(), max_bytes), shorter);
        }
    }
}

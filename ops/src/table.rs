//! Tables for people: columns by blanks, no borders, so that what is copied can be pasted.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use schemas::Failure;
use std::io::Write as _;

/// How much of a provider's words is shown on a line with others; `argosy explain` shows them whole.
const WORDS_MAX_CHARS: usize = 300;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a head; every line ends with its last character.
#[must_use]
pub fn render(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let align = |align: Align| match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    };
    table.set_header(
        columns.iter().map(|(name, side)| Cell::new(name.to_uppercase()).set_alignment(align(*side))),
    );
    for row in rows {
        let cells = columns.iter().zip(row);
        table.add_row(cells.map(|((_, side), text)| Cell::new(text).set_alignment(align(*side))));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Writes to standard output. A reader that left (`argosy jobs | head`) is no error.
pub fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes to standard output as it is. A reader that left is no error.
pub fn write(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// The value has no JSON form.
pub fn say_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    say(serde_json::to_string(value)?);
    Ok(())
}

/// Foreign words on one line: control characters, which could steer a terminal, and marks that turn the direction
/// of writing are shown as escapes.
#[must_use]
pub fn escaped(words: &str) -> String {
    let is_mark =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::with_capacity(words.len());
    for c in words.trim().chars() {
        match c {
            c if c.is_control() || is_mark(c) => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// Foreign words on several lines, the others escaped.
#[must_use]
pub fn escaped_lines(words: &str) -> String {
    words.trim().lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// Why something failed, on one line: our words, then the provider's own.
#[must_use]
pub fn failure(failure: &Failure) -> String {
    format!("{}{}", escaped(&failure.message), provider_words(failure))
}

/// The beginning of what the provider says of a failure, to follow ours on the same line.
#[must_use]
pub fn provider_words(failure: &Failure) -> String {
    let words = failure.provider_words.as_deref().unwrap_or_default().trim();
    let (shown, more) = match words.char_indices().nth(WORDS_MAX_CHARS) {
        Some((at, _)) => (&words[..at], "…"),
        None => (words, ""),
    };
    if shown.is_empty() { String::new() } else { format!("; the provider says: {}{more}", escaped(shown)) }
}

/// A duration for a table: `340 ms`, `2.5 s`, `3 min 20 s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// How long ago, for a table.
#[must_use]
pub fn ago(now_ms: i64, then_ms: i64) -> String {
    format!("{} ago", duration(u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or_default()))
}

/// A size for a table: `1.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::FailureCode;

    #[test]
    fn foreign_words_cannot_steer_a_terminal() {
        let cases = [
            ("plain", "plain"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}gnp.exe", "abc\\u{202e}gnp.exe"),
            ("für 狐 🦊", "für 狐 🦊"),
        ];
        for (words, shown) in cases {
            assert_eq!(escaped(words), shown);
        }
        assert_eq!(escaped_lines("one\ntwo\u{1b}[1m\n"), "one\ntwo\\u{1b}[1m");
    }

    #[test]
    fn a_failure_quotes_its_provider() {
        let said = Failure::new(FailureCode::UnusableResult, "no file").with_words("sorry\u{1b}[1m\nno");
        assert_eq!(failure(&said), "no file; the provider says: sorry\\u{1b}[1m\\nno");
        assert_eq!(failure(&Failure::new(FailureCode::Transient, "gone")), "gone");
        let long = Failure::new(FailureCode::Transient, "gone").with_words(&"ü".repeat(900));
        assert_eq!(failure(&long).chars().filter(|c| *c == 'ü').count(), WORDS_MAX_CHARS);
    }
}

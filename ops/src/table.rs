//! Tables for people: columns by blanks, no borders, so that what is copied can be pasted.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::io::Write as _;

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

/// Writes a value as one line of JSON.
///
/// # Errors
/// The value has no JSON form.
pub fn say_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    say(serde_json::to_string(value)?);
    Ok(())
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

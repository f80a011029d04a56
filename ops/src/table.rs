//! Tables for people: columns by blanks, no borders, so that what is copied can be pasted.
//!
//! All cells go through [`Table::set`], which escapes them and fits them to the screen: free words are cut or wrapped
//! at their ends, ids, names and money never. Where the columns do not fit beside each other, the last ones go on
//! below the first, row by row.

mod cells;
mod fit;

use crate::screen::Screen;
use crate::tone::Tone;
use cells::{cut, width, wrap};
use fit::{Band, GAP, Wish, fit};
use runtime::escape;

/// Free words are not made narrower than this, columns.
const WORDS_MIN: usize = 16;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names and ids, never cut.
    Left,
    /// Numbers and money, never cut.
    Right,
    /// Free words, cut with a mark where they do not fit: another command shows them whole.
    Words,
    /// Free words that are shown whole, on several lines where they do not fit on one.
    Flow,
}

/// A table with a head.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    align: Align,
    tone: fn(&str) -> Tone,
}

impl Table {
    /// A table. A row that is too short is filled up with empty cells.
    #[must_use]
    pub fn new(columns: &[(&str, Align)], rows: Vec<Vec<String>>) -> Self {
        let column = |(name, align): &(&str, Align)| Column {
            name: (*name).to_owned(),
            align: *align,
            tone: |_| Tone::Plain,
        };
        Self { columns: columns.iter().map(column).collect(), rows }
    }

    /// Colours a column's cells by what they say.
    #[must_use]
    pub fn painted(mut self, name: &str, tone: fn(&str) -> Tone) -> Self {
        self.columns.iter_mut().filter(|column| column.name == name).for_each(|column| column.tone = tone);
        self
    }

    /// The table for a screen; every line ends with its last character.
    #[must_use]
    pub fn set(&self, screen: Screen) -> String {
        let escaped = |text: &str| escape::line(text.trim()).into_owned();
        let head: Vec<String> =
            self.columns.iter().map(|column| escaped(&column.name.to_uppercase())).collect();
        let cell =
            |row: &[String], index: usize| row.get(index).map(|text| escaped(text)).unwrap_or_default();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| (0..self.columns.len()).map(|index| cell(row, index)).collect())
            .collect();
        let bands = fit(&self.wishes(&head, &rows), screen.columns);
        let mut lines = Vec::new();
        for row in std::iter::once(&head).chain(&rows) {
            let is_head = std::ptr::eq(row, &raw const head);
            for band in &bands {
                lines.extend(self.band(band, row, screen.colour && !is_head));
            }
        }
        lines.join("\n")
    }

    fn wishes(&self, head: &[String], rows: &[Vec<String>]) -> Vec<Wish> {
        let wish = |(index, column): (usize, &Column)| {
            let named = width(&head[index]);
            let whole = rows.iter().map(|row| width(&row[index])).max().unwrap_or_default().max(named);
            let least = match column.align {
                Align::Left | Align::Right => whole,
                Align::Words | Align::Flow => whole.min(named.max(WORDS_MIN)),
            };
            Wish { whole, least }
        };
        self.columns.iter().enumerate().map(wish).collect()
    }

    /// The lines of a row's columns that stand beside each other. Below the first ones there are none where all are
    /// empty.
    fn band(&self, band: &Band, row: &[String], colour: bool) -> Vec<String> {
        let columns = self.columns.iter().zip(row).skip(band.first);
        let set = |((column, words), columns): ((&Column, &String), &usize)| match column.align {
            Align::Words => vec![cut(words, *columns)],
            // What is never cut is wrapped only where the whole screen is narrower.
            Align::Left | Align::Right | Align::Flow => wrap(words, *columns),
        };
        let cells: Vec<Vec<String>> = columns.clone().zip(&band.widths).map(set).collect();
        if band.first > 0 && cells.iter().flatten().all(String::is_empty) {
            return Vec::new();
        }
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        let line = |at: usize| {
            let mut line = " ".repeat(band.indent);
            for (index, ((column, words), columns)) in columns.clone().zip(&band.widths).enumerate() {
                let shown = cells[index].get(at).map(String::as_str).unwrap_or_default();
                let blanks = " ".repeat(columns.saturating_sub(width(shown)));
                let tone = if colour { (column.tone)(words) } else { Tone::Plain };
                let shown = if shown.is_empty() { String::new() } else { tone.paint(shown) };
                match column.align {
                    Align::Right => line.extend([blanks, shown]),
                    _ => line.extend([shown, blanks]),
                }
                line.push_str(&" ".repeat(GAP));
            }
            line.trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_that_is_too_narrow_gets_the_last_columns_below_the_first() {
        let columns =
            [("job", Align::Left), ("cost", Align::Right), ("state", Align::Left), ("why", Align::Words)];
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let id = "01990000-0000-7000-8000-000000000001";
        let rows = vec![
            row([id, "$0.0400", "completed", ""]),
            row([id, "$0.00", "failed", "the workflow names a file that nobody has brought"]),
        ];
        let table = Table::new(&columns, rows).painted("state", crate::tone::of_state);
        let wide = table.set(Screen::PLAIN);
        assert!(wide.contains("nobody has brought") && wide.lines().count() == 3, "{wide}");
        let wide = format!(
            "JOB{:38}COST  STATE      WHY\n{id}  $0.0400  completed\n{id}    $0.00  failed     the workflow names a…",
            ""
        );
        assert_eq!(table.set(Screen::plain(80)), wide);
        let narrow = format!(
            "JOB{:38}COST  STATE\n    WHY\n{id}  $0.0400  completed\n{id}    $0.00  failed\n    \
             the workflow names a file that nobody has brought",
            ""
        );
        assert_eq!(table.set(Screen::plain(60)), narrow);
        let coloured = table.set(Screen { columns: Some(80), colour: true });
        assert!(coloured.contains("\u{1b}[32mcompleted\u{1b}[0m\n") && coloured.contains("\u{1b}[31mfailed"));
    }
}

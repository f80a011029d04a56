//! Text that is composed here line by line, and tables as such text.

use crate::screen::Screen;
use crate::table::{Align, Table};
use crate::text::Text;

/// A table without colours, as wide as standard output.
#[must_use]
pub fn render(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    Table::new(columns, rows.to_vec()).set(Screen { colour: false, ..Screen::of_stdout() })
}

/// Says text that has its own ends of lines: foreign words belong into cells, or into [`crate::say::say`].
pub fn say(text: impl std::fmt::Display) {
    let mut lines = Text::default();
    text.to_string().split('\n').for_each(|line| lines.line(line));
    crate::say::say(lines);
}

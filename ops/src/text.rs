//! What a command says: lines and tables, set for a screen when they are written.
//!
//! Whatever words it is made of, [`Text::set`] escapes them, so that nothing foreign ends a line or steers a terminal.

use crate::screen::Screen;
use crate::table::Table;
use crate::tone::Tone;
use runtime::escape;
use std::fmt;

/// Lines and tables, one below the other.
#[derive(Debug, Clone, Default)]
pub struct Text {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Line(Vec<(String, Tone)>),
    Table(Table),
}

impl Text {
    /// Adds a line. An end of a line among its words is an escape.
    pub fn line(&mut self, words: impl Into<String>) {
        self.toned([(words.into(), Tone::Plain)]);
    }

    /// Adds a line of words that have colours.
    pub fn toned(&mut self, words: impl IntoIterator<Item = (String, Tone)>) {
        self.parts.push(Part::Line(words.into_iter().collect()));
    }

    /// Adds foreign words on the lines that they have, after a word of ours.
    pub fn quoted(&mut self, before: &str, words: &str) {
        for (index, line) in words.trim().lines().enumerate() {
            let before = if index == 0 { before.to_owned() } else { " ".repeat(before.chars().count()) };
            self.line(format!("{before}{line}"));
        }
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.line("");
    }

    /// Adds another text.
    pub fn append(&mut self, other: Self) {
        self.parts.extend(other.parts);
    }

    /// The text for a screen, without the end of its last line.
    #[must_use]
    pub fn set(&self, screen: Screen) -> String {
        let painted = |(words, tone): &(String, Tone)| {
            let words = escape::line(words);
            if screen.colour { tone.paint(&words) } else { words.into_owned() }
        };
        let part = |part: &Part| match part {
            Part::Line(words) => words.iter().map(painted).collect::<String>().trim_end().to_owned(),
            Part::Table(table) => table.set(screen),
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.set(Screen::PLAIN))
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        let mut text = Self::default();
        text.line(words);
        text
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<Table> for Text {
    fn from(table: Table) -> Self {
        let mut text = Self::default();
        text.table(table);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Align;
    use proptest::prelude::*;
    use runtime::escape::is_steering;

    proptest! {
        #[test]
        fn whatever_is_said_steers_nothing(
            words in proptest::collection::vec(".{0,60}|[\\x00-\\x9f\u{200b}-\u{202e}a狐]{0,40}", 6),
            columns in 40_usize..160,
        ) {
            let mut text = Text::from(words[0].as_str());
            text.quoted("says ", &words[1]);
            text.toned([(words[2].clone(), Tone::Bad)]);
            let heads = [(words[3].as_str(), Align::Left), ("why", Align::Words), ("all", Align::Flow)];
            let rows = vec![words.clone(), words[1..4].to_vec(), Vec::new()];
            text.table(Table::new(&heads, rows).painted("why", |_| Tone::Good));
            for colour in [false, true] {
                let shown = text.set(Screen { columns: Some(columns), colour });
                let ours = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[0m"];
                let foreign = if colour { ours.iter().fold(shown, |shown, code| shown.replace(code, "")) } else { shown };
                prop_assert!(!foreign.chars().any(|c| c != '\n' && is_steering(c)), "{foreign:?}");
            }
            // Foreign words add no lines but those of a quotation, and no row more than one.
            let lines = Text::from(words[0].as_str()).set(Screen::PLAIN);
            prop_assert!(!lines.contains('\n'), "{lines:?}");
        }
    }

    #[test]
    fn what_is_quoted_cannot_be_mistaken_for_a_line_of_ours() {
        let mut text = Text::default();
        text.quoted("provider: ", "sorry\nthe audit holds\n");
        text.line("a label\nthe audit holds");
        assert_eq!(text.to_string(), "provider: sorry\n          the audit holds\na label\\nthe audit holds");
    }
}

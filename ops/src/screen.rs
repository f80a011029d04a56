//! Where output goes: how wide it is, and whether it takes colours.

use std::ffi::OsString;
use std::io::IsTerminal as _;

/// A narrower screen is written as if it were this wide, columns.
const COLUMNS_MIN: usize = 40;

/// What output is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// How wide it is; without a width nothing is cut.
    pub columns: Option<usize>,
    /// Whether state words and verdicts are coloured.
    pub colour: bool,
}

/// What a screen is known by.
#[derive(Debug, Default)]
struct Facts {
    is_terminal: bool,
    /// As the terminal says.
    columns: Option<usize>,
    /// `COLUMNS`, `NO_COLOR` and `TERM` of the environment.
    columns_said: Option<OsString>,
    no_color: Option<OsString>,
    term: Option<OsString>,
}

impl Screen {
    /// A file or a pipe: whole and without colours.
    pub const PLAIN: Self = Self { columns: None, colour: false };

    /// Without colours and so wide.
    #[must_use]
    pub const fn plain(columns: usize) -> Self {
        Self { columns: Some(columns), colour: false }
    }

    /// Standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        Facts::new(std::io::stdout().is_terminal(), size).decide()
    }

    /// Standard error.
    #[must_use]
    pub fn of_stderr() -> Self {
        let size = terminal_size::terminal_size_of(std::io::stderr());
        Facts::new(std::io::stderr().is_terminal(), size).decide()
    }
}

/// Whether bars can be drawn on standard error: a terminal whose cursor moves.
#[must_use]
pub fn draws_bars() -> bool {
    std::io::stderr().is_terminal() && !is_dumb(std::env::var_os("TERM").as_ref())
}

impl Facts {
    fn new(is_terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        Self {
            is_terminal,
            columns: size.map(|(width, _)| width.0.into()),
            columns_said: std::env::var_os("COLUMNS"),
            no_color: std::env::var_os("NO_COLOR"),
            term: std::env::var_os("TERM"),
        }
    }

    /// `COLUMNS` goes before what the terminal says. What is read by another program is whole, unless `COLUMNS` says
    /// how wide it may be.
    fn decide(&self) -> Screen {
        let said = self.columns_said.as_ref().and_then(|text| text.to_str()?.parse().ok());
        let columns = said.or(self.columns.filter(|_| self.is_terminal)).filter(|columns| *columns > 0);
        let refused = self.no_color.as_ref().is_some_and(|text| !text.is_empty());
        Screen {
            columns: columns.map(|columns| columns.max(COLUMNS_MIN)),
            colour: self.is_terminal && !refused && !is_dumb(self.term.as_ref()),
        }
    }
}

fn is_dumb(term: Option<&OsString>) -> bool {
    term.is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_said_by_the_environment_or_the_terminal() {
        let cases = [
            (true, Some(100), None, Some(100)),
            (true, Some(100), Some("132"), Some(132)),
            (true, Some(100), Some("wide"), Some(100)),
            (true, Some(100), Some("0"), None),
            (true, Some(9), None, Some(COLUMNS_MIN)),
            (true, None, None, None),
            (false, None, None, None),
            (false, None, Some("80"), Some(80)),
        ];
        for (is_terminal, columns, said, expected) in cases {
            let facts =
                Facts { is_terminal, columns, columns_said: said.map(Into::into), ..Facts::default() };
            assert_eq!(facts.decide().columns, expected, "{facts:?}");
        }
    }

    #[test]
    fn colours_are_for_terminals_that_have_them_and_readers_who_want_them() {
        let cases = [
            (true, None, Some("xterm-256color"), true),
            (true, None, None, true),
            (true, Some(""), None, true),
            (true, Some("1"), None, false),
            (true, Some("0"), None, false),
            (true, None, Some("dumb"), false),
            (false, None, Some("xterm-256color"), false),
        ];
        for (is_terminal, no_color, term, expected) in cases {
            let (no_color, term) = (no_color.map(Into::into), term.map(Into::into));
            let facts = Facts { is_terminal, no_color, term, ..Facts::default() };
            assert_eq!(facts.decide().colour, expected, "{facts:?}");
        }
    }
}

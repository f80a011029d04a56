//! The colours of words that say how something is.

/// How a word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As any other.
    #[default]
    Plain,
    /// It is well, or done.
    Good,
    /// It is not over, or worth a look.
    Warning,
    /// It failed, or is not safe.
    Bad,
}

impl Tone {
    /// The words in its colour.
    #[must_use]
    pub fn paint(self, words: &str) -> String {
        let code = match self {
            Self::Plain => return words.to_owned(),
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        };
        format!("\u{1b}[{code}m{words}\u{1b}[0m")
    }
}

/// Of a job's state.
#[must_use]
pub fn of_state(state: &str) -> Tone {
    match state {
        "completed" => Tone::Good,
        "retrying" => Tone::Warning,
        "failed" | "expired" | "refused" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Of a check's verdict.
#[must_use]
pub fn of_verdict(verdict: &str) -> Tone {
    match verdict {
        "good" => Tone::Good,
        "warning" | "unknown" => Tone::Warning,
        "bad" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Of the first word of what is said of a worker or breaker.
#[must_use]
pub fn of_health(words: &str) -> Tone {
    match words.split([' ', ':']).next().unwrap_or_default() {
        "healthy" | "closed" => Tone::Good,
        "draining" | "half" | "stopped" => Tone::Warning,
        "down" | "SILENT" | "open" => Tone::Bad,
        _ => Tone::Plain,
    }
}

//! A window of time, for everything that adds up what lies in one.

use crate::clamp_ms;

/// From a moment on and before another, Unix milliseconds; what is absent is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Then or later.
    pub from_ms: Option<i64>,
    /// Before then.
    pub to_ms: Option<i64>,
}

impl Window {
    /// From a moment on.
    #[must_use]
    pub const fn since(from_ms: i64) -> Self {
        Self { from_ms: Some(from_ms), to_ms: None }
    }

    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(&self, time_ms: i64) -> bool {
        self.from_ms.is_none_or(|from_ms| time_ms >= from_ms)
            && self.to_ms.is_none_or(|to_ms| time_ms < to_ms)
    }

    /// Its ends as a column can hold them.
    pub(crate) fn bounds(&self) -> (Option<i64>, Option<i64>) {
        (self.from_ms.map(clamp_ms), self.to_ms.map(clamp_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_first_moment_and_not_its_last() {
        let both = Window { from_ms: Some(10), to_ms: Some(20) };
        let before = Window { to_ms: Some(20), ..Window::default() };
        for (time_ms, is_in) in [(9, [false, true, false, true]), (10, [true; 4]), (19, [true; 4])] {
            let found = [both, before, Window::since(10), Window::default()].map(|w| w.contains(time_ms));
            assert_eq!(found, is_in, "{time_ms}");
        }
        let found = [both, before, Window::since(10), Window::default()].map(|w| w.contains(20));
        assert_eq!(found, [false, false, true, true], "20");
    }
}

//! Options that bound what is shown in time.

use crate::exit::Usage;
use crate::moment::{self, duration_ms};
use clap::Args;
use ledger_read::Window;

/// From when until when; everything when absent.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WindowOptions {
    /// Only from then on: a date (2026-11-01, which begins at 00:00 UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    from: Option<i64>,
    /// Only before then: `--from 2026-11-01 --to 2026-12-01` is November
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    to: Option<i64>,
    /// Only the last: 30m, 24h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, conflicts_with_all = ["from", "to"])]
    since: Option<i64>,
}

impl WindowOptions {
    /// The window that they mean.
    ///
    /// # Errors
    /// [`Usage`] where it holds no moment.
    pub(crate) fn read(&self, now_ms: i64) -> Result<Window, Usage> {
        if let Some(since_ms) = self.since {
            return Ok(Window::since(now_ms - since_ms));
        }
        match (self.from, self.to) {
            (Some(from_ms), Some(to_ms)) if from_ms >= to_ms => Err(Usage(format!(
                "--from {} is not before --to {}: --to is the first moment that no longer counts, give a later one",
                moment::shown(from_ms),
                moment::shown(to_ms),
            ))),
            (from_ms, to_ms) => Ok(Window { from_ms, to_ms }),
        }
    }
}

/// A window in words, in UTC.
pub(crate) fn words(window: Window) -> String {
    match (window.from_ms.map(moment::shown), window.to_ms.map(moment::shown)) {
        (None, None) => "everything; days and times are UTC".to_owned(),
        (Some(from), None) => format!("from {from} on"),
        (None, Some(to)) => format!("before {to}"),
        (Some(from), Some(to)) => format!("from {from} until before {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn a_window_without_a_moment_is_refused() {
        let of = |from, to| WindowOptions { from, to, since: None }.read(9 * DAY_MS);
        assert_eq!(of(None, None).unwrap(), Window::default());
        assert_eq!(of(Some(0), Some(1)).unwrap(), Window { from_ms: Some(0), to_ms: Some(1) });
        for (from, to) in [(DAY_MS, DAY_MS), (DAY_MS, 0)] {
            let said = of(Some(from), Some(to)).unwrap_err().to_string();
            assert!(said.contains("--from 1970-01-02 00:00:00 UTC") && said.contains("later"), "{said}");
        }
        let since = WindowOptions { since: Some(DAY_MS), ..WindowOptions::default() };
        assert_eq!(since.read(9 * DAY_MS).unwrap(), Window::since(8 * DAY_MS));
    }

    #[test]
    fn every_window_says_utc() {
        let ends = [None, Some(0), Some(DAY_MS)];
        for window in ends.into_iter().flat_map(|from_ms| ends.map(|to_ms| Window { from_ms, to_ms })) {
            assert!(words(window).contains("UTC"), "{window:?}");
        }
    }
}

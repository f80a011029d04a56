//! Numbers from the command line, or from variables that a Makefile hands on.

use crate::exit::Usage;
use std::str::FromStr;

/// What was given, else what the variable says (`make demo JOBS=20`; an empty one is none), else what is usual.
pub(crate) fn or_env<T: FromStr>(given: Option<T>, name: &str, usual: T) -> anyhow::Result<T> {
    match (given, std::env::var(name)) {
        (Some(given), _) => Ok(given),
        (None, Ok(text)) if !text.is_empty() => {
            text.parse().map_err(|_| Usage(format!("{name}={text} is not a number it takes")).into())
        }
        (None, _) => Ok(usual),
    }
}

/// A run with nothing to do, or in no time, makes no sense.
pub(crate) fn check_size(jobs: usize, time_scale: f64) -> anyhow::Result<()> {
    if jobs > 0 && time_scale.is_finite() && time_scale > 0.0 {
        return Ok(());
    }
    Err(Usage("--jobs and --time-scale must be more than 0".to_owned()).into())
}

//! Numbers from variables that a Makefile hands on.

use crate::exit::Usage;
use std::str::FromStr;

/// `make demo JOBS=20` hands on its variables; an empty one is none.
pub(crate) fn from_env<T: FromStr>(name: &str) -> anyhow::Result<Option<T>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            let number = text.parse();
            number.map(Some).map_err(|_| Usage(format!("{name}={text} is not a number it takes")).into())
        }
        _ => Ok(None),
    }
}

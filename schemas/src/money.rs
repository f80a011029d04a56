//! Money is an integer number of micro-dollars. There is no way in from a float.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Micro-dollars: 1,000,000 are one US dollar. May be negative in decoded input; policy refuses that.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` past the range of `i64`.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` past the range of `i64`.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

impl fmt::Display for MicroUsd {
    /// Dollars with all six places, e.g. `$0.007220`: a table never hides a fraction of a cent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let all = self.0.unsigned_abs();
        f.pad(&format!("{sign}${}.{:06}", all / 1_000_000, all % 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_to_the_micro_dollar() {
        assert_eq!(MicroUsd(7_220).to_string(), "$0.007220");
        assert_eq!(MicroUsd(-1_500_000).to_string(), "-$1.500000");
        assert_eq!(MicroUsd(i64::MIN).to_string(), "-$9223372036854.775808");
    }
}

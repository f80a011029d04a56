//! What the figures should be.

use serde::{Deserialize, Serialize};

/// A target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Not less.
    AtLeast(f64),
    /// Not more.
    AtMost(f64),
}

impl Target {
    /// Whether a figure is so.
    #[must_use]
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }

    /// The same of a figure of which only the least is known; none where that does not tell.
    #[must_use]
    pub fn is_met_from(self, least: f64) -> Option<bool> {
        let is_met = self.is_met(least);
        match self {
            Self::AtLeast(_) => is_met.then_some(true),
            Self::AtMost(_) => (!is_met).then_some(false),
        }
    }
}

/// The targets by the names of their rows.
pub const TARGETS: [(&str, Target); 13] = [
    ("router.one.share_of_limit", Target::AtLeast(0.80)),
    ("fleet.sustained", Target::AtLeast(15_000.0)),
    ("fleet.cpu_per_job", Target::AtMost(130.0)),
    ("fleet.synced", Target::AtLeast(3_000.0)),
    ("latency.start.1000.p50.share_of_raw", Target::AtMost(2.0)),
    ("latency.start.1000.p99.share_of_raw", Target::AtMost(2.0)),
    ("decide.backends_3", Target::AtMost(1.0)),
    ("decide.offers_1000", Target::AtMost(20.0)),
    ("backlog.router_memory", Target::AtMost(64.0)),
    ("backlog.cpu_growth", Target::AtMost(1.2)),
    ("workers.cpu_growth", Target::AtMost(1.2)),
    ("fair.few_beside_many", Target::AtMost(2.0)),
    ("fair.interactive_behind_many.p99", Target::AtMost(2.0)),
];

/// Every view of the ledger answers within so many milliseconds.
const VIEWS: (&str, Target) = ("ledger.view.", Target::AtMost(1_000.0));

/// The target of a row, if it has one.
#[must_use]
pub fn target_of(name: &str) -> Option<Target> {
    let own = TARGETS.iter().find(|(of, _)| *of == name).map(|(_, target)| *target);
    own.or_else(|| name.starts_with(VIEWS.0).then_some(VIEWS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_tells_only_one_way() {
        assert_eq!(Target::AtMost(2.0).is_met_from(30.0), Some(false));
        assert_eq!(Target::AtMost(2.0).is_met_from(1.0), None);
        assert_eq!(Target::AtLeast(2.0).is_met_from(30.0), Some(true));
        assert_eq!(Target::AtLeast(2.0).is_met_from(1.0), None);
    }
}

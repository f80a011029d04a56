//! The strategies by name: what the command line knows. One more strategy is one more line in each table here.

use schemas::Profile;
use schemas::config::Scoring;

use crate::baselines::{Baseline, Kind};
use crate::planned::Planned;
use crate::prototype::Prototype;
use crate::shipped::Shipped;
use crate::strategy::Strategy;
use crate::world::Shared;

/// The strategies that can be compared, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// The shipped router, every job with one profile.
    Shipped(Profile),
    /// The shipped router where document `policy` says `scoring = "weighted"`.
    Weighted,
    /// A baseline.
    Baseline(Kind),
    /// The schedule over all that wait, every job with one profile.
    Planned(Profile),
    /// The rule from which the schedule was made.
    Prototype,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Shipped(Profile::Balanced),
        Self::Shipped(Profile::Cheapest),
        Self::Shipped(Profile::Fastest),
        Self::Weighted,
        Self::Baseline(Kind::Dearest),
        Self::Baseline(Kind::Cloud),
        Self::Baseline(Kind::LocalThenCloud),
        Self::Planned(Profile::Balanced),
        Self::Planned(Profile::Cheapest),
        Self::Planned(Profile::Fastest),
        Self::Prototype,
    ];

    /// As on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shipped(profile) => profile.as_str(),
            Self::Weighted => "weighted",
            Self::Baseline(kind) => kind.as_str(),
            Self::Planned(Profile::Cheapest) => "plan-cheapest",
            Self::Planned(Profile::Fastest) => "plan-fastest",
            Self::Planned(_) => "plan",
            Self::Prototype => "prototype",
        }
    }

    /// Makes it, for a fleet with so many routers.
    #[must_use]
    pub fn build(self, world: &Shared, routers: usize) -> Box<dyn Strategy> {
        match self {
            Self::Shipped(profile) => Box::new(Shipped::new(world, profile, Scoring::Schedule, routers)),
            Self::Weighted => Box::new(Shipped::new(world, Profile::Balanced, Scoring::Weighted, routers)),
            Self::Baseline(kind) => Box::new(Baseline::new(kind)),
            Self::Planned(profile) => Box::new(Planned::new(profile)),
            Self::Prototype => Box::new(Prototype::default()),
        }
    }
}

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no strategy: use {names}", names = names())]
pub struct UnknownStrategy(String);

fn names() -> String {
    Name::ALL.map(Name::as_str).join(", ")
}

impl std::str::FromStr for Name {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

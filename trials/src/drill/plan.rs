//! Who is struck when, and how: drawn from the seed alone.

use crate::chance::Chance;
use serde::{Deserialize, Serialize};

/// From one blow to the next, milliseconds.
const PAUSE_MS: (u64, u64) = (300, 2_000);
/// Blows of a hundred that kill; the others stop.
const KILLS_PERCENT: u64 = 70;
/// From a kill to the restart, milliseconds.
const DOWN_MS: (u64, u64) = (0, 1_500);
/// How long a stopped process is stopped, milliseconds.
const STOPPED_MS: (u64, u64) = (200, 4_000);
/// One of so many stops is long.
const LONG_ONE_IN: u64 = 10;
/// A long stop outlasts the time after which the broker gives a worker's delivery to another, milliseconds.
const LONG_MS: (u64, u64) =
    (schemas::topology::WORK_ACK_WAIT_MS + 1_000, schemas::topology::WORK_ACK_WAIT_MS + 5_000);
/// Strikes before the first one that fills something: few, so that a short drill has it too.
const FIRST_FILL_AFTER: (u64, u64) = (3, 8);
/// Strikes from one that fills something to the next.
const NEXT_FILL_AFTER: (u64, u64) = (30, 60);
/// How long it stays full, milliseconds.
const FULL_MS: (u64, u64) = (5_000, 15_000);

/// What is done to a process, or to what the broker keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// SIGKILL, and a start after a while.
    Kill,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// The limit of the artifact store, a bucket or a stream is lowered to little more than it holds, and raised again
    /// after a while.
    FillStore,
}

/// One step of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// After the one before, milliseconds.
    pub after_ms: u64,
    /// The target's number. One that is down already is passed over for the next that is up. What can be
    /// filled has the numbers after the last process.
    pub target: usize,
    /// What is done.
    pub blow: Blow,
    /// For how long it is down, stopped or full, milliseconds.
    pub for_ms: u64,
}

/// The strikes of a seed, without end.
#[derive(Debug, Clone)]
pub struct Plan {
    chance: Chance,
    targets: usize,
    /// How much can be filled.
    storages: usize,
    /// Chances of their own: the strikes at processes are the same with and without them.
    fills: Chance,
    /// Strikes at processes before something is filled.
    until_fill: u64,
}

impl Plan {
    /// A plan for a number of processes and a number of things that can be filled, of which the first comes every other time.
    #[must_use]
    pub const fn of(seed: u64, targets: usize, storages: usize) -> Self {
        let mut fills = Chance::of(!seed);
        let until_fill = fills.between(FIRST_FILL_AFTER.0, FIRST_FILL_AFTER.1);
        Self { chance: Chance::of(seed), targets, storages, fills, until_fill }
    }

    fn fill(&mut self) -> Strike {
        let mut within = |(least, most)| self.fills.between(least, most);
        self.until_fill = within(NEXT_FILL_AFTER);
        let (after_ms, for_ms) = (within(PAUSE_MS), within(FULL_MS));
        let others = self.storages.saturating_sub(1) as u64;
        let is_first = others == 0 || within((0, 1)) == 0;
        let which = if is_first { 0 } else { within((1, others)) as usize };
        Strike { after_ms, target: self.targets + which, blow: Blow::FillStore, for_ms }
    }
}

impl Iterator for Plan {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        let most = (self.targets as u64).checked_sub(1)?;
        if self.storages > 0 {
            let Some(until_fill) = self.until_fill.checked_sub(1) else { return Some(self.fill()) };
            self.until_fill = until_fill;
        }
        let mut within = |(least, most)| self.chance.between(least, most);
        let after_ms = within(PAUSE_MS);
        let target = within((0, most)) as usize;
        let blow = if within((0, 99)) < KILLS_PERCENT { Blow::Kill } else { Blow::Stop };
        let is_long = within((1, LONG_ONE_IN)) == 1;
        let for_ms = within(match blow {
            Blow::Kill => DOWN_MS,
            _ if is_long => LONG_MS,
            _ => STOPPED_MS,
        });
        Some(Strike { after_ms, target, blow, for_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let strikes: Vec<Strike> = Plan::of(7, 13, 3).take(2_000).collect();
        assert_eq!(strikes, Plan::of(7, 13, 3).take(2_000).collect::<Vec<_>>());
        assert_ne!(strikes, Plan::of(8, 13, 3).take(2_000).collect::<Vec<_>>());
        assert!(strikes.iter().all(|strike| (300..=2_000).contains(&strike.after_ms)));
        assert!(strikes.iter().all(|strike| (strike.target < 13) != (strike.blow == Blow::FillStore)));
        assert!((13..16).all(|target| strikes.iter().any(|strike| strike.target == target)));
        let kills = strikes.iter().filter(|strike| strike.blow == Blow::Kill).count();
        assert!((1_300..1_500).contains(&kills), "{kills}");
        assert!((0..13).all(|target| strikes.iter().any(|strike| strike.target == target)));
        assert!(strikes.iter().any(|strike| strike.for_ms > schemas::topology::WORK_ACK_WAIT_MS));
        assert_eq!(Plan::of(1, 0, 3).next(), None);
    }
}

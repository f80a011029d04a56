//! The bound of hindsight: no schedule costs less, even with all arrivals and durations known before.
//!
//! A linear programme over the intervals between arrivals, due times and outages: of each job fractions may run at any
//! backend that it may use, inside its own window, preempted at will; what is left of it is late and takes no
//! capacity at all. It is never solved: any non-negative prices of the intervals' capacity give a valid lower bound
//! (weak duality), so a bound needs no trust in a solver. The prices are found by [`dual`]. An own dual was chosen over
//! a crate for linear programmes: it needs none, and its answer proves itself.

mod dual;
mod problem;

use schemas::MicroUsd;
use serde::Serialize;

use crate::fleet::FleetSpec;
use crate::job::SimJob;
use crate::setting::Setting;

pub use dual::{Prices, Solution, solve, value};
pub use problem::{Capacities, Demand, Problem, Resource, Way};

/// Jobs that a bound is computed for at most.
pub const JOBS_MAX: usize = 2_000;

/// A lower bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bound {
    /// Nobody could have paid less.
    pub money: MicroUsd,
    /// While this many jobs were late, fractions added up.
    pub late: f64,
    /// How much more a feasible fractional plan costs that the prices suggest: the bound is at most this far too low.
    pub gap: MicroUsd,
}

/// The least money with the least lateness; providers have no limits of slots, and clouds are warm.
#[must_use]
pub fn least(jobs: &[SimJob], fleet: &FleetSpec, setting: &Setting) -> Bound {
    let problem = Problem::of(jobs, fleet, setting, Capacities::Optimistic);
    let late = least_late(&problem);
    bound(&problem, late)
}

/// The least money while no more jobs are late than `late`, and not fewer than must be; with real slots everywhere.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn as_late(jobs: &[SimJob], fleet: &FleetSpec, setting: &Setting, late: usize) -> Bound {
    let problem = Problem::of(jobs, fleet, setting, Capacities::Real);
    bound(&problem, late as f64)
}

/// How many jobs must be late: what a feasible plan achieves that looks for nothing else.
fn least_late(problem: &Problem) -> f64 {
    let punctual = problem.without_money();
    let solution = solve(&punctual, 0.0);
    // Its price of a late job is 1.
    solution.feasible_late.max(0.0)
}

fn bound(problem: &Problem, late: f64) -> Bound {
    let solution = solve(problem, late);
    #[expect(clippy::cast_possible_truncation, reason = "money is far below 2^53")]
    let micro_usd = |value: f64| MicroUsd(value.max(0.0).floor() as i64);
    let money = micro_usd(solution.value);
    let gap = MicroUsd((micro_usd(solution.feasible_money).0 - money.0).max(0));
    Bound { money, late, gap }
}

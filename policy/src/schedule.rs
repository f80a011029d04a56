//! Decides for all jobs that wait at once: what starts where now, and what waits for what.
//!
//! The schedule minimises money plus the price of lateness over the capacity that is or will be there. Jobs are bound
//! late: a backend gets what it can start, and what keeps our own slots from idling. In four steps: `order` says in
//! which order jobs take our own slots, `line` lets them stand in a virtual line on these slots, `out` moves jobs to
//! paid backends while the sum falls, and `start` concludes a decision for each.

mod fleet;
mod input;
mod line;
mod order;
mod out;
mod price;
mod rates;
mod start;

pub use fleet::{Place, Pools, pools};
pub use input::{Expected, Pool, Rules, Run, ScheduleInput, Share, Waiting, Way, span_ms};
pub use price::{multiple, patience_ms, reference};
pub use rates::{Rates, TENANTS_MAX};
pub use start::{Decision, Schedule, Why};

use line::Line;
use out::Outs;

/// Decides for all that wait.
#[must_use]
pub fn schedule(input: &ScheduleInput<'_>) -> Schedule {
    if input.waiting.is_empty() {
        return Schedule::default();
    }
    let jobs = order::ordered(input);
    let mut line = Line::of(input, &jobs);
    let mut outs = Outs::of(input);
    out::move_out(input, &jobs, &mut line, &mut outs);
    start::conclude(input, &jobs, &mut line, &outs)
}

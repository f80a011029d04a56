//! Jobs move out of the line to paid backends while money plus lateness falls.

use super::input::{Pool, ScheduleInput, Way};
use super::line::Line;
use super::order::Job;
use super::price::lateness;

/// A job that leaves the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Out {
    pub(super) way: Way,
    /// When it would begin there, milliseconds from now.
    pub(super) starts_ms: f64,
    /// Its price, its own lateness included.
    pub(super) cost: f64,
}

/// Paid slots, and the jobs that leave the line for them.
#[derive(Debug)]
pub(super) struct Outs {
    /// For each pool: when its slots are free, from now, the first first.
    free_ms: Vec<Vec<f64>>,
    /// For each job of the order.
    pub(super) outs: Vec<Option<Out>>,
}

impl Outs {
    pub(super) fn of(input: &ScheduleInput<'_>) -> Self {
        let free = |pool: &Pool| {
            let from_now = |at_ms: &i64| input.ms_until(*at_ms).max(0.0);
            let mut free: Vec<f64> = pool.free_at_ms.iter().map(from_now).collect();
            free.sort_by(f64::total_cmp);
            free
        };
        let free_ms = input.pools.iter().map(|pool| if pool.is_paid { free(pool) } else { Vec::new() });
        Self { free_ms: free_ms.collect(), outs: vec![None; input.waiting.len()] }
    }

    /// The cheapest way out of a job.
    fn way_out(&self, input: &ScheduleInput<'_>, job: &Job<'_>) -> Option<Out> {
        let mut best: Option<Out> = None;
        for way in job.waiting.ways.iter().filter(|way| input.pools[way.pool].is_paid) {
            let Some(starts_ms) = self.free_ms[way.pool].first().copied() else { continue };
            if best.is_some_and(|best| best.cost <= way.cost_micro_usd) {
                continue;
            }
            let cost = way.cost_micro_usd + lateness(job, starts_ms, &way.run, input.rules);
            if best.is_none_or(|best| cost < best.cost) {
                best = Some(Out { way: *way, starts_ms, cost });
            }
        }
        best
    }

    fn take(&mut self, place: usize, out: Out) {
        self.outs[place] = Some(out);
        let free = &mut self.free_ms[out.way.pool];
        if let Some(first) = free.first_mut() {
            *first += out.way.run.p50_ms;
            let ends_ms = *first;
            let behind = free[1..].partition_point(|other| *other < ends_ms);
            free[..=behind].rotate_left(1);
        }
    }

    /// Of those in line up to a place the one whose way out is cheapest for the time that it frees. `above` is the rate
    /// of the one that was tried before.
    fn cheapest(
        &self,
        input: &ScheduleInput<'_>,
        jobs: &[Job<'_>],
        line: &Line,
        until: usize,
        above: f64,
    ) -> Option<(f64, usize, Out)> {
        let mut best: Option<(f64, usize, Out)> = None;
        for (place, job) in jobs.iter().enumerate().take(until + 1) {
            let worst = best.map_or(f64::INFINITY, |best| best.0);
            if job.least_rate > worst || !line.holds(place) {
                continue;
            }
            // Of equals the first helps most; but where the last moment counts, the last can wait longest.
            if job.least_rate == worst && !best.is_some_and(|best| input.is_many(best.2.way.pool)) {
                continue;
            }
            let Some(out) = self.way_out(input, job) else { continue };
            let rate = out.cost / job.frees_ms;
            if rate > above && rate <= worst {
                best = Some((rate, place, out));
            }
        }
        best
    }
}

/// Moves jobs out while the sum falls: along the line, whenever one is late, those before it make room whose way out is
/// cheapest.
pub(super) fn move_out(input: &ScheduleInput<'_>, jobs: &[Job<'_>], line: &mut Line, outs: &mut Outs) {
    for (place, job) in jobs.iter().enumerate().filter(|(_, job)| job.own.is_empty()) {
        if let Some(out) = outs.way_out(input, job) {
            outs.take(place, out);
        }
    }
    let (mut skips, mut failures) = (0usize, 0u32);
    let mut steps = input.rules.steps_max;
    for place in 0..jobs.len() {
        line.walk(input, jobs, place, place);
        let is_last = place + 1 == jobs.len();
        while line.late_until(place) > 0.0 && (line.late_of(place) > 0.0 || is_last) {
            if skips > 0 && !is_last {
                skips -= 1;
                break;
            }
            if steps > 0 && make_room(input, jobs, line, outs, place, &mut steps) {
                failures = 0;
            } else {
                // Where nothing helps, the next one is hardly helped either.
                failures += 1;
                skips = (1 << failures.min(4)) - 1;
                break;
            }
        }
    }
}

/// Moves one of those up to a place out, if the sum falls.
fn make_room(
    input: &ScheduleInput<'_>,
    jobs: &[Job<'_>],
    line: &mut Line,
    outs: &mut Outs,
    until: usize,
    steps: &mut usize,
) -> bool {
    let before = line.late_until(until);
    let mut above = f64::NEG_INFINITY;
    for _ in 0..input.rules.weighed_max {
        let Some((rate, place, out)) = outs.cheapest(input, jobs, line, until, above) else { return false };
        *steps = steps.saturating_sub(2 * (until + 1 - place) + jobs.len() / 4);
        if out.cost < before
            && line.late_without(input, jobs, place, until, before - out.cost) + out.cost < before
        {
            line.leave(input, jobs, place, until);
            outs.take(place, out);
            return true;
        }
        above = rate;
    }
    false
}

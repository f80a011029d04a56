//! The order in which jobs take our own slots.
//!
//! Where the work that waits leaves everybody in time, tenants take turns by their shares. Who is pressed comes before, by
//! due time, but no tenant before its share.

use super::input::{ScheduleInput, Share, Waiting, Way};

/// A job in a schedule. Times are milliseconds from now.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// Its place in the input.
    pub(super) place: usize,
    pub(super) waiting: &'a Waiting,
    /// When its profile wants it done.
    pub(super) due_ms: f64,
    /// When it is late.
    pub(super) end_ms: f64,
    pub(super) deadline_ms: Option<f64>,
    /// For how long after its due time lateness costs its price once.
    pub(super) span_ms: f64,
    pub(super) reference: f64,
    /// The reference, times its profile.
    pub(super) price: f64,
    /// Its ways to our own slots.
    pub(super) own: Vec<Way>,
    /// The time on our own slots that it frees by leaving.
    pub(super) frees_ms: f64,
    /// The least that leaving costs for each millisecond that it frees.
    pub(super) least_rate: f64,
    /// It would be late behind all others: it comes before those that would not.
    is_pressed: bool,
    /// The smaller, the earlier in line.
    key_ms: f64,
}

/// The jobs in the order in which they take our own slots.
pub(super) fn ordered<'a>(input: &ScheduleInput<'a>) -> Vec<Job<'a>> {
    let jobs = input.waiting.iter().enumerate().map(|(place, waiting)| job(input, place, waiting));
    let mut jobs: Vec<Job<'a>> = jobs.collect();
    sort(&mut jobs);
    if jobs.windows(2).any(|two| two[0].waiting.tenant != two[1].waiting.tenant) {
        press(input, &mut jobs);
        share(input, &mut jobs);
        sort(&mut jobs);
    }
    jobs
}

fn sort(jobs: &mut [Job<'_>]) {
    jobs.sort_by(|one, other| {
        let pressed_first = other.is_pressed.cmp(&one.is_pressed);
        pressed_first.then(one.key_ms.total_cmp(&other.key_ms)).then(one.place.cmp(&other.place))
    });
}

/// Those are not pressed that would be in time behind so many times all work that waits for the same slots: as much again
/// may arrive before they begin.
fn press(input: &ScheduleInput<'_>, jobs: &mut [Job<'_>]) {
    let mut clear_ms: Vec<f64> = vec![0.0; input.pools.len()];
    for job in jobs.iter() {
        for way in &job.own {
            clear_ms[way.pool] += way.run.longest_ms();
        }
    }
    for (clear_ms, pool) in clear_ms.iter_mut().zip(input.pools) {
        let busy_ms: f64 = pool.free_at_ms.iter().map(|at_ms| input.ms_until(*at_ms).max(0.0)).sum();
        *clear_ms = (*clear_ms + busy_ms) / pool.free_at_ms.len() as f64;
    }
    for job in jobs.iter_mut() {
        let last_ms = job.own.iter().map(|way| clear_ms[way.pool]).fold(f64::INFINITY, f64::min);
        let until_ms = job.deadline_ms.map_or(job.due_ms, |deadline_ms| deadline_ms.min(job.due_ms));
        job.is_pressed = last_ms * input.rules.calm_behind > until_ms;
    }
}

fn job<'a>(input: &ScheduleInput<'a>, place: usize, waiting: &'a Waiting) -> Job<'a> {
    let since_ms = input.ms_until(waiting.since_ms);
    let deadline_ms = waiting.deadline_ms.map(|at_ms| input.ms_until(at_ms));
    let span_ms = waiting.span_ms();
    let end_ms = since_ms + span_ms;
    let (paid, own): (Vec<Way>, Vec<Way>) =
        waiting.ways.iter().copied().partition(|way| input.pools[way.pool].is_paid);
    let run_ms = own.iter().map(|way| way.run.p50_ms).fold(f64::INFINITY, f64::min).max(1.0);
    let least = paid.iter().map(|way| way.cost_micro_usd).fold(f64::INFINITY, f64::min);
    // A job that is late anyway makes no other late, for a while.
    let is_lost = deadline_ms.is_none() && run_ms > end_ms;
    Job {
        place,
        waiting,
        // Who pays more for time wants it sooner.
        due_ms: since_ms + span_ms / waiting.profile.max(1.0),
        end_ms,
        deadline_ms,
        span_ms,
        reference: waiting.reference_micro_usd,
        price: waiting.reference_micro_usd * waiting.profile,
        own,
        frees_ms: if run_ms.is_finite() { run_ms } else { 1.0 },
        least_rate: least / run_ms,
        is_pressed: true,
        key_ms: if is_lost { since_ms + input.rules.late_target * span_ms } else { end_ms },
    }
}

/// A job does not come before the time at which its tenant's share alone would have it done, unless it was passed over
/// for as long as anybody may be. That time alone orders those that are not pressed.
fn share(input: &ScheduleInput<'_>, jobs: &mut [Job<'_>]) {
    let mut is_here = vec![false; input.tenants.len()];
    jobs.iter().for_each(|job| is_here[job.waiting.tenant] = true);
    let here =
        || input.tenants.iter().zip(&is_here).filter(|(_, is_here)| **is_here).map(|(tenant, _)| tenant);
    let weights: f64 = here().map(|tenant| tenant.weight).sum();
    let own = input.pools.iter().filter(|pool| !pool.is_paid);
    let slots = own.map(|pool| pool.free_at_ms.len()).sum::<usize>().max(1) as f64;
    let used = |tenant: &Share| tenant.used_ms / tenant.weight;
    let least = here().map(used).fold(f64::INFINITY, f64::min);
    let begin = |tenant: &Share| (used(tenant) - least) * weights / slots;
    let mut tags: Vec<f64> = input.tenants.iter().map(begin).collect();
    for job in jobs.iter_mut().filter(|job| !job.own.is_empty()) {
        let weight = input.tenants[job.waiting.tenant].weight;
        let tag = &mut tags[job.waiting.tenant];
        *tag += job.frees_ms * weights / (weight * slots);
        let most_ms = (input.rules.passed_over_max * job.span_ms).max(input.rules.passed_over_min_ms);
        let last_ms = job.end_ms - job.span_ms + most_ms;
        let turn_ms = tag.min(last_ms);
        job.key_ms = if job.is_pressed { job.key_ms.max(turn_ms) } else { turn_ms };
    }
}

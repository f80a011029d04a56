//! The order in which jobs take our own slots.
//!
//! By due time, but no tenant before its share. Where several tenants wait, those of their jobs that are in time wherever
//! they stand change places among themselves, so that tenants take turns.

use super::input::{Pool, ScheduleInput, Share, Waiting, Way};

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
    /// It is in time wherever it stands: it changes places with others that are.
    is_calm: bool,
    /// When it is its turn among these.
    turn_ms: f64,
    /// The smaller, the earlier in line.
    key_ms: f64,
}

/// The jobs in the order in which they take our own slots.
pub(super) fn ordered<'a>(input: &ScheduleInput<'a>) -> Vec<Job<'a>> {
    let jobs = input.waiting.iter().enumerate().map(|(place, waiting)| job(input, place, waiting));
    let mut jobs: Vec<Job<'a>> = jobs.collect();
    sort(&mut jobs);
    if jobs.windows(2).any(|two| two[0].waiting.tenant != two[1].waiting.tenant) {
        let turns = turns(input, &jobs);
        calm(input, &mut jobs, &turns);
        for (job, turn) in jobs.iter_mut().zip(turns) {
            let Some(turn) = turn else { continue };
            job.key_ms = job.key_ms.max(turn.at_ms);
            job.turn_ms = turn.at_ms;
        }
        sort(&mut jobs);
        jobs = by_turns(jobs);
    }
    jobs
}

fn sort(jobs: &mut [Job<'_>]) {
    jobs.sort_by(|one, other| one.key_ms.total_cmp(&other.key_ms).then(one.place.cmp(&other.place)));
}

/// Those that are calm change places among themselves: tenants take turns. All others stay where they are.
fn by_turns(jobs: Vec<Job<'_>>) -> Vec<Job<'_>> {
    let is_calm: Vec<bool> = jobs.iter().map(|job| job.is_calm).collect();
    let (mut calm, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_calm);
    calm.sort_by(|one, other| one.turn_ms.total_cmp(&other.turn_ms).then(one.place.cmp(&other.place)));
    let (mut calm, mut others) = (calm.into_iter(), others.into_iter());
    is_calm.into_iter().filter_map(|is_calm| if is_calm { calm.next() } else { others.next() }).collect()
}

/// Says which jobs are calm: in time behind all that tenants have within their shares, with a margin, and behind what is
/// pressed beyond them.
fn calm(input: &ScheduleInput<'_>, jobs: &mut [Job<'_>], turns: &[Option<Turn>]) {
    let within = |turn: &Option<Turn>| turn.as_ref().is_some_and(|turn| turn.is_within_share);
    let clear = clear_ms(input, jobs.iter().zip(turns).filter(|(_, turn)| within(turn)).map(|(job, _)| job));
    for (job, turn) in jobs.iter_mut().zip(turns) {
        let may_wait = turn.as_ref().is_some_and(|turn| !turn.is_passed_over);
        job.is_calm = may_wait && job.is_in_time_behind(&clear, input.rules.calm_behind);
    }
    let counts = |(job, turn): &(&Job<'_>, &Option<Turn>)| within(turn) || !job.is_calm;
    let clear = clear_ms(input, jobs.iter().zip(turns).filter(counts).map(|(job, _)| job));
    jobs.iter_mut().for_each(|job| job.is_calm = job.is_calm && job.is_in_time_behind(&clear, 1.0));
}

/// When it is a job's turn by its tenant's share of our own slots.
struct Turn {
    /// When that share alone would have it done, milliseconds from now; never later than it may be passed over.
    at_ms: f64,
    /// It was passed over for as long as anybody may be.
    is_passed_over: bool,
    /// It would be in time with that share alone.
    is_within_share: bool,
}

/// The turn of each job that may use our own slots. A tenant's jobs take their turns in the order in which they stand.
fn turns(input: &ScheduleInput<'_>, jobs: &[Job<'_>]) -> Vec<Option<Turn>> {
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
    let mut turn = |job: &Job<'_>| {
        let weight = input.tenants[job.waiting.tenant].weight;
        let tag = &mut tags[job.waiting.tenant];
        *tag += job.frees_ms * weights / (weight * slots);
        let most_ms = (input.rules.passed_over_max * job.span_ms).max(input.rules.passed_over_min_ms);
        let last_ms = job.end_ms - job.span_ms + most_ms;
        let is_passed_over = last_ms <= 0.0;
        Turn { at_ms: tag.min(last_ms), is_passed_over, is_within_share: *tag <= job.until_ms() }
    };
    jobs.iter().map(|job| (!job.own.is_empty()).then(|| turn(job))).collect()
}

/// For each pool, when the work of these jobs would be done that may use it, milliseconds from now.
fn clear_ms<'j, 'a: 'j>(input: &ScheduleInput<'_>, jobs: impl Iterator<Item = &'j Job<'a>>) -> Vec<f64> {
    let mut work_ms = vec![0.0; input.pools.len()];
    for way in jobs.flat_map(|job| &job.own) {
        work_ms[way.pool] += way.run.p50_ms;
    }
    let clear_ms = |(work_ms, pool): (f64, &Pool)| {
        let busy_ms: f64 = pool.free_at_ms.iter().map(|at_ms| input.ms_until(*at_ms).max(0.0)).sum();
        (work_ms + busy_ms) / pool.free_at_ms.len() as f64
    };
    work_ms.into_iter().zip(input.pools).map(clear_ms).collect()
}

impl Job<'_> {
    /// When it must have ended, milliseconds from now.
    fn until_ms(&self) -> f64 {
        self.deadline_ms.map_or(self.due_ms, |deadline_ms| deadline_ms.min(self.due_ms))
    }

    /// Whether it would be in time behind so many times the work of one of the pools that it may use.
    fn is_in_time_behind(&self, clear_ms: &[f64], times: f64) -> bool {
        let first_ms = self.own.iter().map(|way| clear_ms[way.pool]).fold(f64::INFINITY, f64::min);
        first_ms * times <= self.until_ms()
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
        is_calm: false,
        turn_ms: 0.0,
        key_ms: if is_lost { since_ms + input.rules.late_target * span_ms } else { end_ms },
    }
}

//! The verdict on a history: `out/drill/report.json`. The fields are documented in `ops/docs/drill.md`, and a
//! test holds the two together.

use super::history::{Removal, Replacement};
use super::orders;
use super::plan::Blow;
use super::story::{Story, Told};
use crate::figures::{AuditSection, Percentiles, percentiles, unsigned};
use policy::invariants::audit;
use runtime::exit::Exit;
use schemas::{ChargeState, JobId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of report and history.
pub const VERSION: u32 = 1;
/// Findings of one kind that are put into words; the rest is counted.
const WORDS_MAX: usize = 20;
/// How a process may end that was asked to stop: done, or out of time and what it held is delivered again.
const GOOD_EXITS: [i32; 2] = [Exit::Stopped as i32, Exit::DrainIncomplete as i32];
/// The length of a day, milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A finished drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The form of this file.
    pub version: u32,
    /// What the jobs and the plan were drawn from.
    pub seed: u64,
    /// Jobs to be published.
    pub jobs: u64,
    /// Nodes of the broker.
    pub nodes: u64,
    /// From the beginning to the end of the fleet, milliseconds.
    pub wall_ms: u64,
    /// Blows or replacements went on for so long, milliseconds.
    pub chaos_ms: u64,
    /// Whether the promises held.
    pub audit: AuditSection,
    /// Jobs by their end.
    pub states: BTreeMap<String, u64>,
    /// Publishes it took to have all jobs accepted.
    pub publishes: u64,
    /// Blows by what they hit.
    pub blows: BTreeMap<String, Blows>,
    /// Processes of an earlier release that gave way to those of this state, in their order; none in a kill drill.
    #[serde(default)]
    pub replaced: Vec<Replacement>,
    /// The longest time in which no job ended, milliseconds.
    pub longest_stall_ms: u64,
    /// From a restart to the next useful step, milliseconds.
    pub recover_ms: Percentiles,
    /// Runs of our own GPUs beyond one for each job that ran there.
    pub repeated_gpu_runs: u64,
    /// Jobs that a client asked to be cancelled.
    #[serde(default)]
    pub cancels: u64,
    /// Jobs with a deadline.
    #[serde(default)]
    pub deadlines: u64,
    /// Files that were announced.
    pub artifacts: u64,
    /// What each tenant with a budget spent, micro-dollars.
    pub spent_micro_usd: BTreeMap<String, i64>,
}

/// What one kind of process went through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blows {
    /// Killed.
    pub kills: u64,
    /// Stopped for a while.
    pub stops: u64,
    /// Filled, and made larger again.
    #[serde(default)]
    pub fills: u64,
    /// Ended by itself and was started again.
    pub own_ends: u64,
    /// From a restart to the next useful step, milliseconds.
    pub recover_ms: Percentiles,
    /// Restarts after which no useful step was seen: struck again first, or nothing was left to do.
    pub not_seen_again: u64,
}

impl Report {
    /// Judges.
    #[must_use]
    pub fn of(story: &Story) -> Self {
        let mut books = story.books.clone();
        books.accepted = Some(story.accepted.clone());
        (books.settled, books.bills_final) = (true, true);
        let mut judged = audit(&books);
        let spent = spent(story);
        judged.findings.extend(findings(story, &spent));
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for state in story.told.values().filter_map(|told| told.state) {
            *states.entry(state.as_str().to_owned()).or_default() += 1;
        }
        let since_began = |at_ms: Option<i64>| at_ms.map_or(0, |at_ms| unsigned(at_ms - story.began_at_ms));
        Self {
            version: VERSION,
            seed: story.seed,
            jobs: story.jobs,
            nodes: story.nodes,
            wall_ms: since_began(story.ended_at_ms),
            chaos_ms: since_began(story.calm_at_ms),
            audit: AuditSection::of(&judged),
            states,
            publishes: story.tries,
            blows: blows(story),
            replaced: story.replaced.clone(),
            longest_stall_ms: unsigned(story.longest_stall_ms()),
            recover_ms: percentiles(story.recoveries_ms().map(|(_, ms)| ms)),
            repeated_gpu_runs: story.repeated_gpu_runs(),
            cancels: story.cancels.len() as u64,
            deadlines: story.deadlines_ms.len() as u64,
            artifacts: story.told.values().map(|told| told.announced.len() as u64).sum(),
            spent_micro_usd: spent,
        }
    }
}

/// What the books do not show: ends and files as the events tell them, budgets, what was left behind.
fn findings(story: &Story, spent: &BTreeMap<String, i64>) -> Vec<String> {
    let mut found = Vec::new();
    if story.ended_at_ms.is_none() {
        found.push("the history has no end: the drill was cut off".to_owned());
    }
    match &story.unrest {
        Some(unrest) if unrest.is_empty() => {}
        Some(unrest) => {
            found.push(format!("streams and ledger did not come to rest: {}", unrest.join("; ")));
        }
        None => found.push("streams and ledger did not come to rest".to_owned()),
    }
    if (story.accepted.len() as u64) < story.jobs {
        found.push(format!("{} of {} jobs were accepted", story.accepted.len(), story.jobs));
    }
    let ends = |job: &JobId| story.told.get(job).map_or(0, |told| told.ends);
    let odd = story.accepted.iter().filter(|job| ends(job) != 1);
    several(&mut found, odd.map(|job| format!("the events tell {} ends of job {job}", ends(job))));
    let strangers = story.told.keys().filter(|job| !story.accepted.contains(job));
    several(&mut found, strangers.map(|job| format!("events tell of job {job}, which nobody published")));
    several(
        &mut found,
        announced(story).filter_map(|key| match story.fetched.get(key) {
            None => Some(format!("{key} was announced and nobody tried to fetch it")),
            Some(problem) => problem.as_ref().map(|problem| format!("{key} was announced: {problem}")),
        }),
    );
    several(&mut found, over_ceiling(story));
    let days = story.ended_at_ms.unwrap_or(story.began_at_ms).div_euclid(DAY_MS)
        - story.began_at_ms.div_euclid(DAY_MS);
    several(
        &mut found,
        story.daily_micro_usd.iter().filter_map(|(tenant, daily)| {
            let (spent, may) =
                (spent.get(tenant).copied().unwrap_or_default(), daily.0.saturating_mul(days + 1));
            (spent > may).then(|| format!("tenant {tenant} spent {spent} of {may} micro-dollars"))
        }),
    );
    several(&mut found, orders::not_kept(story));
    several(&mut found, not_replaced(story));
    several(&mut found, story.left.iter().map(|(pid, command)| format!("process {pid} was left: {command}")));
    found
}

/// What an upgrade owes: everything replaced, each at work again, and nobody driven to an end by the other version.
fn not_replaced(story: &Story) -> impl Iterator<Item = String> {
    let replaced = |name: &String| story.replaced.iter().any(|replacement| replacement.name == *name);
    let missing = story.to_replace.iter().filter(move |name| !replaced(name));
    let missing = missing.map(|name| format!("{name} was not replaced, or its successor did no work"));
    let badly = story.replaced.iter().filter(|replacement| {
        replacement.removal == Removal::Drained
            && !replacement.exit_code.is_some_and(|code| GOOD_EXITS.contains(&code))
    });
    let badly =
        badly.map(|one| format!("{} was asked to stop and ended badly: {:?}", one.name, one.exit_code));
    let is_upgrade = !story.to_replace.is_empty();
    let own_ends = story.hits.iter().filter(move |hit| is_upgrade && hit.blow.is_none());
    let own_ends = own_ends.map(|hit| {
        format!("{} ended by itself during the upgrade: {}", hit.name, hit.status.as_deref().unwrap_or("?"))
    });
    missing.chain(badly).chain(own_ends)
}

/// Puts the first findings of a kind into words and counts the rest.
fn several(found: &mut Vec<String>, mut kind: impl Iterator<Item = String>) {
    found.extend(kind.by_ref().take(WORDS_MAX));
    let more = kind.count();
    if more > 0 {
        found.push(format!("and {more} more of this kind"));
    }
}

fn announced(story: &Story) -> impl Iterator<Item = &String> {
    story.told.values().flat_map(|told: &Told| &told.announced)
}

/// What each job's attempts cost or may have cost, micro-dollars.
fn by_job(story: &Story) -> BTreeMap<JobId, i64> {
    let mut all: BTreeMap<JobId, i64> = BTreeMap::new();
    for attempt in &story.books.attempts {
        if attempt.charge.state != ChargeState::Voided {
            let sum = all.entry(attempt.job).or_default();
            *sum = sum.saturating_add(attempt.charge.amount_micro_usd.0);
        }
    }
    all
}

fn over_ceiling(story: &Story) -> impl Iterator<Item = String> {
    by_job(story).into_iter().filter_map(|(job, cost)| {
        let ceiling = story.told.get(&job).and_then(|told| told.max_cost_micro_usd)?;
        (cost > ceiling.0).then(|| format!("job {job} cost {cost}, more than its ceiling of {}", ceiling.0))
    })
}

fn spent(story: &Story) -> BTreeMap<String, i64> {
    let mut all: BTreeMap<String, i64> =
        story.daily_micro_usd.keys().map(|tenant| (tenant.clone(), 0)).collect();
    for (job, cost) in by_job(story) {
        let tenant = story.told.get(&job).map(|told| told.tenant.clone()).unwrap_or_default();
        let sum = all.entry(tenant).or_default();
        *sum = sum.saturating_add(cost);
    }
    all
}

fn blows(story: &Story) -> BTreeMap<String, Blows> {
    let mut all: BTreeMap<String, Blows> = BTreeMap::new();
    for hit in &story.hits {
        let blows = all.entry(hit.component.as_str().to_owned()).or_default();
        match hit.blow {
            Some(Blow::Kill) => blows.kills += 1,
            Some(Blow::Stop) => blows.stops += 1,
            Some(Blow::FillStore) => blows.fills += 1,
            None => blows.own_ends += 1,
        }
        blows.not_seen_again += u64::from(hit.blow.is_some() && story.useful_at_ms(hit).is_none());
    }
    for (name, blows) in &mut all {
        let own = story.recoveries_ms().filter(|(component, _)| component.as_str() == name);
        blows.recover_ms = percentiles(own.map(|(_, ms)| ms));
    }
    all
}

//! What the lines of a history add up to.

use super::history::{Component, Hit, Line, Replacement};
use policy::invariants::AuditInput;
use schemas::{AttemptFacts, Backend, Event, Fact, JobId, JobState, MicroUsd};
use std::collections::{BTreeMap, BTreeSet};

/// The free backend, whose runs cost time and no money.
const FREE_BACKEND: &str = "local";

/// A history, folded.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The form of the file.
    pub version: u32,
    /// What the jobs and the plan were drawn from.
    pub seed: u64,
    /// Jobs to be published.
    pub jobs: u64,
    /// Nodes of the broker.
    pub nodes: u64,
    /// When it began, Unix milliseconds.
    pub began_at_ms: i64,
    /// When it ended; none in a history that was cut off.
    pub ended_at_ms: Option<i64>,
    /// When the blows ended, or all was replaced.
    pub calm_at_ms: Option<i64>,
    /// What streams and ledger still held at the end; none where the drill did not come so far.
    pub unrest: Option<Vec<String>>,
    /// Every accepted job.
    pub accepted: BTreeSet<JobId>,
    /// The deadlines of those that have one, Unix milliseconds.
    pub deadlines_ms: BTreeMap<JobId, i64>,
    /// Jobs that a client asked to be cancelled, with the answer.
    pub cancels: BTreeMap<JobId, Option<CancelAnswer>>,
    /// Publishes it took to have them accepted.
    pub tries: u64,
    /// When the first was accepted.
    pub first_accepted_at_ms: Option<i64>,
    /// Every blow.
    pub hits: Vec<Hit>,
    /// The processes of an earlier release that were to be replaced.
    pub to_replace: Vec<String>,
    /// Those that were.
    pub replaced: Vec<Replacement>,
    /// The jobs of which events tell.
    pub told: BTreeMap<JobId, Told>,
    /// When the broker stored each event, Unix milliseconds.
    pub event_times_ms: BTreeSet<i64>,
    /// When the broker stored each end, Unix milliseconds.
    pub end_times_ms: Vec<i64>,
    /// Announced files that were fetched, by key, with what was wrong.
    pub fetched: BTreeMap<String, Option<String>>,
    /// Ledger, accepted jobs and invoices.
    pub books: AuditInput,
    /// Runs that simulated GPUs began.
    pub gpu_runs: u64,
    /// Processes that were there after the end: id and command line.
    pub left: Vec<(u32, String)>,
    /// Budgets of a day, by tenant.
    pub daily_micro_usd: BTreeMap<String, MicroUsd>,
}

/// What a router answered to a cancel request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelAnswer {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The state in which it found the job.
    pub found: JobState,
}

/// A job as its events tell.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Whose it is.
    pub tenant: String,
    /// How often its end is told.
    pub ends: u64,
    /// Its end.
    pub state: Option<JobState>,
    /// When the last of its attempts began, Unix milliseconds.
    pub last_start_ms: Option<i64>,
    /// The most that may be spent on it.
    pub max_cost_micro_usd: Option<MicroUsd>,
    /// Files that were announced, by key.
    pub announced: Vec<String>,
    /// It was begun on a GPU of our own.
    pub ran_free: bool,
}

impl Story {
    /// The story of a whole history.
    #[must_use]
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut story = Self::default();
        lines.into_iter().for_each(|line| story.take(line));
        story
    }

    /// The next line.
    pub fn take(&mut self, line: Line) {
        match line {
            Line::Begin { version, seed, jobs, nodes, at_ms, daily_micro_usd, to_replace } => {
                (self.version, self.seed, self.jobs, self.nodes) = (version, seed, jobs, nodes);
                (self.began_at_ms, self.daily_micro_usd) = (at_ms, daily_micro_usd);
                self.to_replace = to_replace;
            }
            Line::Accepted { job, at_ms, tries, deadline_ms } => {
                self.accepted.insert(job);
                self.deadlines_ms.extend(deadline_ms.map(|deadline_ms| (job, deadline_ms)));
                self.tries += tries;
                let first = self.first_accepted_at_ms.get_or_insert(at_ms);
                *first = at_ms.min(*first);
            }
            Line::Cancel { job, at_ms, found } => {
                let answer = self.cancels.entry(job).or_default();
                *answer = found.map(|found| CancelAnswer { at_ms, found }).or(*answer);
            }
            Line::Hit(hit) => self.hits.push(hit),
            Line::Replaced(replacement) => self.replaced.push(replacement),
            Line::Event { stored_at_ms, event } => self.take_event(stored_at_ms, &event),
            Line::Calm { at_ms } => self.calm_at_ms = Some(at_ms),
            Line::Rest { unrest, .. } => self.unrest = Some(unrest),
            Line::Fetched { key, problem, .. } => {
                self.fetched.insert(key, problem);
            }
            Line::BookedJob(job) => self.books.jobs.push(job),
            Line::BookedAttempt(attempt) => self.books.attempts.push(attempt),
            Line::BookedOverhead(charge) => self.books.overhead.push(charge),
            Line::Bill { backend, days } => self.books.bills.entry(backend).or_default().extend(days),
            Line::Invoice { backend, lines } => {
                self.books.invoices.entry(backend).or_default().extend(lines);
            }
            Line::GpuRuns { runs, .. } => self.gpu_runs += runs,
            Line::Left { pid, command } => self.left.push((pid, command)),
            Line::End { at_ms } => self.ended_at_ms = Some(at_ms),
        }
    }

    fn take_event(&mut self, stored_at_ms: i64, event: &Event) {
        self.event_times_ms.insert(stored_at_ms);
        let told = self.told.entry(event.job).or_default();
        event.tenant.as_str().clone_into(&mut told.tenant);
        // Where room was made, the short form of an end is stored behind it: it is the same end.
        if event.is_marker() && told.ends > 0 {
            return;
        }
        match &event.fact {
            Fact::Assigned { facts, .. } => told.max_cost_micro_usd = facts.max_cost_micro_usd,
            Fact::Running { backend, .. } => told.ran_free |= is_free(backend),
            Fact::Retrying { ended_attempt, .. } => told.ran_free |= has_run_free(ended_attempt),
            Fact::Ended { facts, state, artifacts, attempts, .. } => {
                told.ends += 1;
                told.state = Some(*state);
                told.last_start_ms = attempts.iter().filter_map(|attempt| attempt.started_at_ms).max();
                told.max_cost_micro_usd = facts.max_cost_micro_usd;
                told.announced.extend(artifacts.iter().map(|artifact| artifact.at.key.clone()));
                told.ran_free |= attempts.iter().any(has_run_free);
                self.end_times_ms.push(stored_at_ms);
            }
            Fact::Charged { .. } | Fact::Refused { .. } | Fact::Duplicate { .. } | Fact::Unknown => {}
        }
    }

    /// The longest time in which no job ended, from the first acceptance to the last end, milliseconds.
    #[must_use]
    pub fn longest_stall_ms(&self) -> i64 {
        let mut times: Vec<i64> =
            self.first_accepted_at_ms.into_iter().chain(self.end_times_ms.clone()).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// When a process that was struck had done something useful again. The broker's next useful step is the next
    /// event that it stored, that of what was filled the next end of a job.
    #[must_use]
    pub fn useful_at_ms(&self, hit: &Hit) -> Option<i64> {
        match hit.component {
            Component::NatsServer | Component::Links => {
                self.event_times_ms.range(hit.back_at_ms?..).next().copied()
            }
            Component::Storage => {
                let back_at_ms = hit.back_at_ms?;
                self.end_times_ms.iter().copied().filter(|at_ms| *at_ms >= back_at_ms).min()
            }
            _ => hit.useful_at_ms,
        }
    }

    /// From each start or continuation to the next useful step, milliseconds, with what it was.
    pub fn recoveries_ms(&self) -> impl Iterator<Item = (Component, i64)> {
        let hits = self.hits.iter().filter(|hit| hit.blow.is_some());
        hits.filter_map(|hit| Some((hit.component, self.useful_at_ms(hit)? - hit.back_at_ms?)))
    }

    /// Runs of our own GPUs beyond one for each job that ran there.
    #[must_use]
    pub fn repeated_gpu_runs(&self) -> u64 {
        let once = self.told.values().filter(|told| told.ran_free).count() as u64;
        self.gpu_runs.saturating_sub(once)
    }
}

fn is_free(backend: &Backend) -> bool {
    backend.as_str() == FREE_BACKEND
}

fn has_run_free(attempt: &AttemptFacts) -> bool {
    is_free(&attempt.backend) && attempt.started_at_ms.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_and_its_marker_are_one_end_and_two_ends_are_two() {
        let is_end = |event: &Event| matches!(event.fact, Fact::Ended { .. });
        let end = schemas::samples::events().into_iter().find(is_end).expect("a sample");
        let marker = end.marker().expect("of an end");
        let told = |events: &[&Event]| {
            let mut story = Story::default();
            events.iter().for_each(|event| story.take_event(1, event));
            (story.told[&end.job].ends, story.told[&end.job].announced.len())
        };
        let files = told(&[&end]).1;
        assert!(files > 0);
        assert_eq!(told(&[&end, &marker]), (1, files));
        assert_eq!(told(&[&marker]), (1, 0), "its end left before it was read");
        assert_eq!(told(&[&end, &end]).0, 2);
    }
}

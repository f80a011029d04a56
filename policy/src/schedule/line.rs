//! A virtual line on our own slots: which job would begin when, and what its lateness costs.

use super::input::ScheduleInput;
use super::order::Job;
use super::price::lateness;

/// No kind of work that is expected takes more of our own slots than this.
const SHARE_MAX: f64 = 0.8;

/// A slot of our own.
#[derive(Debug, Clone, Copy)]
struct Slot {
    pool: usize,
    free_ms: f64,
}

/// Where a job of the line begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Begin {
    /// Which of its own ways.
    pub(super) own: usize,
    pub(super) starts_ms: f64,
}

/// Our own slots, and the jobs that stand in line for them.
#[derive(Debug)]
pub(super) struct Line {
    slots: usize,
    /// The slots before each place, one place after the other.
    before: Vec<Slot>,
    /// What those before each place cost by being late.
    late_before: Vec<f64>,
    scratch: Vec<Slot>,
    /// For each job of the order: it left the line.
    left: Vec<bool>,
}

impl Line {
    pub(super) fn of(input: &ScheduleInput<'_>, jobs: &[Job<'_>]) -> Self {
        let mut scratch: Vec<Slot> = Vec::new();
        for (pool, there) in input.pools.iter().enumerate().filter(|(_, there)| !there.is_paid) {
            let free_ms = there.free_at_ms.iter().map(|at_ms| input.ms_until(*at_ms).max(0.0));
            scratch.extend(free_ms.map(|free_ms| Slot { pool, free_ms }));
        }
        let slots = scratch.len();
        let mut before = Vec::with_capacity(slots * (jobs.len() + 1));
        before.extend_from_slice(&scratch);
        let mut late_before = Vec::with_capacity(jobs.len() + 1);
        late_before.push(0.0);
        // What may not use them does not stand in line.
        let left = jobs.iter().map(|job| job.own.is_empty()).collect();
        Self { slots, before, late_before, scratch, left }
    }

    /// Whether a job stands in line.
    pub(super) fn holds(&self, place: usize) -> bool {
        !self.left[place]
    }

    /// What those up to a place cost by being late, when they were walked last.
    pub(super) fn late_until(&self, place: usize) -> f64 {
        self.late_before[place + 1]
    }

    /// What the lateness of one costs.
    pub(super) fn late_of(&self, place: usize) -> f64 {
        self.late_before[place + 1] - self.late_before[place]
    }

    /// Walks along the line from a place, before which nothing changed, up to another.
    pub(super) fn walk(&mut self, input: &ScheduleInput<'_>, jobs: &[Job<'_>], from: usize, until: usize) {
        self.before.truncate((from + 1) * self.slots);
        self.late_before.truncate(from + 1);
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.before[from * self.slots..]);
        let mut late = self.late_before[from];
        for (job, left) in jobs[from..=until].iter().zip(&self.left[from..=until]) {
            if !left {
                late += step(&mut self.scratch, input, job).1;
            }
            self.before.extend_from_slice(&self.scratch);
            self.late_before.push(late);
        }
    }

    /// The job at a place leaves the line.
    pub(super) fn leave(&mut self, input: &ScheduleInput<'_>, jobs: &[Job<'_>], place: usize, until: usize) {
        self.left[place] = true;
        self.walk(input, jobs, place, until);
    }

    /// What those up to `until` would cost without the job at a place. Stops where it is more than `enough`.
    pub(super) fn late_without(
        &mut self,
        input: &ScheduleInput<'_>,
        jobs: &[Job<'_>],
        place: usize,
        until: usize,
        enough: f64,
    ) -> f64 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.before[place * self.slots..(place + 1) * self.slots]);
        let mut late = self.late_before[place];
        for (job, left) in jobs[place + 1..=until].iter().zip(&self.left[place + 1..=until]) {
            if !left {
                late += step(&mut self.scratch, input, job).1;
                if late > enough {
                    break;
                }
            }
        }
        late
    }

    /// Where each of the line begins.
    pub(super) fn begins(&mut self, input: &ScheduleInput<'_>, jobs: &[Job<'_>]) -> Vec<Option<Begin>> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.before[..self.slots]);
        let begin = |(job, left): (&Job<'_>, &bool)| {
            if *left { None } else { step(&mut self.scratch, input, job).0 }
        };
        jobs.iter().zip(&self.left).map(begin).collect()
    }
}

/// The job takes the slot in which it ends first; where it begins, and what its lateness costs.
fn step(slots: &mut [Slot], input: &ScheduleInput<'_>, job: &Job<'_>) -> (Option<Begin>, f64) {
    let Some(begin) = take(slots, job) else { return (None, input.rules.worth * job.reference) };
    let starts_ms =
        if input.expected.is_empty() { begin.starts_ms } else { input.delayed(begin.starts_ms, job.end_ms) };
    (Some(begin), lateness(job, starts_ms, &job.own[begin.own].run, input.rules))
}

fn take(slots: &mut [Slot], job: &Job<'_>) -> Option<Begin> {
    let (mut best, mut best_ms, mut own) = (usize::MAX, f64::INFINITY, 0);
    for (index, slot) in slots.iter().enumerate() {
        if slot.free_ms >= best_ms {
            continue;
        }
        for (nth, way) in job.own.iter().enumerate() {
            let ends_ms = slot.free_ms + way.run.p50_ms;
            if way.pool == slot.pool && ends_ms < best_ms {
                (best, best_ms, own) = (index, ends_ms, nth);
            }
        }
    }
    let slot = slots.get_mut(best)?;
    let starts_ms = slot.free_ms;
    slot.free_ms = best_ms;
    Some(Begin { own, starts_ms })
}

impl ScheduleInput<'_> {
    /// When a job begins if those come before it that are expected to arrive and to be due earlier.
    fn delayed(&self, starts_ms: f64, due_ms: f64) -> f64 {
        let mut delayed_ms = starts_ms;
        for expected in self.expected {
            let window_ms =
                (due_ms - expected.patience_ms).min(starts_ms / (1.0 - expected.share.min(SHARE_MAX)));
            delayed_ms += self.rules.expected_part * expected.share * window_ms.max(0.0);
        }
        delayed_ms
    }
}

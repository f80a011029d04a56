//! What a run did, in numbers.

use std::fmt;

/// Counts of one run or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names and the printed line say what they count")]
pub struct Figures {
    pub runs: u64,
    pub jobs: u64,
    pub attempts: u64,
    pub steps: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub expired: u64,
    pub kills: u64,
    pub pauses: u64,
    pub cuts: u64,
    pub lost_answers: u64,
    pub redeliveries: u64,
    pub paid_starts: u64,
    pub unknown_outcomes: u64,
    pub repeated_gpu_runs: u64,
    pub paid_after_the_end: u64,
    pub refused_reservations: u64,
    pub read_past: u64,
    pub passed_over: u64,
    pub purged: u64,
    pub duplicates: u64,
    pub facts_removed: u64,
    pub facts_kept: u64,
    pub markers: u64,
    pub virtual_ms: u64,
}

impl Figures {
    /// Adds the counts of another run.
    pub const fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.jobs += other.jobs;
        self.attempts += other.attempts;
        self.steps += other.steps;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.cuts += other.cuts;
        self.lost_answers += other.lost_answers;
        self.redeliveries += other.redeliveries;
        self.paid_starts += other.paid_starts;
        self.unknown_outcomes += other.unknown_outcomes;
        self.repeated_gpu_runs += other.repeated_gpu_runs;
        self.paid_after_the_end += other.paid_after_the_end;
        self.refused_reservations += other.refused_reservations;
        self.read_past += other.read_past;
        self.passed_over += other.passed_over;
        self.purged += other.purged;
        self.duplicates += other.duplicates;
        self.facts_removed += other.facts_removed;
        self.facts_kept += other.facts_kept;
        self.markers += other.markers;
        self.virtual_ms += other.virtual_ms;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} jobs in {} runs: {} completed, {} failed, {} cancelled, {} expired; {} attempts, {} steps, {} virtual hours",
            self.jobs,
            self.runs,
            self.completed,
            self.failed,
            self.cancelled,
            self.expired,
            self.attempts,
            self.steps,
            self.virtual_ms / 3_600_000
        )?;
        writeln!(
            f,
            "{} kills, {} pauses, {} cut lines, {} lost answers, {} redeliveries, {} refused reservations",
            self.kills,
            self.pauses,
            self.cuts,
            self.lost_answers,
            self.redeliveries,
            self.refused_reservations
        )?;
        writeln!(
            f,
            "{} duplicates by key, {} jobs read past their consumer, {} messages passed over by it, {} removed by hand",
            self.duplicates, self.read_past, self.passed_over, self.purged
        )?;
        writeln!(
            f,
            "{} booked events removed to make room, {} stored again, {} of them as markers",
            self.facts_removed, self.facts_kept, self.markers
        )?;
        write!(
            f,
            "{} paid starts, {} unknown outcomes, {} paid starts after the job's end, {} repeated GPU runs",
            self.paid_starts, self.unknown_outcomes, self.paid_after_the_end, self.repeated_gpu_runs
        )
    }
}

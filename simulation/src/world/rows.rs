//! What happened, row by row: every figure of a report is a sum of these.

use policy::cost;
use schemas::{FailureCode, JobState, Lane, MicroUsd, Unit, Usage};
use serde::Serialize;

use super::binding::Binding;
use super::server::Server;
use crate::job::SimJob;
use crate::setting::Setting;

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRow {
    /// Its lane.
    pub lane: Lane,
    /// When it was accepted, Unix milliseconds.
    pub at_ms: i64,
    /// When it is late.
    pub due_ms: i64,
    /// It is due by a deadline, not by its patience.
    pub has_deadline: bool,
    /// How it ended; none when it never did.
    pub state: Option<JobState>,
    /// When.
    pub ended_at_ms: i64,
    /// An attempt of it was lost in an outage.
    pub was_hit: bool,
}

impl JobRow {
    /// Not completed by its deadline, or, without one, within its patience.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.state != Some(JobState::Completed) || self.ended_at_ms > self.due_ms
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRow {
    /// Whose.
    pub job: usize,
    /// Which, from 1.
    pub attempt: u32,
    /// Where, by the backend's place in document `policy`.
    pub backend: usize,
    /// By which server.
    pub server: usize,
    /// When it was bound.
    pub bound_at_ms: i64,
    /// When a server pulled it.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: i64,
    /// What it cost.
    pub cost: MicroUsd,
    /// Why it failed.
    pub failure: Option<FailureCode>,
}

/// A provider's worker from its start to its stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverheadRow {
    /// Which of them.
    pub worker: usize,
    /// When it started.
    pub since_ms: i64,
    /// How long it was up.
    pub up_ms: u64,
    /// What that cost beyond its attempts: start-up, idle time, rounding.
    pub cost: MicroUsd,
}

/// One server's slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotRow {
    /// Its name.
    pub server: String,
    /// Its backend, by its place in document `policy`.
    pub backend: usize,
    /// How many it has.
    pub slots: u32,
    /// Their busy time together, milliseconds.
    pub busy_ms: u64,
}

/// All rows of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Jobs, in order of their acceptance.
    pub jobs: Vec<JobRow>,
    /// Attempts, in order of their ends.
    pub attempts: Vec<AttemptRow>,
    /// Provider workers, in order of their stops.
    pub overheads: Vec<OverheadRow>,
    /// Servers.
    pub slots: Vec<SlotRow>,
}

impl Rows {
    pub(crate) fn new(jobs: &[SimJob], servers: &[Server]) -> Self {
        let job = |job: &SimJob| JobRow {
            lane: job.job.lane,
            at_ms: job.at_ms,
            due_ms: job.due_ms,
            has_deadline: job.job.constraints.deadline_ms.is_some(),
            state: None,
            ended_at_ms: 0,
            was_hit: false,
        };
        let slot = |server: &Server| SlotRow {
            server: server.spec.name.clone(),
            backend: server.backend,
            slots: server.spec.slots,
            busy_ms: 0,
        };
        Self {
            jobs: jobs.iter().map(job).collect(),
            slots: servers.iter().map(slot).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn end(&mut self, job: usize, state: JobState, now_ms: i64) -> bool {
        let row = &mut self.jobs[job];
        let is_first = row.state.is_none();
        if is_first {
            (row.state, row.ended_at_ms) = (Some(state), now_ms);
        }
        is_first
    }

    pub(crate) fn attempt(
        &mut self,
        binding: &Binding,
        server: usize,
        started_at_ms: i64,
        now_ms: i64,
        cost: MicroUsd,
        failure: Option<FailureCode>,
    ) {
        self.jobs[binding.job].was_hit |= failure == Some(FailureCode::BackendDown);
        self.attempts.push(AttemptRow {
            job: binding.job,
            attempt: binding.attempt,
            backend: binding.backend,
            server,
            bound_at_ms: binding.bound_at_ms,
            started_at_ms,
            ended_at_ms: now_ms,
            cost,
            failure,
        });
    }

    /// What a provider's worker costs for that time.
    pub(crate) fn serverless_price(&self, up_ms: u64, at_ms: i64, setting: &Setting) -> MicroUsd {
        let mut services = setting.config.catalog.services.iter();
        let Some(service) = services.find(|service| service.family == policy::billing::LIMITED_FAMILY) else {
            return MicroUsd::ZERO;
        };
        let usage = [Usage { unit: Unit::ExecutionMs, quantity: up_ms }];
        let prices = &setting.config.prices;
        cost::price_of(&usage, &service.backend, &service.model, prices, at_ms).unwrap_or_default()
    }

    /// Everything that was paid: attempts and overhead.
    #[must_use]
    pub fn money(&self) -> MicroUsd {
        let attempts: i64 = self.attempts.iter().map(|row| row.cost.0).sum();
        let overheads: i64 = self.overheads.iter().map(|row| row.cost.0).sum();
        MicroUsd(attempts + overheads)
    }
}

//! What a run comes to: sums of its rows, and nothing beside them.

use schemas::{JobState, Lane, MicroUsd};
use serde::Serialize;

use crate::job::SimJob;
use crate::setting::Setting;
use crate::world::Rows;

/// One lane of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneFigures {
    /// Which.
    pub lane: Lane,
    /// Its jobs.
    pub jobs: usize,
    /// Those that were late.
    pub late: usize,
    /// From acceptance to completion, milliseconds; of what was completed.
    pub p50_ms: u64,
    /// The same for 95 of a hundred.
    pub p95_ms: u64,
    /// The same for 99 of a hundred.
    pub p99_ms: u64,
}

/// One backend of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendFigures {
    /// Its name.
    pub backend: String,
    /// Attempts that ended there.
    pub attempts: usize,
    /// What they cost.
    pub money: MicroUsd,
    /// Its slots.
    pub slots: u32,
    /// Of their time from the first acceptance to the last end, what was idle, per cent.
    pub idle_percent: u64,
}

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// All jobs.
    pub jobs: usize,
    /// Those that were completed.
    pub completed: usize,
    /// Those that never ended: nothing would have happened any more.
    pub stuck: usize,
    /// Not completed by their deadline, or, without one, within their patience.
    pub late: usize,
    /// Those of them of which an outage took an attempt.
    pub late_by_outage: usize,
    /// Those with a deadline.
    pub with_deadline: usize,
    /// Those of them that missed it.
    pub missed: usize,
    /// Everything that was paid.
    pub money: MicroUsd,
    /// Of it, for attempts.
    pub attempts_money: MicroUsd,
    /// Of it, for a provider's workers beside their attempts.
    pub overhead_money: MicroUsd,
    /// What all jobs would have cost at the dearest backend that each may use.
    pub all_dearest_money: MicroUsd,
    /// By lane.
    pub lanes: Vec<LaneFigures>,
    /// By backend.
    pub backends: Vec<BackendFigures>,
    /// From the first acceptance to the last end, milliseconds.
    pub span_ms: u64,
}

impl Figures {
    /// Sums a run up.
    #[must_use]
    pub fn of(rows: &Rows, jobs: &[SimJob], setting: &Setting) -> Self {
        let late = || rows.jobs.iter().filter(|row| row.is_late());
        let lanes = Lane::ALL.into_iter().map(|lane| lane_figures(rows, lane)).filter(|lane| lane.jobs > 0);
        let begin_ms = rows.jobs.first().map_or(0, |row| row.at_ms);
        let end_ms = rows.jobs.iter().map(|row| row.ended_at_ms).max().unwrap_or_default();
        let span_ms = (end_ms - begin_ms).max(0).unsigned_abs();
        Self {
            jobs: rows.jobs.len(),
            completed: rows.jobs.iter().filter(|row| row.state == Some(JobState::Completed)).count(),
            stuck: rows.jobs.iter().filter(|row| row.state.is_none()).count(),
            late: late().count(),
            late_by_outage: late().filter(|row| row.was_hit).count(),
            with_deadline: rows.jobs.iter().filter(|row| row.has_deadline).count(),
            missed: late().filter(|row| row.has_deadline).count(),
            money: rows.money(),
            attempts_money: sum(rows.attempts.iter().map(|row| row.cost)),
            overhead_money: sum(rows.overheads.iter().map(|row| row.cost)),
            all_dearest_money: sum(jobs.iter().filter_map(SimJob::dearest).map(|choice| choice.cost)),
            lanes: lanes.collect(),
            backends: setting
                .backends()
                .enumerate()
                .map(|(place, backend)| backend_figures(rows, place, backend.to_string(), span_ms))
                .collect(),
            span_ms,
        }
    }

    /// The share of jobs that were late.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn late_share(&self) -> f64 {
        if self.jobs == 0 { 0.0 } else { self.late as f64 / self.jobs as f64 }
    }

    /// (money − bound) ÷ all-dearest; 0 where nothing may pay.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "money is far below 2^53")]
    pub fn above(&self, bound: MicroUsd) -> f64 {
        let all = self.all_dearest_money.0;
        if all == 0 { 0.0 } else { (self.money.0 - bound.0) as f64 / all as f64 }
    }
}

fn sum(all: impl Iterator<Item = MicroUsd>) -> MicroUsd {
    MicroUsd(all.map(|one| one.0).sum())
}

fn lane_figures(rows: &Rows, lane: Lane) -> LaneFigures {
    let of_lane = || rows.jobs.iter().filter(|row| row.lane == lane);
    let completed = of_lane().filter(|row| row.state == Some(JobState::Completed));
    let mut times: Vec<u64> =
        completed.map(|row| (row.ended_at_ms - row.at_ms).max(0).unsigned_abs()).collect();
    times.sort_unstable();
    LaneFigures {
        lane,
        jobs: of_lane().count(),
        late: of_lane().filter(|row| row.is_late()).count(),
        p50_ms: percentile(&times, 50),
        p95_ms: percentile(&times, 95),
        p99_ms: percentile(&times, 99),
    }
}

/// The smallest of the sorted times that so many of a hundred do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn backend_figures(rows: &Rows, place: usize, backend: String, span_ms: u64) -> BackendFigures {
    let of_backend = || rows.attempts.iter().filter(|row| row.backend == place);
    let slots = || rows.slots.iter().filter(|row| row.backend == place);
    let count: u32 = slots().map(|row| row.slots).sum();
    let busy_ms: u64 = slots().map(|row| row.busy_ms).sum();
    let all_ms = span_ms.saturating_mul(count.into());
    BackendFigures {
        backend,
        attempts: of_backend().count(),
        money: sum(of_backend().map(|row| row.cost)),
        slots: count,
        idle_percent: (all_ms.saturating_sub(busy_ms) * 100).checked_div(all_ms).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!([50, 95, 99].map(|percent| percentile(&times, percent)), [100, 190, 198]);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }
}

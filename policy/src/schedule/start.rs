//! What the schedule says of each job.

use super::input::ScheduleInput;
use super::line::Line;
use super::order::Job;
use super::out::Outs;

/// Why a job waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// It is expected to begin on one of our own slots then, milliseconds from now.
    InLine {
        /// Which pool.
        pool: usize,
        /// When.
        starts_in_ms: f64,
    },
    /// It moves to a paid pool at its last moment only: until then a slot of our own may come free.
    LastMoment {
        /// Which pool.
        pool: usize,
    },
    /// It moves to a paid pool as soon as a slot is free there.
    PaidSlot {
        /// Which pool.
        pool: usize,
        /// When that is expected, milliseconds from now.
        starts_in_ms: f64,
    },
    /// No pool can run it now.
    NoPool,
}

/// What becomes of a job now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// It starts in a pool: a slot is free for it.
    Start {
        /// Which pool.
        pool: usize,
    },
    /// It is bound behind what runs in a pool, so that no slot idles between two jobs.
    Ahead {
        /// Which pool.
        pool: usize,
    },
    /// It waits where it can still go anywhere.
    Wait {
        /// Why.
        why: Why,
        /// When it is looked at again at the latest, Unix milliseconds; at the next event where absent.
        until_ms: Option<i64>,
    },
}

/// A decision for each job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedule {
    /// In the order of the input.
    pub decisions: Vec<Decision>,
}

impl Schedule {
    /// When the schedule is to be made again though nothing happened, Unix milliseconds.
    #[must_use]
    pub fn look_again_ms(&self) -> Option<i64> {
        let until = |decision: &Decision| match decision {
            Decision::Wait { until_ms, .. } => *until_ms,
            _ => None,
        };
        self.decisions.iter().filter_map(until).min()
    }
}

/// A decision for each.
pub(super) fn conclude(
    input: &ScheduleInput<'_>,
    jobs: &[Job<'_>],
    line: &mut Line,
    outs: &Outs,
) -> Schedule {
    let nowhere = Decision::Wait { why: Why::NoPool, until_ms: None };
    let mut decisions = vec![nowhere; jobs.len()];
    let mut room: Vec<Room> = input.pools.iter().map(|pool| Room::of(input, pool)).collect();
    for (place, begin) in line.begins(input, jobs).into_iter().enumerate() {
        let Some(begin) = begin else { continue };
        let pool = jobs[place].own[begin.own].pool;
        let why = Why::InLine { pool, starts_in_ms: begin.starts_ms };
        let is_soon = begin.starts_ms <= input.rules.ahead_within_ms;
        let taken =
            room[pool].take_free(pool).or_else(|| if is_soon { room[pool].take_ahead(pool) } else { None });
        decisions[jobs[place].place] = taken.unwrap_or(Decision::Wait { why, until_ms: None });
    }
    for (place, job) in jobs.iter().enumerate() {
        let Some(out) = &outs.outs[place] else { continue };
        let pool = out.way.pool;
        let last_ms = job.due_ms.min(job.deadline_ms.unwrap_or(f64::INFINITY)) - out.way.run.longest_ms();
        // A slot of our own that no job in line can use is better than any.
        let own = job.own.iter().find_map(|way| room[way.pool].take_free(way.pool));
        decisions[job.place] = if let Some(own) = own {
            own
        } else if input.is_many(pool) && last_ms > 0.0 && !job.own.is_empty() {
            let until_ms = Some(input.now_ms + last_ms.ceil() as i64);
            Decision::Wait { why: Why::LastMoment { pool }, until_ms }
        } else {
            let why = Why::PaidSlot { pool, starts_in_ms: out.starts_ms };
            room[pool].take_free(pool).unwrap_or(Decision::Wait { why, until_ms: None })
        };
    }
    Schedule { decisions }
}

/// What a pool can take now.
struct Room {
    free: usize,
    ahead: usize,
}

impl Room {
    fn of(input: &ScheduleInput<'_>, pool: &super::input::Pool) -> Self {
        let free = pool.free_at_ms.iter().filter(|at_ms| **at_ms <= input.now_ms).count();
        Self { free, ahead: pool.ahead }
    }

    fn take_free(&mut self, pool: usize) -> Option<Decision> {
        self.free = self.free.checked_sub(1)?;
        Some(Decision::Start { pool })
    }

    fn take_ahead(&mut self, pool: usize) -> Option<Decision> {
        self.ahead = self.ahead.checked_sub(1)?;
        Some(Decision::Ahead { pool })
    }
}

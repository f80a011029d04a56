//! Those that wait, as a schedule is made from them.

use std::cell::Cell;

use policy::schedule::Rates;
use schemas::{Backend, JobId};

use super::others::Others;
use crate::router::job::{AdmittedJob, Placement};
use crate::router::scene::Scene;

/// Kinds of jobs whose ways are remembered while a scene is set.
const ALIKE_MAX: usize = 16;

/// Those that wait, in the order of their turns.
pub(crate) struct Waits<'a> {
    jobs: Vec<Stand<'a>>,
    rates: &'a mut Rates,
    others: &'a Others,
    held_back_since_ms: &'a mut Option<i64>,
}

/// One that waits.
pub(super) struct Stand<'a> {
    pub(super) admitted: &'a AdmittedJob,
    pub(super) refused: &'a [(Backend, String)],
    pub(super) is_counted: &'a Cell<bool>,
}

impl<'a> Waits<'a> {
    pub(super) const fn new(
        jobs: Vec<Stand<'a>>,
        rates: &'a mut Rates,
        others: &'a Others,
        held_back_since_ms: &'a mut Option<i64>,
    ) -> Self {
        Self { jobs, rates, others, held_back_since_ms }
    }

    /// For how long all of them have been held back by jobs of others, this look included, milliseconds.
    pub(crate) fn held_back_ms(&mut self, is_held_back: bool, now_ms: i64) -> i64 {
        if !is_held_back {
            *self.held_back_since_ms = None;
            return 0;
        }
        now_ms - *self.held_back_since_ms.get_or_insert(now_ms)
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.jobs.len()
    }

    /// What waits in the hands of other routers stands behind all that stand in a scene.
    pub(crate) fn others_stand_in(&self, scene: &mut Scene<'_>) {
        self.others.digests(scene.now_ms()).for_each(|digest| scene.stand_others(digest));
    }

    /// What was used, and what arrives.
    pub(crate) const fn rates(&mut self) -> &mut Rates {
        self.rates
    }

    /// The first attempt of the job at a place, and for which backends its money was refused just now.
    pub(crate) fn placement(&self, place: usize) -> (Placement<'a>, &'a [(Backend, String)]) {
        let job = &self.jobs[place];
        (job.admitted.first_attempt(), job.refused)
    }

    /// The place of a job.
    pub(crate) fn place_of(&self, job: JobId) -> Option<usize> {
        self.jobs.iter().position(|stand| stand.admitted.job.id == job)
    }

    /// All of them stand in a scene, in their order.
    pub(crate) fn stand_in(&self, scene: &mut Scene<'_>) {
        let mut kinds: Vec<usize> = Vec::new();
        for (place, job) in self.jobs.iter().enumerate() {
            let is_alike = |other: &&usize| {
                let other = &self.jobs[**other];
                other.refused.is_empty() && job.refused.is_empty() && other.admitted.is_alike(job.admitted)
            };
            let placement = job.admitted.first_attempt();
            if let Some(other) = kinds.iter().rev().take(ALIKE_MAX).find(is_alike) {
                scene.stand_like(*other, &placement);
            } else {
                scene.stand(&placement, job.refused);
                kinds.push(place);
            }
        }
    }

    /// Counts those that are new among what arrives.
    pub(crate) fn count_new(&mut self, scene: &Scene<'_>) {
        for (place, job) in self.jobs.iter().enumerate().filter(|(_, job)| !job.is_counted.replace(true)) {
            let Some(own_ms) = scene.own_ms(place) else { continue };
            self.rates.arrived(scene.waiting(place).span_ms(), own_ms, job.admitted.submitted_at_ms);
        }
    }
}

//! Events of jobs that are under way, so that the next event of a job needs none read back. What is here is a
//! copy: the tables say which events a job has, and an event never changes under its key.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::Event;
use uuid::Uuid;

/// Events of one generation; two are kept.
const GENERATION_MAX: usize = 8_192;

/// The events of the jobs booked last, in two generations: when the young one is full the old one is dropped.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    young: HashMap<Uuid, Vec<Arc<Event>>>,
    old: HashMap<Uuid, Vec<Arc<Event>>>,
    young_events: usize,
}

impl Recent {
    /// Takes what is known of a job, if anything.
    pub(crate) fn take(&mut self, job: Uuid) -> Vec<Arc<Event>> {
        match self.young.remove(&job) {
            Some(events) => {
                self.young_events -= events.len();
                events
            }
            None => self.old.remove(&job).unwrap_or_default(),
        }
    }

    /// Keeps all events of a job.
    pub(crate) fn keep(&mut self, job: Uuid, events: Vec<Arc<Event>>) {
        self.take(job);
        if self.young_events + events.len() > GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_events = 0;
        }
        if events.len() <= GENERATION_MAX {
            self.young_events += events.len();
            self.young.insert(job, events);
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::samples;

    use super::*;

    #[test]
    fn what_was_kept_last_is_there_and_no_more_than_two_generations() {
        let mut recent = Recent::default();
        let event = Arc::new(samples::events().swap_remove(0));
        let jobs: Vec<Uuid> = (0..3 * GENERATION_MAX as u128).map(Uuid::from_u128).collect();
        for job in &jobs {
            recent.keep(*job, vec![event.clone()]);
            recent.keep(*job, vec![event.clone()]);
            assert!(recent.young.len() + recent.old.len() <= 2 * GENERATION_MAX);
            assert_eq!(recent.young_events, recent.young.len());
        }
        assert_eq!(recent.take(jobs[jobs.len() - 1]), vec![event.clone()]);
        assert_eq!(recent.take(jobs[jobs.len() - 1]), Vec::new());
        assert_eq!(recent.take(jobs[jobs.len() - GENERATION_MAX - 1]), vec![event]);
        assert_eq!(recent.take(jobs[0]), Vec::new());
    }
}

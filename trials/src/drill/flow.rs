//! The jobs of a drill on their way: how many may be published by now, and which are paid for at this moment.

use schemas::{Backend, Event, Fact, JobId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Where fewer jobs than this are open, somebody may wait for work in vain.
const FEW: usize = 8;
/// So many more are let through then: some of them are paid.
const MORE: usize = 16;

/// What is on its way.
#[derive(Debug)]
pub(super) struct Flow {
    jobs: usize,
    /// Jobs of each further share.
    share: usize,
    allowed: AtomicUsize,
    given: AtomicUsize,
    ended: AtomicUsize,
    raised: Notify,
    /// The backend that runs a paid attempt of a job.
    paid: Mutex<BTreeMap<JobId, Backend>>,
}

impl Flow {
    /// Everything at once.
    pub(super) fn unbound(jobs: usize) -> Self {
        Self::in_shares(jobs, 1)
    }

    /// The first of so many shares; [`Self::next_share`] lets the others through, and [`Self::unbind`] alone the last
    /// one: as long as anybody waits for work, the jobs do not come to their end.
    pub(super) fn in_shares(jobs: usize, shares: usize) -> Self {
        let share = jobs.div_ceil(shares.max(1));
        Self {
            jobs,
            share,
            allowed: AtomicUsize::new(share),
            given: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            raised: Notify::new(),
            paid: Mutex::default(),
        }
    }

    /// Jobs that may be published by now.
    pub(super) fn allowed(&self) -> usize {
        self.allowed.load(Ordering::Acquire).min(self.jobs)
    }

    /// Returns when more may be published than before.
    pub(super) async fn raised(&self) {
        self.raised.notified().await;
    }

    /// One more share may be published.
    pub(super) fn next_share(&self) {
        self.allow(self.allowed() + self.share);
    }

    /// Everything may be published.
    pub(super) fn unbind(&self) {
        self.raise(self.jobs);
    }

    /// Lets a few more jobs through where hardly any are left: for those who wait for one.
    pub(super) fn keep_flowing(&self) {
        let (given, ended) = (self.given.load(Ordering::Acquire), self.ended.load(Ordering::Acquire));
        if given >= self.allowed() && given.saturating_sub(ended) < FEW {
            self.allow(self.allowed() + MORE);
        }
    }

    /// Raises what is allowed, and keeps the last share back.
    fn allow(&self, jobs: usize) {
        let most = self.jobs.saturating_sub(self.share).max(self.share);
        self.raise(jobs.min(most));
    }

    fn raise(&self, jobs: usize) {
        self.allowed.fetch_max(jobs, Ordering::AcqRel);
        self.raised.notify_one();
    }

    /// So many were handed to be published, and so many have ended.
    pub(super) fn count(&self, given: usize, ended: usize) {
        self.given.store(given, Ordering::Release);
        self.ended.store(ended, Ordering::Release);
    }

    /// Takes in what an event tells.
    pub(super) fn note(&self, event: &Event) {
        match &event.fact {
            Fact::Running { backend, .. } if policy::billing::is_paid_provider(backend.as_str()) => {
                self.paid().insert(event.job, backend.clone());
            }
            Fact::Running { .. } | Fact::Retrying { .. } | Fact::Ended { .. } => {
                self.paid().remove(&event.job);
            }
            _ => {}
        }
    }

    /// Paid attempts that run, by their backend.
    pub(super) fn paid_in_flight(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for backend in self.paid().values() {
            *all.entry(backend.as_str().to_owned()).or_default() += 1;
        }
        all
    }

    fn paid(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, Backend>> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_go_share_by_share_and_a_few_more_where_work_runs_out() {
        let flow = Flow::in_shares(300, 3);
        assert_eq!(flow.allowed(), 100);
        flow.keep_flowing();
        assert_eq!(flow.allowed(), 100, "what may go has not gone yet");
        flow.count(100, 92);
        flow.keep_flowing();
        assert_eq!(flow.allowed(), 100, "enough are open");
        flow.count(100, 93);
        flow.keep_flowing();
        flow.keep_flowing();
        assert_eq!(flow.allowed(), 116, "once, until they have gone");
        flow.next_share();
        flow.count(200, 200);
        flow.keep_flowing();
        assert_eq!(flow.allowed(), 200, "the last share is kept back");
        flow.unbind();
        assert_eq!(flow.allowed(), 300);
        assert_eq!(Flow::unbound(300).allowed(), 300);
    }

    #[test]
    fn paid_attempts_are_in_flight_from_their_start_to_what_follows() {
        let flow = Flow::unbound(2);
        let sample = |is: fn(&Fact) -> bool| {
            let all = schemas::samples::events();
            all.into_iter().find(|event| is(&event.fact)).expect("a sample")
        };
        let mut running = sample(|fact| matches!(fact, Fact::Running { .. }));
        let mut set = |name: &str| {
            let Fact::Running { backend, .. } = &mut running.fact else { unreachable!("just found") };
            *backend = Backend::new(name).expect("a name");
            running.clone()
        };
        let (cloud, local) = (set("cloud"), set("local"));
        flow.note(&cloud);
        flow.note(&cloud);
        assert_eq!(flow.paid_in_flight(), [("cloud".to_owned(), 1)].into());
        flow.note(&local);
        assert!(flow.paid_in_flight().is_empty(), "it went to a free backend");
        flow.note(&cloud);
        let ended = Event { job: cloud.job, ..sample(|fact| matches!(fact, Fact::Ended { .. })) };
        flow.note(&ended);
        assert!(flow.paid_in_flight().is_empty());
    }
}

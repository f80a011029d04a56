//! Which attempts have run for far longer than their kind takes.

use schemas::api::StuckAttempt;
use schemas::{Backend, Catalog, Class};

use crate::fleet::BackendView;
use crate::plan::learned_ms;

/// An attempt that has run for so many times what it usually takes is stuck.
pub const STUCK_FACTOR: u64 = 5;

/// No attempt is called stuck before this time, milliseconds: a second is soon five times as long.
pub const STUCK_AFTER_MS_MIN: u64 = 5_000;

/// Whether an attempt that usually takes `usual_ms`, and `startup_ms` more where it finds nothing running, is stuck.
#[must_use]
pub const fn is_stuck(running_ms: u64, usual_ms: u64, startup_ms: u64) -> bool {
    let longest_ms = usual_ms.saturating_mul(STUCK_FACTOR).saturating_add(startup_ms);
    running_ms > longest_ms && running_ms > STUCK_AFTER_MS_MIN
}

/// The attempts of a backend's present workers that are stuck, by what was learned there, else by the catalog.
#[must_use]
pub fn stuck(
    backend: &Backend,
    view: &BackendView,
    catalog: &Catalog,
    offer_max_age_ms: u64,
    now_ms: i64,
) -> Vec<StuckAttempt> {
    let fresh = || view.offers.iter().filter(|offer| offer.is_fresh(offer_max_age_ms, now_ms));
    let usual_ms = |class: &Class| {
        let service = catalog.service(backend, class);
        let learned = learned_ms(fresh().map(|known| &**known), class);
        let usual_ms = learned.or_else(|| service.map(|service| service.expected_ms))?;
        Some((usual_ms, service.map_or(0, |service| service.startup_ms)))
    };
    let attempts = fresh().flat_map(|offer| offer.running.iter().map(move |attempt| (offer, attempt)));
    let stuck = attempts.filter_map(|(offer, attempt)| {
        let (usual_ms, startup_ms) = usual_ms(&attempt.class)?;
        let running_ms = attempt.running_ms.saturating_add(offer.age_ms(now_ms));
        is_stuck(running_ms, usual_ms, startup_ms).then(|| StuckAttempt {
            worker: offer.worker.clone(),
            job: attempt.job,
            attempt: attempt.attempt,
            class: attempt.class.clone(),
            running_ms,
            usual_ms,
        })
    });
    stuck.collect()
}

#[cfg(test)]
mod tests {
    use schemas::{RunningAttempt, samples};

    use super::*;
    use crate::fleet::Fleet;

    #[test]
    fn a_job_is_stuck_by_what_was_learned_and_not_before_some_seconds() {
        assert!(is_stuck(94_000, 800, 0), "94 s of a 0.8 s job");
        assert!(!is_stuck(4_900, 100, 0) && is_stuck(5_001, 100, 0));
        assert!(!is_stuck(40_000, 9_000, 0) && is_stuck(45_001, 9_000, 0));
        assert!(!is_stuck(70_000, 2_000, 60_000), "a cold start");
    }

    #[test]
    fn what_a_silent_worker_ran_is_not_called_stuck() {
        let mut offer = samples::offer();
        let class = offer.classes[0].class.clone();
        offer.classes[0].learned_ms = Some(800);
        offer.running =
            vec![RunningAttempt { job: samples::job_id(), attempt: 1, class, running_ms: 90_000 }];
        let (backend, at_ms) = (offer.backend.clone(), samples::TIME_MS);
        let catalog = crate::defaults::catalog();
        let mut fleet = Fleet::default();
        fleet.upsert_offer(offer, at_ms);
        let view = fleet.view(&backend).expect("it has a worker");
        let found = stuck(&backend, view, &catalog, 10_000, at_ms + 4_000);
        assert_eq!(
            found.iter().map(|one| (one.running_ms, one.usual_ms)).collect::<Vec<_>>(),
            [(94_000, 800)]
        );
        assert!(stuck(&backend, view, &catalog, 10_000, at_ms + 10_000).is_empty());
    }
}

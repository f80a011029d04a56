//! How the backends are, by what is known of the fleet: what a router answers, and what `argosy doctor` works out from the
//! buckets where no router answers.

use std::collections::BTreeSet;

use schemas::api::{BackendStatus, BreakerStatus, ClassBacklog, Presence};
use schemas::breaker::BreakerKind;
use schemas::config::BackendConfig;
use schemas::{Catalog, Class, Offer, PolicyConfig};

use crate::billing::is_paid;
use crate::breaker::Breaker;
use crate::fleet::{Fleet, Known};
use crate::stuck::stuck;

/// Each configured backend with its workers, breakers and stuck attempts, by rank.
#[must_use]
pub fn backends(fleet: &Fleet, policy: &PolicyConfig, catalog: &Catalog, now_ms: i64) -> Vec<BackendStatus> {
    let mut configured: Vec<_> = policy.backends.iter().collect();
    configured.sort_by_key(|backend| backend.rank);
    let max_age_ms = policy.offer_max_age_ms;
    configured.into_iter().map(|backend| status(fleet, backend, catalog, max_age_ms, now_ms)).collect()
}

fn status(
    fleet: &Fleet,
    backend: &BackendConfig,
    catalog: &Catalog,
    max_age_ms: u64,
    now_ms: i64,
) -> BackendStatus {
    let view = fleet.view(&backend.backend).cloned().unwrap_or_default();
    let classes: BTreeSet<&Class> = view.backlog.keys().map(|queue| &queue.class).collect();
    let backlog =
        classes.into_iter().map(|class| ClassBacklog { class: class.clone(), jobs: view.backlog_of(class) });
    let backlog = backlog.collect();
    let breakers = view.breakers.opened().map(breaker_status).collect::<Vec<_>>();
    let open = breakers.iter().filter(|breaker| breaker.open_until_ms > Some(now_ms));
    let longest = open.max_by_key(|breaker| breaker.open_until_ms).cloned();
    let stuck = stuck(&backend.backend, &view, catalog, max_age_ms, now_ms);
    // They are in the order of their names.
    let presence = view.offers.iter().map(|known| presence(known, max_age_ms, now_ms)).collect();
    let mut workers: Vec<Offer> = view.offers.into_iter().map(Known::into_offer).collect();
    // A worker's own node list is long and for the planner; people ask for health and load.
    workers.iter_mut().for_each(|offer| (offer.nodes, offer.file_choices) = (None, None));
    BackendStatus {
        backend: backend.backend.clone(),
        paid: is_paid(backend, catalog.services_of(&backend.backend), &workers),
        workers,
        backlog,
        breaker_open_until_ms: longest.as_ref().and_then(|breaker| breaker.open_until_ms),
        breaker_reason: longest.and_then(|breaker| breaker.reason),
        breakers,
        presence,
        stuck,
    }
}

fn breaker_status((kind, model, breaker): (BreakerKind, Option<&str>, &Breaker)) -> BreakerStatus {
    BreakerStatus {
        kind,
        model: model.map(str::to_owned),
        consecutive_failures: breaker.consecutive_failures,
        open_until_ms: breaker.open_until_ms,
        reason: breaker.reason.clone(),
    }
}

fn presence(known: &Known, max_age_ms: u64, now_ms: i64) -> Presence {
    Presence {
        worker: known.worker.clone(),
        age_ms: known.age_ms(now_ms),
        is_fresh: known.is_fresh(max_age_ms, now_ms),
        clock_skew_ms: known.clock_skew_ms(),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Queue, samples};

    use super::*;
    use crate::defaults;

    #[test]
    fn each_configured_backend_is_there_by_rank_with_what_is_known_of_it() {
        let (policy, catalog) = (defaults::policy(), defaults::catalog());
        let mut fleet = Fleet::default();
        let offer = samples::offer();
        let (backend, now_ms) = (offer.backend.clone(), offer.time_ms);
        fleet.upsert_offer(offer.clone(), now_ms);
        fleet.set_backlog(&backend, Queue::of_class("image-large".parse().expect("a class")), 3);
        let breaker =
            schemas::breaker::BreakerRecord { open_until_ms: Some(now_ms + 90_000), ..samples::breaker() };
        fleet.take_breaker(&breaker);
        let seen = |after_ms| backends(&fleet, &policy, &catalog, now_ms + after_ms);
        let names: Vec<_> = seen(0).into_iter().map(|status| status.backend).collect();
        let mut ranked: Vec<_> = policy.backends.iter().collect();
        ranked.sort_by_key(|backend| backend.rank);
        assert_eq!(names, ranked.iter().map(|backend| backend.backend.clone()).collect::<Vec<_>>());
        let of = |after_ms, name| {
            seen(after_ms).into_iter().find(|status| status.backend == name).expect("configured")
        };
        let soon = of(1, backend.clone());
        assert_eq!((soon.workers.len(), soon.backlog[0].jobs), (1, 3));
        assert!(soon.presence[0].is_fresh && soon.workers[0].nodes.is_none());
        assert!(!of(3_600_000, backend).presence[0].is_fresh, "silent for an hour");
        let out = of(1, breaker.backend.clone());
        assert_eq!(out.breaker_open_until_ms, breaker.open_until_ms);
        assert_eq!(of(90_001, breaker.backend).breaker_open_until_ms, None, "its time is over");
    }
}

//! Laws: what holds for every fleet, job and history.

use std::collections::BTreeSet;

use policy::backoff::{Backoff, BackoffError, HINT_MAX_MS};
use policy::breaker::Breaker;
use policy::cost;
use policy::dispose::{Disposition, RATE_LIMITED_MAX, dispose};
use policy::fleet::Fleet;
use policy::overhead::{self, BillUpdate};
use policy::plan::Plan;
use proptest::prelude::*;
use schemas::bill::EndpointBill;
use schemas::*;

use crate::world::{NOW_MS, World, failed, name, offer};

const BACKENDS: [&str; 3] = ["local", "cloud", "gemini"];

fn backend() -> impl Strategy<Value = &'static str> {
    prop::sample::select(BACKENDS.to_vec())
}

fn code() -> impl Strategy<Value = FailureCode> {
    prop::sample::select(FailureCode::ALL.to_vec())
}

/// Odd weights too: configuration that was never validated must still not give NaN.
fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..1.0f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-1.0)]
}

fn word() -> impl Strategy<Value = PaidConsent> {
    prop::sample::select(PaidConsent::ALL.to_vec())
}

fn listing() -> impl Strategy<Value = Listing> {
    prop::sample::select(vec![Listing::Own, Listing::Default, Listing::Refused])
}

prop_compose! {
    fn offers()(
        facts in prop::collection::vec((backend(), 0u32..4, 0u32..4, 0i64..20_000, prop::option::of(0u64..200_000), 0u8..6), 0..8),
    ) -> Vec<Offer> {
        facts.into_iter().enumerate().map(|(at, (backend, slots, free_slots, age_ms, learned_ms, health))| {
            let mut offer = offer(&format!("w{at}"), backend, slots);
            offer.free_slots = free_slots;
            offer.time_ms = NOW_MS - age_ms;
            offer.classes.iter_mut().for_each(|class| class.learned_ms = learned_ms);
            offer.health = if health == 0 { Health::Down } else { Health::Healthy };
            offer
        }).collect()
    }
}

prop_compose! {
    fn world()(
        offers in offers(),
        backlog in prop::collection::vec((backend(), 0u64..60), 0..4),
        history in prop::collection::vec((backend(), code(), 0i64..60_000), 0..4),
        ceiling in prop::option::of(prop_oneof![Just(0i64), 0i64..200_000, Just(i64::MAX), Just(-3)]),
        deadline_ms in prop::option::of(1i64..200_000),
        (allow_paid, preferred, patience_ms) in
            (prop::option::of(any::<bool>()), prop::option::of(backend()), prop::option::of(any::<u64>())),
        weights in (weight(), weight(), weight(), weight()),
        (word, listing) in (word(), listing()),
        ledger_available in prop::bool::weighted(0.8),
    ) -> World {
        let mut world = World::empty();
        for offer in offers {
            let told_at_ms = offer.time_ms;
            world.fleet.upsert_offer(offer, told_at_ms);
        }
        for (backend, jobs) in backlog {
            world.fleet.set_backlog(&name(backend), Queue::of_class(name("image-large")), jobs);
        }
        let attempts = (1..).zip(history);
        world.history = attempts.map(|(attempt, (backend, code, cost))| failed(attempt, backend, code, cost)).collect();
        world.job.constraints.max_cost_micro_usd = ceiling.map(MicroUsd);
        world.job.constraints.deadline_ms = deadline_ms.map(|ms| NOW_MS + ms);
        world.job.constraints.allow_paid = allow_paid;
        world.tenant.allow_paid = word;
        world.listing = listing;
        world.job.preferences.backend = preferred.map(name);
        world.job.preferences.patience_ms = patience_ms;
        let (priority, cost, speed, queue) = weights;
        world.policy.profiles.insert(Profile::Balanced, Terms { priority, cost, speed, queue });
        world.ledger_available = ledger_available;
        world
    }
}

/// Odd ceilings and patience would be refused earlier; the plan is total all the same.
fn planned(world: &World) -> Plan {
    world.plan_as(&World::empty().admitted())
}

fn spent(world: &World) -> i64 {
    world.history.iter().map(|facts| facts.charge.amount_micro_usd.0).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_number_of_a_decision_is_sound(world in world()) {
        let plan = planned(&world);
        let names: BTreeSet<_> = plan.decision().candidates.iter().map(|one| one.backend.as_str()).collect();
        prop_assert_eq!(names, BTreeSet::from(BACKENDS), "every backend is explained, once");
        for candidate in &plan.decision().candidates {
            let terms = candidate.terms;
            for term in [terms.priority, terms.cost, terms.speed, terms.queue] {
                prop_assert!((0.0..=1.0).contains(&term), "{candidate:?}");
            }
            prop_assert!(candidate.score.is_finite() && candidate.score >= 0.0);
            prop_assert!(candidate.expected_micro_usd <= candidate.reserve_micro_usd);
        }
    }

    #[test]
    fn the_order_of_the_fleet_does_not_matter(world in world(), order in any::<prop::sample::Index>()) {
        let offers: Vec<_> = world.fleet.backends.values().flat_map(|view| view.offers.clone()).collect();
        let mut turned = world.clone();
        turned.fleet = Fleet::default();
        for at in 0..offers.len() {
            let offer = offers[(at + order.index(offers.len())) % offers.len()].clone().into_offer();
            let told_at_ms = offer.time_ms;
            turned.fleet.upsert_offer(offer, told_at_ms);
        }
        for (backend, view) in &world.fleet.backends {
            for (queue, jobs) in &view.backlog {
                turned.fleet.set_backlog(backend, queue.clone(), *jobs);
            }
        }
        turned.policy.backends.rotate_left(1);
        prop_assert_eq!(planned(&turned), planned(&world));
    }

    #[test]
    fn what_was_found_of_other_workers_changes_nothing(has in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.9), 8), 1..6)) {
        let well_known = World::empty().admitted();
        for has in has {
            let asked_first = World::empty().admitted();
            let part = |all: &BTreeSet<String>, has: &[bool]| {
                all.iter().zip(has).filter(|(_, has)| **has).map(|(name, _)| name.clone()).collect()
            };
            let mut worker = offer("w", "local", 1);
            worker.models = Some(part(&asked_first.requirements.models, &has[7..]));
            worker.nodes = Some(part(&asked_first.requirements.nodes, &has[..7]));
            let mut world = World::empty();
            world.fleet.upsert_offer(worker, NOW_MS);
            let first = world.plan_as(&asked_first);
            prop_assert_eq!(world.plan_as(&well_known), first.clone());
            prop_assert_eq!(world.plan_as(&well_known), first);
        }
    }

    #[test]
    fn removing_a_loser_changes_nothing(world in world(), loser in backend()) {
        let Plan::Assign(before) = planned(&world) else { return Ok(()) };
        if before.backend.as_str() == loser {
            return Ok(());
        }
        let mut without = world.clone();
        without.fleet.backends.remove(&name(loser));
        let Plan::Assign(after) = planned(&without) else { panic!("the winner is still there") };
        prop_assert_eq!(after.backend, before.backend);
        prop_assert_eq!(&after.decision.candidates[0], &before.decision.candidates[0]);
    }

    #[test]
    fn money_is_never_spent_unasked_or_past_the_ceiling(world in world()) {
        let Plan::Assign(assign) = planned(&world) else { return Ok(()) };
        let paid = assign.backend.as_str() != "local";
        prop_assert_eq!(assign.reserve_micro_usd > MicroUsd::ZERO, paid, "paid work has money set aside, free work none");
        if paid {
            let (word, asked) = (world.tenant.allow_paid, world.job.constraints.allow_paid);
            prop_assert!(asked == Some(true) || word == PaidConsent::Always, "neither asked for nor always allowed");
            prop_assert!(world.ledger_available);
            if let Some(ceiling) = world.job.constraints.max_cost_micro_usd {
                prop_assert!(spent(&world) + assign.reserve_micro_usd.0 <= ceiling.0, "all attempts together");
            }
        }
    }

    /// The two who can say no: no job's word, preference or ceiling opens what the operator closed, and the operator's
    /// word opens nothing that the job closed.
    #[test]
    fn a_no_of_either_leaves_no_paid_backend_eligible(world in world()) {
        let refused = world.tenant.allow_paid == PaidConsent::Never || world.listing == Listing::Refused;
        let forbidden = world.job.constraints.allow_paid == Some(false);
        let plan = planned(&world);
        for candidate in plan.decision().candidates.iter().filter(|one| one.backend.as_str() != "local") {
            let told = candidate.rejections.iter().any(|rejection| rejection.reason == FilterReason::NoConsent);
            prop_assert!(told || !(refused || forbidden), "{candidate:?}");
            prop_assert!(!told || !candidate.is_eligible());
        }
        let words = &plan.decision().consent;
        prop_assert_eq!(refused, words.contains("argosy tenants set studio-a --paid when_asked"), "{}", words);
        let at_job = !refused && (forbidden || world.job.constraints.allow_paid.is_none() && world.tenant.allow_paid == PaidConsent::WhenAsked);
        prop_assert_eq!(at_job, words.contains("argosy submit --allow-paid"), "{}", words);
    }

    /// Closing the tenant's word from always over when_asked to never takes backends away and never adds one.
    #[test]
    fn a_stricter_word_never_opens_a_paid_backend(world in world()) {
        let mut eligible = BTreeSet::from(BACKENDS.map(str::to_owned));
        for word in [PaidConsent::Always, PaidConsent::WhenAsked, PaidConsent::Never] {
            let mut stricter = world.clone();
            stricter.tenant.allow_paid = word;
            let plan = planned(&stricter);
            let found: BTreeSet<_> = plan.decision().candidates.iter().filter(|one| one.is_eligible())
                .map(|one| one.backend.to_string()).filter(|backend| backend != "local").collect();
            prop_assert!(found.is_subset(&eligible), "{word}: {found:?}");
            eligible = found;
        }
    }

    #[test]
    fn what_was_given_up_is_not_chosen(world in world()) {
        let Plan::Assign(assign) = planned(&world) else { return Ok(()) };
        let last = [FailureCode::Timeout, FailureCode::CapabilityMissing, FailureCode::ContentRefused,
            FailureCode::ProviderStopped, FailureCode::OutcomeUnknown];
        for facts in world.history.iter().filter(|facts| facts.backend == assign.backend) {
            prop_assert!(!facts.failure.as_ref().is_some_and(|failure| last.contains(&failure.code)));
        }
        let least_ms = world.job.constraints.deadline_ms.map_or(i64::MAX, |deadline_ms| deadline_ms - NOW_MS);
        prop_assert!(i64::try_from(assign.timeout_ms).is_ok_and(|timeout_ms| (1..=least_ms).contains(&timeout_ms)));
    }

    #[test]
    fn the_preferred_backend_wins_or_is_rejected(world in world()) {
        let (Plan::Assign(assign), Some(preferred)) = (planned(&world), &world.job.preferences.backend) else { return Ok(()) };
        let candidates = &assign.decision.candidates;
        let wanted = candidates.iter().find(|one| one.backend == *preferred).expect("every backend is explained");
        prop_assert_eq!(wanted.is_eligible(), assign.backend == *preferred);
        prop_assert!(candidates[0].is_eligible() && candidates[0].backend == assign.backend);
    }

    #[test]
    fn refused_only_when_waiting_would_not_help(world in world()) {
        match planned(&world) {
            Plan::Assign(assign) => prop_assert!(assign.decision.choice.is_some()),
            Plan::Defer { until_ms, why, decision } => {
                prop_assert!(until_ms > NOW_MS && !why.is_empty() && decision.choice.is_none());
            }
            Plan::Refuse { decision, .. } if world.history.len() < world.policy.max_attempts as usize => {
                for one in &decision.candidates {
                    prop_assert!(one.rejections.iter().any(|rejection| !rejection.reason.is_passing()), "{one:?}");
                }
            }
            Plan::Refuse { .. } => {}
        }
    }

    #[test]
    fn a_disposition_ends_in_time_and_never_goes_back_in_it(
        history in prop::collection::vec((backend(), code()), 0..8), last in code(), counted in 0u32..8,
        attempt in 1u32..40, retry_after_ms in prop::option::of(any::<u64>()), deadline_ms in prop::option::of(-5i64..100_000),
    ) {
        let policy = World::empty().policy;
        let mut letter = samples::dead_letter();
        letter.time_ms = NOW_MS;
        letter.assignment.history = (1..).zip(history).map(|(at, (backend, code))| failed(at, backend, code, 0)).collect();
        (letter.assignment.attempt, letter.assignment.counted_attempts) = (attempt, counted);
        letter.assignment.job.constraints.deadline_ms = deadline_ms.map(|ms| NOW_MS + ms);
        letter.ended_attempt = failed(attempt, letter.assignment.backend.as_str(), last, 0);
        letter.ended_attempt.failure.as_mut().expect("it failed").retry_after_ms = retry_after_ms;
        let found = dispose(&letter, &policy);
        match found {
            Disposition::End { state } => prop_assert!(state.is_terminal() && state != JobState::Completed),
            _ => {
                let wait_ms = found.at_ms().expect("goes on") - NOW_MS;
                prop_assert!((0..=i64::try_from(HINT_MAX_MS).expect("an hour")).contains(&wait_ms));
                prop_assert!(attempt < policy.max_attempts_ever + RATE_LIMITED_MAX, "attempts are bounded, counted or not");
                prop_assert!(counted + u32::from(found.is_counted()) < policy.max_attempts || !found.is_counted());
                prop_assert!(deadline_ms.is_none_or(|ms| wait_ms < ms), "planned after the deadline");
            }
        }
    }

    #[test]
    fn waits_stay_in_their_window(min_ms in 1u64.., span_ms in any::<u64>(), failures in any::<u32>(), seed in any::<u64>(), hint_ms in any::<u64>()) {
        let max_ms = min_ms.saturating_add(span_ms);
        let backoff = Backoff::try_new(min_ms, max_ms).expect("a window");
        prop_assert!(backoff.base_ms(failures) <= backoff.base_ms(failures.saturating_add(1)), "never shorter");
        prop_assert!((min_ms..=max_ms).contains(&backoff.delay_ms(failures, seed)));
        prop_assert!((min_ms..=max_ms).contains(&backoff.delay_ms(u32::MAX, seed)));
        let (asked_ms, hinted_ms) = (hint_ms.clamp(min_ms, max_ms.max(HINT_MAX_MS)), backoff.hinted_ms(hint_ms, seed));
        prop_assert!((asked_ms..=max_ms.max(HINT_MAX_MS)).contains(&hinted_ms), "{hinted_ms} for {hint_ms}");
    }

    #[test]
    fn costs_round_up_once(quantities in prop::collection::vec(0u64..1_000_000_000, 0..6)) {
        let world = World::empty();
        let cost = |usage: &[Usage]| cost::price_of(usage, &name("cloud"), "ampere-24", &world.prices, NOW_MS).expect("priced").0;
        let usage: Vec<_> = quantities.iter().map(|&quantity| Usage { unit: Unit::ExecutionMs, quantity }).collect();
        let (whole, parts) = (cost(&usage), usage.iter().map(|part| cost(std::slice::from_ref(part))).sum::<i64>());
        prop_assert!(whole <= parts && parts < whole + i64::try_from(usage.len().max(1)).expect("few"));
        let billed = quantities.iter().map(|&quantity| cost::billed_quantity(Unit::ExecutionMs, quantity)).sum::<u64>();
        let exact = i128::from(billed) * 190_000;
        prop_assert!(i128::from(whole) * 1_000_000 >= exact && (i128::from(whole) - 1) * 1_000_000 < exact.max(1));
    }

    #[test]
    fn a_begun_second_is_billed_whole_and_nothing_else_is_rounded(quantity in any::<u64>(), more in any::<u64>()) {
        let billed = |quantity| cost::billed_quantity(Unit::ExecutionMs, quantity);
        let quantity = quantity.min(u64::MAX / 2_000 * 1_000);
        prop_assert!(billed(quantity) >= quantity && billed(quantity) - quantity < 1_000);
        prop_assert_eq!(billed(quantity) % 1_000, 0);
        prop_assert_eq!(billed(billed(quantity)), billed(quantity));
        prop_assert!(billed(quantity.saturating_add(more)) >= billed(quantity), "more is never billed less");
        for unit in [Unit::InputToken, Unit::TextToken, Unit::ImageToken, Unit::VideoToken, Unit::EnergyMj] {
            prop_assert_eq!(cost::billed_quantity(unit, quantity), quantity);
        }
    }

    #[test]
    fn a_bill_is_the_same_whoever_tells_it_how_often(told in prop::collection::vec((0i64..1_000, 0i64..1_000, 0i64..50), 1..8), seed in any::<u64>()) {
        let day = || EndpointBill::new(name("cloud"), "e".to_owned(), 20_000, false);
        let news = told.iter().map(|&(billed, at_ms, standby)| BillUpdate {
            billed: Some((MicroUsd(billed), at_ms)), standby_micro_usd: MicroUsd(standby), ..BillUpdate::default()
        });
        let news: Vec<BillUpdate> = news.collect();
        let merged = |news: &[BillUpdate]| news.iter().fold(day(), overhead::merge);
        let mut again: Vec<BillUpdate> = news.iter().chain(&news).cloned().collect();
        let turn = usize::try_from(seed % again.len() as u64).expect("small");
        again.rotate_left(turn);
        prop_assert_eq!(merged(&news), merged(&again));
        let most = told.iter().map(|&(billed, ..)| billed).max();
        prop_assert_eq!(merged(&news).billed_micro_usd.map(|amount| amount.0), most);
    }

    #[test]
    fn attempts_and_overhead_are_the_bill_and_the_budget_holds_no_less(
        billed in prop::option::of(0i64..100_000), attempts in 0i64..100_000, seen in 0i64..5_000, standby in 0i64..5_000,
        asked_at_ms in 0i64..200_000_000,
    ) {
        let bill = EndpointBill {
            billed_micro_usd: billed.map(MicroUsd), asked_at_ms: billed.map(|_| asked_at_ms),
            seen_micro_usd: MicroUsd(seen), standby_micro_usd: MicroUsd(standby),
            ..EndpointBill::new(name("cloud"), "e".to_owned(), 0, false)
        };
        let charge = overhead::overhead(&bill, MicroUsd(attempts));
        prop_assert_eq!(charge.estimated, billed.is_none());
        prop_assert!(charge.held_micro_usd >= charge.amount_micro_usd.max(MicroUsd::ZERO));
        match billed {
            Some(billed) => prop_assert_eq!(attempts + charge.amount_micro_usd.0, billed),
            None => prop_assert_eq!(charge.held_micro_usd.0, seen + standby),
        }
    }

    #[test]
    fn a_breaker_is_never_closed_by_a_failure(codes in prop::collection::vec((code(), 0i64..30_000), 1..20)) {
        let (policy, mut breaker, mut now_ms) = (World::empty().policy, Breaker::default(), NOW_MS);
        for (code, wait_ms) in codes {
            now_ms += wait_ms;
            let before = breaker.clone();
            breaker.on_failure(JobId::new(), &Failure::new(code, "words"), &policy, now_ms);
            prop_assert!(breaker.open_until_ms >= before.open_until_ms);
            prop_assert!(breaker.consecutive_failures >= before.consecutive_failures);
        }
        breaker.on_success();
        prop_assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn the_fleet_forgets_who_left(offers in offers(), gone in any::<prop::sample::Index>()) {
        if offers.is_empty() {
            return Ok(());
        }
        let mut fleet = Fleet::default();
        offers.iter().cloned().for_each(|offer| fleet.upsert_offer(offer, NOW_MS));
        let worker = &offers[gone.index(offers.len())].worker;
        fleet.remove_offer(worker);
        let left = fleet.backends.values().flat_map(|view| &view.offers);
        prop_assert_eq!(left.clone().filter(|offer| offer.worker == *worker).count(), 0);
        prop_assert_eq!(left.count(), offers.len() - 1);
    }
}

#[test]
fn a_worker_is_at_one_backend_and_a_backlog_never_below_none() {
    let mut fleet = Fleet::default();
    fleet.upsert_offer(offer("w", "local", 1), NOW_MS);
    fleet.upsert_offer(offer("w", "cloud", 3), NOW_MS);
    let slots = |fleet: &Fleet, backend| {
        fleet
            .view(&name(backend))
            .map_or(Vec::new(), |view| view.offers.iter().map(|offer| offer.slots).collect())
    };
    assert_eq!((slots(&fleet, "local"), slots(&fleet, "cloud")), (vec![], vec![3]));
    let (backend, queue) = (name("local"), Queue::of_class(name("video")));
    fleet.add_backlog(&backend, queue.clone(), 2);
    fleet.add_backlog(&backend, queue.clone(), -5);
    assert_eq!(fleet.backlog(&backend, &queue), 0);
}

#[test]
fn a_window_is_validated() {
    assert_eq!(Backoff::try_new(0, 5), Err(BackoffError::NoWait));
    assert_eq!(Backoff::try_new(6, 5), Err(BackoffError::MaxBelowMin { min_ms: 6, max_ms: 5 }));
}

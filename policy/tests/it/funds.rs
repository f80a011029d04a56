//! Prices that change over time: what is reserved, and what it buys, hold for every moment until an attempt has ended.

use policy::plan::Plan;
use policy::{billing, cost, funds};
use proptest::prelude::*;
use schemas::*;

use crate::world::{NOW_MS, World, failed, name, offer};

const MINUTE_MS: i64 = 60_000;

/// The prices of a unit, one after the other: when each begins, minutes from now, and what a million costs.
type Changes = Vec<(i64, i64)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((-30i64..90, 0i64..2_000_000), 0..6)
}

/// Replaces the prices of a unit by a first one from long ago and those that follow.
fn set(world: &mut World, backend: &str, model: &str, unit: Unit, first: i64, changes: &Changes) {
    let backend: Backend = name(backend);
    world
        .prices
        .prices
        .retain(|price| price.backend != backend || price.model != model || price.unit != unit);
    let mut begins: Vec<(i64, i64)> =
        changes.iter().map(|(at, price)| (NOW_MS + at * MINUTE_MS, *price)).collect();
    begins.push((0, first));
    begins.sort_unstable();
    begins.dedup_by_key(|(from_ms, _)| *from_ms);
    for (at, (from_ms, price)) in begins.iter().enumerate() {
        world.prices.prices.push(Price {
            backend: backend.clone(),
            model: model.to_owned(),
            unit,
            micro_usd_per_million: MicroUsd(*price),
            valid_from_ms: *from_ms,
            valid_until_ms: begins.get(at + 1).map(|(next_ms, _)| *next_ms),
            source: "a test".to_owned(),
        });
    }
    cost::validate(&world.prices).expect("one ends where the next begins");
}

/// A world where a job may only run at one backend.
fn only(backend: &str) -> World {
    let mut world = World::empty();
    world.fleet.upsert_offer(offer("w", backend, 2), NOW_MS);
    world.job.constraints.backends = Some(vec![name(backend)]);
    world
}

fn assigned(world: &World) -> Option<(Assignment, Service)> {
    let Plan::Assign(assign) = world.plan() else { return None };
    let service = world.catalog.service(&assign.backend, &assign.class).expect("it was planned").clone();
    let assignment = Assignment {
        time_ms: world.now_ms,
        backend: assign.backend,
        class: assign.class,
        model: assign.model,
        timeout_ms: assign.timeout_ms,
        reserved_micro_usd: assign.reserve_micro_usd,
        job: world.job.clone(),
        history: world.history.clone(),
        ..samples::assignment()
    };
    Some((assignment, service))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_most_costs_no_more_than_is_reserved_whenever_it_is_charged(
        cloud in changes(), image in changes(), any in changes(), after_ms in 0i64..3_000_000, at_gemini in any::<bool>(),
        deadline_ms in prop::option::of(1i64..2_000_000),
    ) {
        let backend = if at_gemini { "gemini" } else { "cloud" };
        let mut world = only(backend);
        set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 190_000, &cloud);
        set(&mut world, "cloud", "*", Unit::ExecutionMs, 900_000, &any);
        set(&mut world, "gemini", "gemini-3.1-flash-image", Unit::ImageToken, 60_000_000, &image);
        world.job.constraints.deadline_ms = deadline_ms.map(|ms| NOW_MS + ms);
        let Some((assignment, service)) = assigned(&world) else { return Ok(()) };
        // What the plan promises: as long as it waits no longer than it may, and then for as long as it can take.
        let waits_ms = i64::try_from(world.policy.overdue_after_ms).expect("minutes");
        let runs_ms = i64::try_from(billing::longest_at_provider_ms(service.timeout_ms)).expect("minutes");
        let last_ms = (NOW_MS + waits_ms + runs_ms).min(world.job.constraints.deadline_ms.unwrap_or(i64::MAX));
        let at_ms = (NOW_MS + after_ms).min(last_ms);
        let cost = cost::price_of(&service.maximum_usage, &service.backend, &service.model, &world.prices, at_ms);
        prop_assert!(cost.expect("a price") <= assignment.reserved_micro_usd);
        // So a worker that starts it in that time finds the money sufficient.
        let start_ms = (NOW_MS + after_ms.min(waits_ms)).min(last_ms);
        prop_assert_eq!(funds::shortfall(&assignment, &service, &world.prices, start_ms), None);
    }

    #[test]
    fn what_the_money_buys_costs_no_more_than_is_reserved(
        before in changes(), after in changes(), reserved in 1i64..200_000, start_ms in 0i64..5_000_000, into_ms in 0i64..3_000_000,
    ) {
        // The list in force when the worker starts it is another one than the plan saw.
        let mut world = only("cloud");
        set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 190_000, &before);
        let Some((assignment, service)) = assigned(&world) else { return Ok(()) };
        let assignment = Assignment { reserved_micro_usd: MicroUsd(reserved), ..assignment };
        set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 310_000, &after);
        let start_ms = NOW_MS + start_ms;
        let bought = funds::bought(Unit::ExecutionMs, &assignment, &service, &world.prices, start_ms);
        let end_ms = start_ms + i64::try_from(billing::longest_at_provider_ms(assignment.timeout_ms)).expect("minutes");
        let usage = [Usage { unit: Unit::ExecutionMs, quantity: bought.min(service.maximum_usage[0].quantity) }];
        let at_ms = (start_ms + into_ms).min(end_ms);
        let cost = cost::price_of(&usage, &service.backend, &service.model, &world.prices, at_ms).expect("a price");
        prop_assert!(cost <= MicroUsd(reserved), "{cost} for {bought} ms");
    }

    #[test]
    fn what_cannot_be_stopped_is_not_started_where_it_could_cost_more(
        after in changes(), start_ms in 0i64..5_000_000, into_ms in 0i64..400_000,
    ) {
        let mut world = only("gemini");
        let (assignment, service) = assigned(&world).expect("it may");
        set(&mut world, "gemini", "gemini-3.1-flash-image", Unit::ImageToken, 60_000_000, &after);
        let start_ms = NOW_MS + start_ms;
        if funds::shortfall(&assignment, &service, &world.prices, start_ms).is_none() {
            let at_ms = start_ms + into_ms.min(2 * i64::try_from(assignment.timeout_ms).expect("minutes"));
            let cost = cost::price_of(&service.maximum_usage, &service.backend, &service.model, &world.prices, at_ms);
            prop_assert!(cost.expect("a price") <= assignment.reserved_micro_usd);
        }
    }
}

#[test]
fn a_price_that_rises_while_work_waits_is_reserved_for() {
    let mut world = only("cloud");
    let reserve = |world: &World| assigned(world).expect("it may").0.reserved_micro_usd;
    let now = reserve(&world);
    // Five minutes of waiting, then twice the service's seven minutes.
    let last = 5 + 2 * 7;
    set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 190_000, &vec![(last, 380_000)]);
    assert_eq!(reserve(&world), MicroUsd(2 * now.0));
    set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 190_000, &vec![(last + 1, 380_000)]);
    assert_eq!(reserve(&world), now, "it has ended by then");
    set(&mut world, "cloud", "ampere-24", Unit::ExecutionMs, 190_000, &vec![(3, 950_000), (4, 100)]);
    assert_eq!(reserve(&world), MicroUsd(5 * now.0), "a peak in between counts");
    world.job.constraints.deadline_ms = Some(NOW_MS + 2 * MINUTE_MS);
    assert_eq!(reserve(&world), now, "it does not begin after its deadline");
    // A ceiling below what is expected at the dearer price does not do, however cheap it is now.
    world.job.constraints.deadline_ms = None;
    world.job.constraints.max_cost_micro_usd = Some(MicroUsd(30_000));
    let Plan::Refuse { failure, .. } = world.plan() else { panic!("{:?}", world.plan()) };
    assert_eq!(failure.field.as_deref(), Some("constraints.max_cost_micro_usd"), "{failure:?}");
}

#[test]
fn a_shortfall_says_what_is_missing() {
    let world = only("gemini");
    let (assignment, service) = assigned(&world).expect("it may");
    let words = |assignment: &Assignment, service: &Service, prices: &PriceList| {
        funds::shortfall(assignment, service, prices, NOW_MS + 1_000).unwrap_or_default()
    };
    assert_eq!(words(&assignment, &service, &world.prices), "");
    let unreserved = Assignment { reserved_micro_usd: MicroUsd::ZERO, ..assignment.clone() };
    assert!(
        words(&unreserved, &service, &world.prices)
            .starts_with("nothing is reserved for it and gemini costs")
    );
    let mut poor = assignment.clone();
    poor.reserved_micro_usd.0 -= 1;
    assert!(words(&poor, &service, &world.prices).contains("is reserved"), "a micro-dollar short");
    assert!(words(&assignment, &service, &PriceList::default()).contains("not known any more"));
    let other = Service { model: "gemini-4".to_owned(), ..service };
    assert!(words(&assignment, &other, &world.prices).contains("the catalog now says gemini-4"));
}

#[test]
fn a_limited_provider_may_have_less_than_the_maximum_and_an_unlimited_one_may_not() {
    let world = only("cloud");
    let (mut assignment, mut service) = assigned(&world).expect("it may");
    assignment.reserved_micro_usd = MicroUsd(1_900);
    assert_eq!(funds::shortfall(&assignment, &service, &world.prices, NOW_MS), None);
    assert_eq!(funds::bought(Unit::ExecutionMs, &assignment, &service, &world.prices, NOW_MS), 10_000);
    assert_eq!(
        funds::bought(Unit::ImageToken, &assignment, &service, &world.prices, NOW_MS),
        0,
        "no price, no work"
    );
    // The catalog's word alone does not stop anything.
    service.family = "generate_content".to_owned();
    assert!(funds::shortfall(&assignment, &service, &world.prices, NOW_MS).is_some());
}

#[test]
fn a_backend_that_hands_back_again_and_again_is_not_asked_again() {
    let mut world = only("cloud");
    for round in 0..4_u32 {
        let attempt = round + 1;
        if round as usize > funds::HANDED_BACK_MAX {
            assert!(assigned(&world).is_none(), "after {round} times");
            break;
        }
        let (assignment, _) = assigned(&world).expect("planned again at once, and at the same place");
        let failure = funds::handed_back(&assignment, "the money does not suffice");
        let expected = if round < 2 { FailureCode::Interrupted } else { FailureCode::CapabilityMissing };
        assert_eq!((failure.code, failure.field.as_deref()), (expected, Some(funds::FIELD)), "round {round}");
        let facts = failed(attempt, "cloud", expected, 0);
        world.history.push(AttemptFacts { failure: Some(failure), started_at_ms: None, ..facts });
    }
    // What was taken out of its queue for other reasons is not counted.
    let assignment = Assignment {
        backend: name("cloud"),
        history: vec![
            failed(1, "cloud", FailureCode::Interrupted, 0),
            failed(2, "cloud", FailureCode::Interrupted, 0),
        ],
        ..samples::assignment()
    };
    assert_eq!(funds::handed_back(&assignment, "").code, FailureCode::Interrupted);
}

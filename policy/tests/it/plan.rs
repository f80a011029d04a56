//! `tests/tables/plan.txt`: fleets, jobs, and where they go.

use policy::plan::Plan;
use schemas::breaker::{BreakerKind, BreakerRecord};
use schemas::{
    AttemptFacts, Candidate, FailureCode, Gpu, Listing, MicroUsd, Offer, Profile, Queue, ServerBreaker,
    Service, Terms, Unit, samples,
};
use serde_json::Value;

use crate::table::{Case, cases, patch};
use crate::world::{NOW_MS, World, failed, name, offer, pairs, token};

fn apply(world: &mut World, line: &str) {
    let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
    match key {
        "idle" => world.fleet = World::idle().fleet,
        "job" => change(&mut world.job, rest),
        "tenant" => change(&mut world.tenant, rest),
        "listing" => {
            let listings =
                [("own", Listing::Own), ("default", Listing::Default), ("refused", Listing::Refused)];
            world.listing = listings.into_iter().find(|(word, _)| *word == rest).expect("a listing").1;
        }
        "policy" => change(&mut world.policy, rest),
        "unreadable" => world.unreadable = Some(rest.to_owned()),
        "ledger" => world.ledger_available = rest != "away",
        "later" => world.now_ms = NOW_MS + rest.parse::<i64>().expect("ms"),
        "refused" => world.refused.push((name(rest), "the daily budget is used up".to_owned())),
        "unrun" => {
            let attempt = u32::try_from(world.history.len()).expect("few") + 1;
            let facts = failed(attempt, rest.trim(), FailureCode::Interrupted, 0);
            world.history.push(AttemptFacts { started_at_ms: None, ..facts });
        }
        "failed" => {
            let mut words = rest.split_whitespace();
            let (backend, code) = (words.next().expect("a backend"), words.next().expect("a code"));
            let cost = words.next().map_or(0, |cost| cost.parse().expect("micro-USD"));
            let attempt = u32::try_from(world.history.len()).expect("few") + 1;
            let mut facts = failed(attempt, backend, token(code), cost);
            let retry_after_ms = words.next().map(|text| text.parse().expect("ms"));
            facts.failure.as_mut().expect("it failed").retry_after_ms = retry_after_ms;
            world.history.push(facts);
        }
        backend => worker(world, backend, rest),
    }
}

fn change<T: serde::Serialize + serde::de::DeserializeOwned>(target: &mut T, change: &str) {
    let mut value = serde_json::to_value(&*target).expect("plain data");
    patch(&mut value, &serde_json::from_str::<Value>(change).expect(change));
    *target = serde_json::from_value(value).expect(change);
}

/// `local slots=1 backlog=3 …`: one worker of a backend, and what waits there.
fn worker(world: &mut World, backend: &str, facts: &str) {
    let facts = pairs(facts);
    let number = |key: &str| facts.get(key).map(|text| text.parse::<i64>().expect("a number"));
    let whole = |key: &str| number(key).map(|value| u64::try_from(value).expect("0 or more"));
    let backend_name = name(backend);
    if let Some(jobs) = whole("backlog") {
        let class = facts.get("of").map_or_else(|| world.admitted().class, |class| name(class));
        world.fleet.set_backlog(&backend_name, Queue::of_class(class), jobs);
    }
    if let Some(open_ms) = number("breaker") {
        // Of all models, or of one.
        let model = facts.get("model").map(|model| (*model).to_owned());
        let closed =
            BreakerRecord::closed(backend_name.clone(), BreakerKind::Failing, model, String::new(), NOW_MS);
        world.fleet.take_breaker(&BreakerRecord { open_until_ms: Some(NOW_MS + open_ms), ..closed });
    }
    let Some(slots) = whole("slots") else { return };
    let workers = world.fleet.view(&backend_name).map_or(0, |view| view.offers.len());
    let mut offer = offer(&format!("{backend}-{}", workers + 1), backend, u32::try_from(slots).expect("few"));
    offer.time_ms = NOW_MS - number("age").unwrap_or(0);
    offer.unavailable_until_ms = number("unavailable").map(|ms| NOW_MS + ms);
    for class in &mut offer.classes {
        class.learned_ms = whole("learned");
    }
    if let Some(class) = facts.get("class") {
        offer.classes.retain(|known| known.class.as_str() == *class);
    }
    let list = |text: &&str| text.split(',').map(str::to_owned).collect();
    offer.models = facts.get("models").map(list);
    offer.nodes = facts.get("nodes").map(list);
    if let Some(bytes) = whole("vram") {
        offer.gpus = vec![Gpu { vram_total_bytes: bytes, ..samples::offer().gpus[0].clone() }];
    }
    offer.breaker = facts.contains_key("own").then(ServerBreaker::default);
    if let Some(health) = facts.get("health") {
        offer.health = token(health);
    }
    let told_at_ms = offer.time_ms;
    world.fleet.upsert_offer(offer, told_at_ms);
}

/// One expectation of a case, and what was found instead.
fn check(plan: &Plan, line: &str) -> Result<(), String> {
    let (key, wanted) = line.split_once(' ').expect("key and rest");
    let decision = plan.decision();
    let candidate = |text: &str| -> &Candidate {
        let found = decision.candidates.iter().find(|candidate| candidate.backend.as_str() == text);
        found.unwrap_or_else(|| panic!("{text} is no candidate"))
    };
    let found = match key {
        "=>" => match plan {
            Plan::Assign(assign) => format!("assign {}", assign.backend),
            Plan::Defer { until_ms, .. } => format!("defer {}", until_ms - decision.time_ms),
            Plan::Refuse { failure, .. } => {
                format!("refuse {} {}", failure.code.as_str(), failure.field.as_deref().unwrap_or("-"))
            }
        },
        "because" => decision.reason.clone(),
        "consent" => decision.consent.to_string(),
        "says" => match plan {
            Plan::Refuse { failure, .. } => failure.message.clone(),
            Plan::Assign(_) | Plan::Defer { .. } => String::new(),
        },
        "order" => decision
            .candidates
            .iter()
            .map(|candidate| candidate.backend.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        "second" => {
            decision.second_best_micro_usd.map_or("none".to_owned(), |MicroUsd(cost)| cost.to_string())
        }
        "reserve" => match plan {
            Plan::Assign(assign) => assign.reserve_micro_usd.0.to_string(),
            Plan::Defer { .. } | Plan::Refuse { .. } => "none".to_owned(),
        },
        "timeout" => match plan {
            Plan::Assign(assign) => assign.timeout_ms.to_string(),
            Plan::Defer { .. } | Plan::Refuse { .. } => "none".to_owned(),
        },
        "rejected" => {
            let backend = wanted.split(' ').next().expect("a backend");
            let reasons = candidate(backend).rejections.iter().map(|rejection| rejection.reason.as_str());
            std::iter::once(backend).chain(reasons).collect::<Vec<_>>().join(" ")
        }
        "score" => {
            let backend = wanted.split(' ').next().expect("a backend");
            format!("{backend} {:.3}", candidate(backend).score)
        }
        "times" => {
            let backend = wanted.split(' ').next().expect("a backend");
            format!("{backend} {} {}", candidate(backend).wait_ms, candidate(backend).completion_ms)
        }
        _ => return Err(format!("`{key}` is not known")),
    };
    if found == wanted { Ok(()) } else { Err(format!("  wanted {key} {wanted}\n  found  {key} {found}")) }
}

const EXPECTATIONS: [&str; 10] =
    ["=>", "because", "consent", "says", "order", "second", "reserve", "timeout", "rejected", "score"];

fn run(case: &Case) -> Result<(), String> {
    let mut world = World::empty();
    let expects = |line: &&String| {
        let key = line.split(' ').next().unwrap_or_default();
        EXPECTATIONS.contains(&key) || key == "times"
    };
    case.lines.iter().filter(|line| !expects(line)).for_each(|line| apply(&mut world, line));
    let plan = world.plan();
    let wrong: Vec<_> =
        case.lines.iter().filter(expects).filter_map(|line| check(&plan, line).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}\n{}", case.title, wrong.join("\n"))) }
}

#[test]
fn where_jobs_go() {
    let cases = cases(include_str!("../tables/plan.txt"));
    let wrong: Vec<_> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_backend_bills_when_its_name_its_protocol_or_a_worker_says_so() {
    let mut world = World::idle();
    let reserved = |world: &World| match world.plan() {
        Plan::Assign(assign) => Ok((assign.backend.to_string(), assign.reserve_micro_usd.0 > 0)),
        Plan::Refuse { failure, .. } => Err(failure.message),
        Plan::Defer { why, .. } => Err(why),
    };
    world.job.constraints.backends = Some(vec![name("local")]);
    assert_eq!(reserved(&world), Ok(("local".to_owned(), false)));
    // A worker of a provider under the name of our own machines: nothing is placed there for free.
    let mut worker = offer("local-2", "local", 1);
    worker.paid = Some(true);
    world.fleet.upsert_offer(worker, NOW_MS);
    let refused = reserved(&world).expect_err("it has no price");
    assert!(refused.contains("local: the catalog gives no maximum usage"), "{refused}");
    // An older worker says nothing, and is believed to be what the name says.
    let mut world = World::idle();
    world.fleet.remove_offer(&name("local-1"));
    world.fleet.upsert_offer(Offer { paid: None, ..offer("local-1", "local", 1) }, NOW_MS);
    assert_eq!(reserved(&world), Ok(("local".to_owned(), false)));
    // A provider under another name: its protocol tells.
    world.job.constraints.backends = Some(vec![name("cloud-eu")]);
    world.fleet.upsert_offer(offer("cloud-eu-1", "cloud-eu", 1), NOW_MS);
    world.policy.backends[1].backend = name("cloud-eu");
    world.policy.backends[1].paid = false;
    for service in &mut world.catalog.services {
        if service.backend.as_str() == "cloud" {
            service.backend = name("cloud-eu");
        }
    }
    for price in &mut world.prices.prices {
        if price.backend.as_str() == "cloud" {
            price.backend = name("cloud-eu");
        }
    }
    assert_eq!(reserved(&world), Ok(("cloud-eu".to_owned(), true)));
    world.job.constraints.allow_paid = Some(false);
    assert!(reserved(&world).expect_err("no consent").contains("costs money"));
}

#[test]
fn a_unit_that_costs_money_and_has_no_bound_is_not_bought() {
    let mut world = World::idle();
    world.job.constraints.backends = Some(vec![name("gemini")]);
    assert!(matches!(world.plan(), Plan::Assign(_)));
    for service in &mut world.catalog.services {
        service.maximum_usage.retain(|usage| usage.unit != Unit::InputToken);
        service.expected_usage.retain(|usage| usage.unit != Unit::InputToken);
    }
    let Plan::Refuse { failure, .. } = world.plan() else { panic!("{:?}", world.plan()) };
    assert!(failure.message.contains("no maximum for its InputToken"), "{failure:?}");
}

#[test]
fn one_cap_on_all_that_comes_back_bounds_units_that_are_no_dearer() {
    let mut world = World::idle();
    world.job.constraints.backends = Some(vec![name("gemini")]);
    let words = |world: &mut World, unit: Unit, micro_usd_per_million: i64| {
        for price in world.prices.prices.iter_mut().filter(|price| price.unit == unit) {
            price.micro_usd_per_million = MicroUsd(micro_usd_per_million);
        }
    };
    // Pictures at $60 a million: words as dear as pictures are bounded by them, dearer ones are not.
    words(&mut world, Unit::TextToken, 60_000_000);
    assert!(matches!(world.plan(), Plan::Assign(_)), "{:?}", world.plan());
    words(&mut world, Unit::TextToken, 60_000_001);
    let Plan::Refuse { failure, .. } = world.plan() else { panic!("{:?}", world.plan()) };
    assert!(failure.message.contains("no maximum for its TextToken"), "{failure:?}");
}

#[test]
fn at_the_same_score_and_cost_the_first_by_name_wins() {
    let mut world = World::idle();
    let weights = Terms { priority: 0.0, cost: 0.0, speed: 0.0, queue: 1.0 };
    world.policy.profiles.insert(Profile::Balanced, weights);
    // A second pool of our own machines, under a name that comes first.
    let mut attic = world.policy.backends[0].clone();
    attic.backend = name("attic");
    attic.rank = 3;
    world.policy.backends.push(attic);
    let ours = world.catalog.services_of(&name("local")).cloned().collect::<Vec<_>>();
    world
        .catalog
        .services
        .extend(ours.into_iter().map(|service| Service { backend: name("attic"), ..service }));
    world.fleet.upsert_offer(offer("attic-1", "attic", 1), NOW_MS);
    let Plan::Assign(assign) = world.plan() else { panic!("{:?}", world.plan()) };
    assert_eq!((assign.backend.as_str(), assign.reserve_micro_usd), ("attic", MicroUsd::ZERO));
    assert_eq!(assign.decision.reason, "attic scores 1.000; level with local, and first by name");
}

//! Servers differ: work goes to those that have what it needs, and leaves the others to other work.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::admit::Admitted;
use policy::plan::{Choice, Plan, ways};
use policy::schedule::{Pools, pools};
use schemas::workflow::Requirements;
use schemas::{AttemptFacts, Capability, FailureCode, Health, Offer, Queue};

use crate::world::{NOW_MS, World, failed, name, offer};

/// What each of three servers has beside the usual nodes.
const SERVERS: [(&str, &[&str]); 3] =
    [("plain", &[]), ("faces", &["FaceSwap"]), ("all", &["FaceSwap", "Depth"])];

fn server(number: usize) -> Offer {
    let (worker, own) = SERVERS[number];
    let nodes: BTreeSet<String> =
        ["KSampler", "SaveImage"].iter().chain(own).map(|node| (*node).to_owned()).collect();
    let capability = Some(Capability::of(&nodes, None, None, None));
    Offer { nodes: Some(nodes), capability, ..offer(worker, "local", 1) }
}

fn capability(number: usize) -> Option<Capability> {
    server(number).capability
}

fn queue(number: usize) -> Queue {
    Queue { class: name("image-large"), capability: capability(number) }
}

/// The three, and no other.
fn fleet() -> World {
    let mut world = World::empty();
    world.job.constraints.allow_paid = None;
    (0..SERVERS.len()).for_each(|number| world.fleet.upsert_offer(server(number), NOW_MS));
    world
}

fn needing(world: &World, nodes: &[&str]) -> Admitted {
    let nodes = ["KSampler"].iter().chain(nodes).map(|node| (*node).to_owned()).collect();
    let requirements = Requirements { nodes, ..Requirements::default() };
    Admitted { class: name("image-large"), requirements: Arc::new(requirements), ..world.admitted() }
}

/// To which server a job goes: its number, or why to none.
fn placed(world: &World, nodes: &[&str], choice: Choice<'_>) -> Result<usize, String> {
    match world.plan_by(&needing(world, nodes), choice) {
        Plan::Assign(assign) => {
            let place = (0..SERVERS.len()).find(|number| capability(*number) == assign.capability);
            Ok(place.expect("one of the three"))
        }
        plan => Err(plan.decision().reason.clone()),
    }
}

const SOON: Choice<'static> = Choice::FreeSlot { within_ms: 60_000 };

#[test]
fn work_goes_to_a_server_that_has_what_it_needs() {
    for choice in [SOON, Choice::Weighted] {
        let world = fleet();
        assert_eq!(placed(&world, &["Depth"], choice), Ok(2));
        let faces = placed(&world, &["FaceSwap"], choice).expect("two have it");
        assert!(faces == 1 || faces == 2, "{faces}");
        // The slot of one is taken: it goes to the other that has it, also beside a third that is free.
        for (taken, other) in [(1, 2), (2, 1)] {
            let mut world = fleet();
            world.fleet.set_backlog(&name("local"), queue(taken), 1);
            assert_eq!(placed(&world, &["FaceSwap"], choice), Ok(other));
        }
        let missing = placed(&fleet(), &["Upscale"], choice).expect_err("nobody has it");
        assert!(missing.contains("none of its workers has Upscale"), "{missing}");
    }
}

#[test]
fn a_free_server_that_cannot_do_it_is_no_free_slot() {
    let mut world = fleet();
    world.fleet.set_backlog(&name("local"), queue(2), 1);
    assert_eq!(placed(&world, &["Depth"], SOON), Err("its turn".to_owned()));
    // What is weighted by itself waits behind what is there.
    assert_eq!(placed(&world, &["Depth"], Choice::Weighted), Ok(2));
    // An older router put work where all read it: any of them may take it.
    let mut world = fleet();
    world.fleet.set_backlog(&name("local"), Queue::of_class(name("image-large")), 1);
    assert_eq!(placed(&world, &[], SOON), Err("its turn".to_owned()));
}

#[test]
fn a_schedule_names_the_servers() {
    let world = fleet();
    let scheduled = |number: usize, nodes: &[&str]| {
        let (backend, why) = (name("local"), "it is its turn");
        placed(&world, nodes, Choice::Scheduled { backend: &backend, capability: capability(number), why })
    };
    assert_eq!((0..3).map(|number| scheduled(number, &[])).collect::<Vec<_>>(), [Ok(0), Ok(1), Ok(2)]);
    assert_eq!(scheduled(1, &["FaceSwap"]), Ok(1));
    let left = scheduled(1, &["Depth"]).expect_err("it has changed since");
    assert!(left.contains("whose workers that could run it do not take it now"), "{left}");
}

#[test]
fn what_a_server_lacked_is_not_asked_of_it_again() {
    let lacked = |worker: &str| AttemptFacts {
        worker: Some(name(worker)),
        ..failed(1, "local", FailureCode::CapabilityMissing, 0)
    };
    let mut world = fleet();
    world.history = vec![lacked("all")];
    assert_eq!(placed(&world, &["FaceSwap"], Choice::Weighted), Ok(1));
    world.history = vec![lacked("faces")];
    assert_eq!(placed(&world, &["FaceSwap"], Choice::Weighted), Ok(2));
    assert_eq!(ways_of(&world, &["FaceSwap"]), [2]);
    // None is left.
    let history = vec![lacked("faces"), AttemptFacts { attempt: 2, ..lacked("all") }];
    let refused = placed(&World { history, ..fleet() }, &["FaceSwap"], Choice::Weighted);
    assert!(refused.as_ref().is_err_and(|words| words.contains("has FaceSwap")), "{refused:?}");
    // Workers without a capability are all alike.
    let mut alike = World::empty();
    alike.job.constraints.allow_paid = None;
    ["one", "two"].iter().for_each(|worker| alike.fleet.upsert_offer(offer(worker, "local", 1), NOW_MS));
    alike.history = vec![lacked("one")];
    let Plan::Refuse { failure, .. } = alike.plan() else { panic!("the backend is given up") };
    assert_eq!(failure.code, FailureCode::CapabilityMissing);
}

fn pools_of(world: &World) -> Pools {
    pools(&world.fleet, &world.policy, &world.catalog, 1, NOW_MS)
}

/// The numbers of the servers to which a job has a way.
fn ways_of(world: &World, nodes: &[&str]) -> Vec<usize> {
    let (admitted, found) = (needing(world, nodes), pools_of(world));
    let input = world.input(&admitted, Choice::Waits { why: "" });
    let capabilities =
        ways(&input, &found.places).ways.into_iter().map(|way| found.places[way.pool].capability);
    let number = |of: Option<Capability>| (0..SERVERS.len()).find(|number| capability(*number) == of);
    let mut numbers: Vec<usize> = capabilities.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn each_kind_of_server_is_a_pool_and_a_job_has_ways_to_those_that_can_run_it() {
    let mut world = fleet();
    let same = Offer { worker: name("faces-too"), ..server(1) };
    world.fleet.upsert_offer(same, NOW_MS);
    world.fleet.set_backlog(&name("local"), queue(1), 1);
    let found = pools_of(&world);
    let of = |number: usize| {
        let at =
            found.places.iter().position(|place| place.capability == capability(number)).expect("a pool");
        found.pools[at].free_at_ms.iter().map(|at_ms| *at_ms > NOW_MS).collect::<Vec<_>>()
    };
    assert_eq!([of(0), of(1), of(2)], [vec![false], vec![false, true], vec![false]]);
    assert_eq!(ways_of(&world, &[]), [0, 1, 2]);
    assert_eq!(ways_of(&world, &["FaceSwap"]), [1, 2]);
    assert_eq!(ways_of(&world, &["Depth"]), [2]);
    assert!(ways_of(&world, &["Upscale"]).is_empty());
}

#[test]
fn a_server_that_is_out_is_still_a_way_for_what_it_can_do() {
    for change in [
        |offer: &mut Offer| offer.health = Health::Down,
        // Its provider does not answer, so it lists nothing.
        |offer: &mut Offer| (offer.health, offer.classes, offer.nodes) = (Health::Down, Vec::new(), None),
        |offer: &mut Offer| offer.time_ms -= 30_000,
    ] {
        let mut world = fleet();
        let mut out = server(2);
        change(&mut out);
        let told_at_ms = out.time_ms;
        world.fleet.upsert_offer(out, told_at_ms);
        assert_eq!(ways_of(&world, &["Depth"]), [2]);
    }
}

#[test]
fn what_was_bound_to_servers_that_are_gone_may_go_to_the_others_at_once() {
    let taken_back = |retry_after_ms| {
        let mut facts =
            AttemptFacts { started_at_ms: None, ..failed(1, "local", FailureCode::Interrupted, 0) };
        facts.failure.as_mut().expect("it failed").retry_after_ms = retry_after_ms;
        let mut world = fleet();
        world.fleet.upsert_offer(server(1), NOW_MS - 30_000);
        world.history = vec![facts];
        world
    };
    assert_eq!(placed(&taken_back(Some(0)), &["FaceSwap"], Choice::Weighted), Ok(2));
    // Those of all kinds were gone, or far behind.
    let words = placed(&taken_back(None), &["FaceSwap"], Choice::Weighted).expect_err("it rests");
    assert!(words.contains("attempt 1 ended there with interrupted"), "{words}");
}

#[test]
fn a_job_waits_for_the_only_server_that_can_run_it() {
    let mut world = fleet();
    world.fleet.upsert_offer(server(2), NOW_MS - 30_000);
    let silent = placed(&world, &["Depth"], Choice::Weighted).expect_err("it fell silent");
    assert!(
        silent.contains("waiting") && silent.contains("the worker that could run it is silent"),
        "{silent}"
    );
    world.fleet.upsert_offer(Offer { health: Health::Down, ..server(2) }, NOW_MS);
    let down = placed(&world, &["Depth"], Choice::Weighted).expect_err("it is down");
    assert!(down.contains("waiting") && down.contains("the worker that could run it is not well"), "{down}");
    world.fleet.remove_offer(&name("all"));
    let gone = placed(&world, &["Depth"], Choice::Weighted).expect_err("it left");
    assert!(gone.contains("none of its workers has Depth"), "{gone}");
}

#[test]
fn a_queue_is_served_by_those_that_read_it() {
    let world = fleet();
    let view = world.fleet.view(&name("local")).expect("three servers");
    let serves = |queue: &Queue| view.serves(queue, 10_000, NOW_MS);
    assert!((0..3).all(|number| serves(&queue(number))));
    assert!(serves(&Queue::of_class(name("image-large"))));
    assert!(!serves(&Queue { class: name("image-large"), capability: "00c0ffee".parse().ok() }));
    assert!(!serves(&Queue { class: name("audio"), capability: capability(0) }));
    assert_eq!(view.queues().len(), 3 * 4);
}

//! The schedule over all jobs that wait in this router's hand, made from its view of the fleet ([`policy::schedule`]).
//!
//! A job's first attempt waits in the room and is bound when a slot is free for it. A later attempt is bound at once: it
//! has waited before. What is said of both, and of a job that is only asked about, comes from the same schedule.

mod words;

use policy::plan::{Choice, Plan};
use policy::schedule::{Decision, Schedule, Why, multiple, patience_ms, span_ms};
use schemas::digest::Digest;
use schemas::{Backend, Capability, Job};

use crate::ports::FleetConfig;
use crate::router::decide::{plan_with, take_room, with_view};
use crate::router::job::Placement;
use crate::router::ports::RouterPorts;
use crate::router::room::Waits;
use crate::router::scene::Scene;

/// For how long slots are left to jobs in the hands of other routers while no router takes them, milliseconds.
const HELD_BACK_MAX_MS: i64 = 1_000;

/// A slot of our own for a job that has just come, if one is free; else the job waits for the next look.
pub(crate) fn at_once<P: RouterPorts>(ports: &P, config: &FleetConfig, placement: &Placement<'_>) -> Plan {
    let now_ms = ports.now_ms();
    let (job, since_ms) = (placement.job, placement.submitted_at_ms);
    let span_ms = span_ms(since_ms, job.constraints.deadline_ms, patience_ms(job, &config.policy));
    // A profile that pays more for time wants the job sooner.
    let hurry = multiple(job.preferences.profile).max(1.0);
    let waited_ms = now_ms.saturating_sub(since_ms) as f64;
    let choice = Choice::FreeSlot { within_ms: (span_ms / hurry - waited_ms).max(0.0) as u64 };
    let plan = plan_with(ports, config, placement, &[], choice);
    if let Plan::Assign(assign) = &plan {
        take_room(ports, assign);
        let run_ms = assign.decision.candidates.first().map_or(0, |winner| winner.completion_ms);
        ports.room().bound_at_once(&job.tenant, span_ms, run_ms as f64, now_ms);
    }
    plan
}

/// At which backend's workers a pool is.
fn to<'a>(config: &'a FleetConfig, scene: &Scene<'_>, pool: usize) -> (&'a Backend, Option<Capability>) {
    let place = scene.place(pool);
    (&config.policy.backends[place.backend].backend, place.capability)
}

/// One of those that wait and that the schedule says something of now.
struct Found<'a> {
    place: usize,
    /// Where it starts: at which backend's workers; none where nothing may run it.
    to: Option<(&'a Backend, Option<Capability>)>,
    why: String,
    /// How long it takes a slot of our own, milliseconds, where it gets one.
    own_run_ms: Option<f64>,
}

/// Binds those that wait as far as the schedule lets them start; a plan for each that waits no more.
pub(crate) fn look<P: RouterPorts>(ports: &P, waits: &mut Waits<'_>) -> Vec<Option<Plan>> {
    let (config, now_ms) = (ports.config(), ports.now_ms());
    let found = with_scene(ports, &config, |scene| {
        waits.stand_in(scene);
        waits.count_new(scene);
        let schedule = together(waits, scene);
        let find = |(place, decision): (usize, &Decision)| match decision {
            Decision::Start { pool } | Decision::Ahead { pool } => {
                let to = Some(to(&config, scene, *pool));
                let (why, own_run_ms) = (words::of(decision, place, scene), scene.own_run_ms(place, *pool));
                Some(Found { place, to, why, own_run_ms })
            }
            // What can run nowhere any more ends.
            Decision::Wait { .. } if scene.is_nowhere(place) => {
                Some(Found { place, to: None, why: "its turn".to_owned(), own_run_ms: None })
            }
            Decision::Wait { .. } => None,
        };
        schedule.decisions.iter().take(waits.len()).enumerate().filter_map(find).collect::<Vec<_>>()
    });
    let mut plans: Vec<Option<Plan>> = std::iter::repeat_with(|| None).take(waits.len()).collect();
    for Found { place, to, why, own_run_ms } in &found {
        let (placement, refused) = waits.placement(*place);
        let choice = to.map_or(Choice::Waits { why }, |(backend, capability)| Choice::Scheduled {
            backend,
            capability,
            why,
        });
        let plan = plan_with(ports, &config, &placement, refused, choice);
        if let Plan::Assign(assign) = &plan {
            take_room(ports, assign);
            if let Some(run_ms) = own_run_ms {
                waits.rates().used(placement.job.tenant.as_str(), *run_ms, now_ms);
            }
        }
        plans[*place] = Some(plan).filter(|plan| !matches!(plan, Plan::Defer { .. }));
    }
    plans
}

/// The schedule for the jobs that wait here and in the hands of other routers. A slot is left to another router's job that
/// stands before ours. If no router takes such slots for a while, our jobs take them: the other router may be gone, may not
/// see the slots, or the digest may be invented.
fn together(waits: &mut Waits<'_>, scene: &mut Scene<'_>) -> Schedule {
    let (own, now_ms) = (waits.len(), scene.now_ms());
    let alone = scene.schedule(waits.rates());
    waits.others_stand_in(scene);
    if scene.len() == own {
        return alone;
    }
    let together = scene.schedule(waits.rates());
    let binds = |schedule: &Schedule| {
        let is_bound = |decision: &Decision| !matches!(decision, Decision::Wait { .. });
        schedule.decisions.iter().take(own).any(is_bound)
    };
    let is_held_back = binds(&alone) && !binds(&together);
    if waits.held_back_ms(is_held_back, now_ms) >= HELD_BACK_MAX_MS { alone } else { together }
}

/// Where an attempt is bound at once, or a job would go that is only asked about; and why.
pub(crate) fn weigh<P: RouterPorts>(
    ports: &P,
    config: &FleetConfig,
    placement: &Placement<'_>,
    refused: &[(Backend, String)],
) -> Plan {
    let is_first = placement.attempt == 1;
    // An attempt that is bound at once takes its place before those that wait.
    let (to, why) = ports.room().with_waits(|waits| {
        with_scene(ports, config, |scene| {
            if is_first {
                waits.stand_in(scene);
            }
            let place = scene.stand(placement, refused);
            if is_first {
                waits.others_stand_in(scene);
            }
            let decision = scene.schedule(waits.rates()).decisions[place];
            let pool = match decision {
                Decision::Start { pool } | Decision::Ahead { pool } => Some(pool),
                Decision::Wait { why, .. } => match why {
                    Why::LastMoment { .. } if !is_first => None,
                    Why::InLine { pool, .. } | Why::LastMoment { pool } | Why::PaidSlot { pool, .. } => {
                        Some(pool)
                    }
                    Why::NoPool => None,
                },
            };
            (pool.map(|pool| to(config, scene, pool)), words::of(&decision, place, scene))
        })
    });
    let why = &*why;
    let choice = to.map_or(Choice::Waits { why }, |(backend, capability)| Choice::Scheduled {
        backend,
        capability,
        why,
    });
    plan_with(ports, config, placement, refused, choice)
}

/// What a job of the room waits for, in words; none where nothing may run it now, which its plan says better.
#[must_use]
pub fn why_it_waits<P: RouterPorts>(ports: &P, job: &Job) -> Option<String> {
    let config = ports.config();
    ports.room().with_waits(|waits| {
        let place = waits.place_of(job.id)?;
        with_scene(ports, &config, |scene| {
            waits.stand_in(scene);
            waits.others_stand_in(scene);
            let decision = scene.schedule(waits.rates()).decisions[place];
            let is_nowhere = matches!(decision, Decision::Wait { why: Why::NoPool, .. });
            (!is_nowhere).then(|| words::of(&decision, place, scene))
        })
    })
}

/// What waits in this router's hands, for the others.
#[must_use]
pub fn digest<P: RouterPorts>(ports: &P, router: &str) -> Digest {
    let config = ports.config();
    ports.room().with_waits(|waits| {
        with_scene(ports, &config, |scene| {
            waits.stand_in(scene);
            scene.digest(router, waits.len())
        })
    })
}

fn with_scene<P: RouterPorts, T>(
    ports: &P,
    config: &FleetConfig,
    act: impl FnOnce(&mut Scene<'_>) -> T,
) -> T {
    with_view(ports, config, |view| act(&mut Scene::new(view)))
}

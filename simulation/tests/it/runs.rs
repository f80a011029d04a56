//! Runs: the same seed gives the same run, every job ends, sums are sums, and rules hold that the shipped code keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{JobState, MicroUsd, Profile};
use simulation::baselines::Kind;
use simulation::chart;
use simulation::compare::{Plan, compare};
use simulation::figures::Figures;
use simulation::fleet::FleetSpec;
use simulation::job::{SimJob, prepare};
use simulation::named::Name;
use simulation::run::run;
use simulation::setting::Setting;
use simulation::workload::Generator;
use simulation::world::Rows;

fn workload(generator: Generator, seed: u64) -> (Arc<Vec<SimJob>>, FleetSpec) {
    let made = generator.generate(seed, None);
    let jobs = prepare(&made.jobs, &made.fleet, &Setting::default()).expect("jobs");
    (Arc::new(jobs), made.fleet)
}

fn check_sums(rows: &Rows, jobs: &[SimJob]) {
    let figures = Figures::of(rows, jobs, &Setting::default());
    let attempts: i64 = rows.attempts.iter().map(|row| row.cost.0).sum();
    let overheads: i64 = rows.overheads.iter().map(|row| row.cost.0).sum();
    assert_eq!(figures.attempts_money, MicroUsd(attempts));
    assert_eq!(figures.overhead_money, MicroUsd(overheads));
    assert_eq!(figures.money, MicroUsd(attempts + overheads));
    let backends: i64 = figures.backends.iter().map(|backend| backend.money.0).sum();
    assert_eq!(backends, attempts);
    let lanes: usize = figures.lanes.iter().map(|lane| lane.jobs).sum();
    let late: usize = figures.lanes.iter().map(|lane| lane.late).sum();
    assert_eq!((lanes, late), (figures.jobs, figures.late));
    let busy: u64 = rows.slots.iter().map(|row| row.busy_ms).sum();
    let spent: i64 = rows.attempts.iter().map(|row| row.ended_at_ms - row.started_at_ms).sum();
    assert_eq!(busy, spent.unsigned_abs());
}

#[test]
fn every_job_ends_once_and_the_same_seed_gives_the_same_run() {
    for generator in Generator::ALL {
        let (jobs, fleet) = workload(generator, 5);
        for name in Name::ALL {
            let rows = run(&jobs, &fleet, name, 5);
            let shown = (generator.as_str(), name.as_str());
            assert!(rows.jobs.iter().all(|row| row.state.is_some()), "{shown:?}");
            let done = rows.attempts.iter().filter(|row| row.failure.is_none()).map(|row| row.job);
            let (count, once) = (done.clone().count(), done.collect::<BTreeSet<_>>().len());
            assert_eq!(count, once, "{shown:?}: a job was completed twice");
            check_sums(&rows, &jobs);
            assert_eq!(rows, run(&jobs, &fleet, name, 5), "{shown:?}");
        }
    }
}

#[test]
fn who_may_not_pay_never_does() {
    let (jobs, fleet) = workload(Generator::Mixed, 2);
    for name in Name::ALL {
        let rows = run(&jobs, &fleet, name, 2);
        let paid = rows.attempts.iter().filter(|row| row.cost > MicroUsd::ZERO);
        let mut unasked = paid.filter(|row| jobs[row.job].job.constraints.allow_paid != Some(true));
        assert!(unasked.next().is_none(), "{}", name.as_str());
    }
    assert!(jobs.iter().any(|job| job.job.constraints.allow_paid == Some(false)));
}

/// A slot runs one attempt at a time, and a server that is out runs none.
#[test]
fn slots_and_outages_hold() {
    let (jobs, fleet) = workload(Generator::Outage, 3);
    let rows = run(&jobs, &fleet, Name::Shipped(Profile::Balanced), 3);
    for (server, spec) in fleet.servers.iter().enumerate() {
        let mut edges: Vec<(i64, i32)> = Vec::new();
        for row in rows.attempts.iter().filter(|row| row.server == server) {
            // An end frees the slot for what begins at the same moment.
            edges.extend([(row.started_at_ms, 1), (row.ended_at_ms, -1)]);
            for outage in fleet.outages.iter().filter(|outage| outage.hits(spec)) {
                let start_ms = simulation::setting::START_MS;
                let before = row.ended_at_ms <= start_ms + outage.from_ms;
                assert!(before || row.started_at_ms >= start_ms + outage.until_ms, "{row:?}");
            }
        }
        edges.sort_unstable();
        let mut running = 0;
        for (_, change) in edges {
            running += change;
            assert!(running <= i32::try_from(spec.slots).expect("few"), "{}", spec.name);
        }
    }
    assert!(rows.jobs.iter().any(|row| row.was_hit), "the outage hit nothing");
}

#[test]
fn failed_attempts_are_tried_again_by_the_shipped_rule() {
    let (jobs, mut fleet) = workload(Generator::Steady, 4);
    fleet.servers.iter_mut().for_each(|server| server.failures_permille = 200);
    let rows = run(&jobs, &fleet, Name::Shipped(Profile::Balanced), 4);
    let failed = rows.attempts.iter().filter(|row| row.failure.is_some()).count();
    let completed = rows.jobs.iter().filter(|row| row.state == Some(JobState::Completed)).count();
    assert!(failed > 20, "{failed}");
    assert_eq!(completed, jobs.len(), "nothing fails six times at a fifth each");
    check_sums(&rows, &jobs);
}

#[test]
fn a_provider_bills_whole_seconds_starts_and_idle_time() {
    let (jobs, fleet) = workload(Generator::Steady, 6);
    let rows = run(&jobs, &fleet, Name::Baseline(Kind::Cloud), 6);
    assert!(rows.attempts.iter().all(|row| row.cost.0 % 190 == 0), "a second costs 190");
    let up_ms: u64 = rows.overheads.iter().map(|row| row.up_ms).sum();
    assert!(rows.money().0.unsigned_abs() * 1_000 >= up_ms * 190, "{up_ms} ms");
    // A start and an idle timeout at least.
    assert!(rows.overheads.iter().all(|row| row.up_ms >= 13_000), "{:?}", rows.overheads);
    // One job alone pays for its start and for the idle time after it.
    let alone = serde_json::json!({ "at_ms": 0, "run_ms": { "cloud": 32_500 } });
    let alone = [serde_json::from_value(alone).expect("a job")];
    let jobs = Arc::new(prepare(&alone, &fleet, &Setting::default()).expect("jobs"));
    let rows = run(&jobs, &fleet, Name::Baseline(Kind::Cloud), 6);
    assert_eq!((rows.attempts[0].cost, rows.money()), (MicroUsd(33 * 190), MicroUsd(46 * 190)));
}

#[test]
fn several_routers_place_everything() {
    let (jobs, mut fleet) = workload(Generator::Bursts, 7);
    fleet.routers = 4;
    let rows = run(&jobs, &fleet, Name::Shipped(Profile::Balanced), 7);
    assert!(rows.jobs.iter().all(|row| row.state == Some(JobState::Completed)));
    fleet.routers = 1;
    assert_ne!(rows, run(&jobs, &fleet, Name::Shipped(Profile::Balanced), 7), "each has a view of its own");
}

#[test]
fn the_chart_shows_each_strategy() {
    let source = simulation::workload::Source::Generated(Generator::Steady, Some(40));
    let strategies = vec![Name::Shipped(Profile::Balanced), Name::Baseline(Kind::Dearest)];
    let plan = Plan { source, fleet: None, routers: None, strategies, seeds: vec![1, 2], with_bound: true };
    let comparison = compare(&plan, |_, _| ()).expect("jobs");
    let svg = chart::svg(&comparison);
    // Two seeds, a mean and a legend for each.
    assert_eq!(svg.matches("<circle").count(), 2 * 4, "{svg}");
    assert!(svg.contains(">balanced<") && svg.contains("stroke-dasharray") && svg.ends_with("</svg>\n"));
}

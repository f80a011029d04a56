//! The bound: never above what can be carried out, and tight where that is known.

use proptest::prelude::*;
use schemas::{Backend, MicroUsd};
use simulation::bound::{Capacities, Prices, Problem, as_late, least, solve, value};
use simulation::compare::{Plan, compare};
use simulation::job::{JobSpec, SimJob, prepare};
use simulation::named::Name;
use simulation::setting::Setting;
use simulation::workload::{Generator, Source};

use crate::brute;

fn spec(at_ms: i64, patience_ms: u64, run_ms: [u64; 3], allow_paid: bool) -> JobSpec {
    let names = ["local", "cloud", "gemini"].map(|name| Backend::new(name).expect("a name"));
    JobSpec {
        patience_ms: Some(patience_ms),
        allow_paid,
        run_ms: names.into_iter().zip(run_ms).collect(),
        ..serde_json::from_value(serde_json::json!({ "at_ms": at_ms })).expect("a job")
    }
}

fn jobs(specs: &[JobSpec]) -> Vec<SimJob> {
    prepare(specs, &brute::small_fleet(), &Setting::default()).expect("jobs")
}

#[test]
fn it_is_exact_where_the_answer_is_known() {
    // Two of three fit; the third is done by the cloud in 6 s, which costs 6 times 190.
    let three = jobs(&[
        spec(0, 8_000, [4_000, 6_000, 6_000], true),
        spec(0, 8_000, [4_000, 6_000, 6_000], true),
        spec(0, 8_000, [4_000, 6_000, 6_000], true),
    ]);
    let (fleet, setting) = (brute::small_fleet(), Setting::default());
    let near = |money: MicroUsd, expected: i64| (money.0 - expected).abs() * 50 <= expected.max(1);
    let found = least(&three, &fleet, &setting);
    assert!(near(found.money, 1_140), "{found:?}");
    // One may be late: then nobody pays.
    let found = as_late(&three, &fleet, &setting, 1);
    assert!(found.money.0 <= 20, "{found:?}");
    // Nobody may pay: one must be late, and money changes nothing.
    let poor = jobs(&[
        spec(0, 8_000, [4_000, 6_000, 6_000], false),
        spec(0, 8_000, [4_000, 6_000, 6_000], false),
        spec(0, 8_000, [4_000, 6_000, 6_000], false),
    ]);
    let found = least(&poor, &fleet, &setting);
    assert!(found.money.0 == 0 && (0.95..1.1).contains(&found.late), "{found:?}");
}

#[test]
fn an_outage_takes_capacity_from_it() {
    let (mut fleet, setting) = (brute::small_fleet(), Setting::default());
    let one = prepare(&[spec(0, 8_000, [4_000, 6_000, 6_000], true)], &fleet, &setting).expect("a job");
    assert_eq!(least(&one, &fleet, &setting).money, MicroUsd(0));
    let outage = serde_json::json!({ "backend": "local", "from_ms": 0, "until_ms": 6_000 });
    fleet.outages.push(serde_json::from_value(outage).expect("an outage"));
    // Half of it can be done before it is due.
    let found = least(&one, &fleet, &setting).money.0;
    assert!((550..=570).contains(&found), "{found}");
}

#[test]
fn it_is_tight_and_below_every_strategy_on_every_workload() {
    for generator in Generator::ALL {
        let plan = Plan {
            source: Source::Generated(generator, Some(80)),
            fleet: None,
            routers: None,
            strategies: Name::ALL.to_vec(),
            seeds: vec![11],
            with_bound: true,
        };
        let comparison = compare(&plan, |_, _| ()).expect("jobs");
        for strategy in &comparison.strategies {
            for seed in &strategy.seeds {
                let (figures, bound) = (&seed.figures, seed.fair_bound.as_ref().expect("a bound"));
                let shown = (generator.as_str(), strategy.strategy, figures.money, bound);
                assert!(bound.money <= figures.money, "{shown:?}");
                // What the prices may be off by is far below what is judged by them.
                assert!(bound.gap.0 * 100 <= figures.all_dearest_money.0, "{shown:?}");
            }
        }
    }
}

fn small_jobs() -> impl Strategy<Value = Vec<JobSpec>> {
    let one = (0..6i64, 4..16u64, (1..6u64, 2..9u64, 1..5u64), any::<bool>());
    prop::collection::vec(one, 1..=4).prop_map(|all| {
        let spec = |(at, patience, (local, cloud, gemini), may_pay)| {
            spec(at * 1_000, patience * 1_000, [local * 1_000, cloud * 1_000, gemini * 1_000], may_pay)
        };
        all.into_iter().map(spec).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_is_never_above_exhaustive_search(specs in small_jobs()) {
        let jobs = jobs(&specs);
        let (fleet, setting) = (brute::small_fleet(), Setting::default());
        let plans = brute::plans(&jobs);
        for late in 0..=jobs.len() {
            let bound = as_late(&jobs, &fleet, &setting, late);
            if let Some(money) = brute::least(&plans, late) {
                prop_assert!(bound.money.0 <= money, "late {late}: {bound:?} above {money}");
            }
        }
    }

    /// Weak duality: the climb may be as bad as it likes, its answer is a bound.
    #[test]
    fn any_prices_give_a_bound(
        specs in small_jobs(),
        prices in prop::collection::vec(0.0..3.0f64, 64),
        late_price in 0.0..100_000.0f64,
    ) {
        let jobs = jobs(&specs);
        let problem = Problem::of(&jobs, &brute::small_fleet(), &Setting::default(), Capacities::Real);
        let mut drawn = prices.iter().copied().cycle();
        let capacity = problem.resources.iter().map(|resource| {
            resource.capacity.iter().map(|_| drawn.next().unwrap_or(0.0)).collect()
        });
        let prices = Prices { capacity: capacity.collect(), late: late_price };
        let plans = brute::plans(&jobs);
        for late in 0..=jobs.len() {
            if let Some(money) = brute::least(&plans, late) {
                let bound = value(&problem, late as f64, &prices);
                prop_assert!(bound <= money as f64 + 1e-6, "late {late}: {bound} above {money}");
                prop_assert!(solve(&problem, late as f64).value <= money as f64 + 1e-6);
            }
        }
    }
}

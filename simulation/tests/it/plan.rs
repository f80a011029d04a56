//! The schedule over all that wait, in the shipped router and by a planner that sees everything, beside the weighted score,
//! over paired seeds.

use std::sync::Arc;

use schemas::{JobState, Profile};
use simulation::figures::Figures;
use simulation::job::prepare;
use simulation::named::Name;
use simulation::run::run;
use simulation::setting::Setting;
use simulation::workload::Generator;

/// Workloads in which somebody has to wait or to pay.
const CROWDED: [Generator; 4] = [Generator::Bursts, Generator::Mixed, Generator::Outage, Generator::Flood];

const SEEDS: std::ops::RangeInclusive<u64> = 31..=33;

/// Dollars, late jobs, missed deadlines and the 95th of a hundred times to completion, in the mean over the seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Means {
    usd: f64,
    late: f64,
    missed: f64,
    p95_s: f64,
}

fn means(generator: Generator, name: Name) -> Means {
    let (setting, mut sum) = (Setting::default(), Means { usd: 0.0, late: 0.0, missed: 0.0, p95_s: 0.0 });
    let count = SEEDS.count() as f64;
    for seed in SEEDS {
        let made = generator.generate(seed, None);
        let jobs = Arc::new(prepare(&made.jobs, &made.fleet, &setting).expect("jobs"));
        let rows = run(&jobs, &made.fleet, name, seed);
        let figures = Figures::of(&rows, &jobs, &setting);
        let completed = rows.jobs.iter().filter(|row| row.state == Some(JobState::Completed));
        let mut times: Vec<i64> = completed.map(|row| row.ended_at_ms - row.at_ms).collect();
        times.sort_unstable();
        sum.usd += figures.money.0 as f64 / 1e6 / count;
        sum.late += figures.late as f64 / figures.jobs as f64 / count;
        sum.missed += figures.missed as f64 / count;
        sum.p95_s += times[times.len() * 95 / 100] as f64 / 1e3 / count;
    }
    sum
}

#[test]
fn whoever_pays_more_for_time_gets_it_and_pays_for_it() {
    for generator in CROWDED {
        for name in [Name::Planned, Name::Shipped] {
            let of = |profile| means(generator, name(profile));
            let [fast, even, cheap] = [Profile::Fastest, Profile::Balanced, Profile::Cheapest].map(of);
            let shown = (generator.as_str(), name(Profile::Balanced), fast, even, cheap);
            assert!(fast.p95_s <= even.p95_s && even.p95_s <= cheap.p95_s * 1.01, "{shown:?}");
            assert!(fast.usd >= even.usd && even.usd >= cheap.usd, "{shown:?}");
        }
    }
}

#[test]
fn it_costs_less_than_the_weighted_score_and_is_late_less_often() {
    for generator in CROWDED {
        let weighted = means(generator, Name::Weighted);
        for name in [Name::Planned(Profile::Balanced), Name::Shipped(Profile::Balanced)] {
            let planned = means(generator, name);
            let shown = (generator.as_str(), name, weighted, planned);
            assert!(planned.late <= 0.03 && planned.missed < 0.5, "{shown:?}");
            // Where it pays more, it buys that nobody is late.
            assert!(planned.usd <= weighted.usd || planned.late * 4.0 <= weighted.late, "{shown:?}");
        }
    }
}

#[test]
fn where_local_suffices_hardly_anybody_pays() {
    for generator in [Generator::Steady, Generator::Checkpoints] {
        for name in [Name::Planned(Profile::Balanced), Name::Shipped(Profile::Balanced)] {
            let found = means(generator, name);
            // 98 % less than all at the dearest, which costs $14 and more.
            assert!(found.usd < 0.28 && found.late < 0.005, "{} {name:?}: {found:?}", generator.as_str());
        }
    }
}

/// Several routers decide as one: each hears what waits in the hands of the others.
#[test]
fn four_routers_cost_hardly_more_than_one() {
    for generator in CROWDED {
        let of = |routers: usize| {
            let (setting, mut usd, mut late, mut dearest) = (Setting::default(), 0.0, 0.0, 0.0);
            for seed in SEEDS {
                let mut made = generator.generate(seed, None);
                made.fleet.routers = routers;
                let jobs = Arc::new(prepare(&made.jobs, &made.fleet, &setting).expect("jobs"));
                let rows = run(&jobs, &made.fleet, Name::Shipped(Profile::Balanced), seed);
                let figures = Figures::of(&rows, &jobs, &setting);
                usd += figures.money.0 as f64;
                dearest += figures.all_dearest_money.0 as f64;
                late += figures.late as f64 / figures.jobs as f64 / SEEDS.count() as f64;
            }
            (usd, late, dearest)
        };
        let ((one, _, dearest), (four, late, _)) = (of(1), of(4));
        let more = (four - one) / dearest;
        println!("{}: {:.3} % more, late {late:.4}", generator.as_str(), more * 100.0);
        assert!(more <= 0.01 && late <= 0.03, "{}: {more}, late {late}", generator.as_str());
    }
}

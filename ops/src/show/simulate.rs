//! A comparison as tables for people.

use crate::table::{Align, Table};
use crate::text::Text;
use simulation::compare::{Comparison, Mean, StrategyResult};

/// All tables of a comparison.
#[must_use]
pub fn text(comparison: &Comparison) -> Text {
    let seeds = comparison.strategies.first().map_or(0, |strategy| strategy.seeds.len());
    let mut text = Text::default();
    text.line(format!("{}, {seeds} seed{}", comparison.workload, if seeds == 1 { "" } else { "s" }));
    for table in [strategies(comparison), lanes(comparison)] {
        text.gap();
        text.table(table);
    }
    text.gap();
    let all = comparison.all_dearest_usd;
    text.line(format!("everything at the dearest backend: ${}", with_confidence(all, 3)));
    if let Some(bound) = comparison.bound_usd {
        text.line(format!("bound of hindsight, least lateness first: ${}", with_confidence(bound, 3)));
    }
    text
}

fn strategies(comparison: &Comparison) -> Table {
    let columns = [
        ("strategy", Align::Left),
        ("cost $", Align::Right),
        ("of it overhead", Align::Right),
        ("more than first $", Align::Right),
        ("late %", Align::Right),
        ("missed", Align::Right),
        ("above bound %", Align::Right),
        ("worst %", Align::Right),
        ("local idle %", Align::Right),
    ];
    let rows: Vec<Vec<String>> = comparison.strategies.iter().map(row).collect();
    Table::new(&columns, rows)
}

fn row(strategy: &StrategyResult) -> Vec<String> {
    #[expect(clippy::cast_precision_loss, reason = "money is far below 2^53")]
    let overhead = average(strategy, |seed| seed.figures.overhead_money.0 as f64 / 1e6);
    let local = |seed: &simulation::compare::SeedResult| {
        let idle = seed.figures.backends.iter().find(|backend| backend.backend == "local");
        idle.map_or(0.0, |backend| f64::from(u32::try_from(backend.idle_percent).unwrap_or(100)))
    };
    let worst =
        strategy.seeds.iter().filter_map(simulation::compare::SeedResult::above).fold(f64::MIN, f64::max);
    let bounded = strategy.above_percent.is_some();
    vec![
        strategy.strategy.to_owned(),
        with_confidence(strategy.money_usd, 3),
        format!("{overhead:.3}"),
        with_confidence(strategy.more_than_first_usd, 3),
        with_confidence(strategy.late_percent, 1),
        with_confidence(strategy.missed, 1),
        strategy.above_percent.map_or_else(|| "-".to_owned(), |above| with_confidence(above, 2)),
        if bounded { format!("{:.2}", worst * 100.0) } else { "-".to_owned() },
        format!("{:.0}", average(strategy, local)),
    ]
}

fn lanes(comparison: &Comparison) -> Table {
    let columns = [
        ("strategy", Align::Left),
        ("lane", Align::Left),
        ("jobs", Align::Right),
        ("late", Align::Right),
        ("p50 s", Align::Right),
        ("p95 s", Align::Right),
        ("p99 s", Align::Right),
    ];
    let mut rows = Vec::new();
    for strategy in &comparison.strategies {
        // Of all seeds the mean: percentiles are of one run each.
        let Some(first) = strategy.seeds.first() else { continue };
        for lane in &first.figures.lanes {
            let of = |value: fn(&simulation::figures::LaneFigures) -> u64| {
                average(strategy, |seed| {
                    let found = seed.figures.lanes.iter().find(|other| other.lane == lane.lane);
                    found.map_or(0.0, |lane| f64::from(u32::try_from(value(lane)).unwrap_or(u32::MAX)))
                })
            };
            rows.push(vec![
                strategy.strategy.to_owned(),
                lane.lane.as_str().to_owned(),
                format!("{:.0}", of(|lane| lane.jobs as u64)),
                format!("{:.1}", of(|lane| lane.late as u64)),
                format!("{:.1}", of(|lane| lane.p50_ms) / 1e3),
                format!("{:.1}", of(|lane| lane.p95_ms) / 1e3),
                format!("{:.1}", of(|lane| lane.p99_ms) / 1e3),
            ]);
        }
    }
    Table::new(&columns, rows)
}

#[expect(clippy::cast_precision_loss, reason = "few seeds")]
fn average(strategy: &StrategyResult, value: impl Fn(&simulation::compare::SeedResult) -> f64) -> f64 {
    let count = strategy.seeds.len().max(1) as f64;
    strategy.seeds.iter().map(value).sum::<f64>() / count
}

fn with_confidence(mean: Mean, places: usize) -> String {
    if mean.plus_minus == 0.0 {
        format!("{:.places$}", mean.mean)
    } else {
        format!("{:.places$} ±{:.places$}", mean.mean, mean.plus_minus)
    }
}

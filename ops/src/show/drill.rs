//! The report as tables for people.

use crate::table::{Align, Table};
use crate::text::Text;
use crate::words;
use schemas::MicroUsd;
use trials::drill::history::Replacement;
use trials::drill::report::Report;

/// Everything that `make drill` prints at its end.
#[must_use]
pub fn text(report: &Report) -> Text {
    let before = if report.replaced.is_empty() { blows(report) } else { replaced(report) };
    let mut text = Text::default();
    for table in [before, states(report), figures(report)] {
        text.table(table);
        text.gap();
    }
    text.append(crate::show::demo::verdict(&report.audit));
    text
}

fn replaced(report: &Report) -> Table {
    let columns = [
        ("replaced", Align::Left),
        ("how", Align::Left),
        ("after", Align::Right),
        ("paid in flight", Align::Left),
        ("ready", Align::Right),
        ("at work", Align::Right),
    ];
    let since = |at_ms: i64, from_ms: i64| {
        words::duration(at_ms.saturating_sub(from_ms).try_into().unwrap_or_default())
    };
    let first_ms = report.replaced.first().map_or(0, |first| first.at_ms);
    let row = |one: &Replacement| {
        let paid = one.paid_in_flight.iter().map(|(backend, attempts)| format!("{attempts} {backend}"));
        vec![
            one.name.clone(),
            one.removal.as_str().to_owned(),
            since(one.at_ms, first_ms),
            paid.collect::<Vec<_>>().join(", "),
            since(one.ready_at_ms, one.at_ms),
            since(one.useful_at_ms, one.at_ms),
        ]
    };
    Table::new(&columns, report.replaced.iter().map(row).collect::<Vec<_>>())
}

fn blows(report: &Report) -> Table {
    let columns = [
        ("component", Align::Left),
        ("killed", Align::Right),
        ("stopped", Align::Right),
        ("filled", Align::Right),
        ("ended by itself", Align::Right),
        ("recovered p50", Align::Right),
        ("p99", Align::Right),
        ("not seen again", Align::Right),
    ];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, blows) in &report.blows {
        rows.push(vec![
            name.clone(),
            blows.kills.to_string(),
            blows.stops.to_string(),
            blows.fills.to_string(),
            blows.own_ends.to_string(),
            words::duration(blows.recover_ms.p50),
            words::duration(blows.recover_ms.p99),
            blows.not_seen_again.to_string(),
        ]);
    }
    let sum =
        |of: fn(&trials::drill::report::Blows) -> u64| report.blows.values().map(of).sum::<u64>().to_string();
    rows.push(vec![
        "all".to_owned(),
        sum(|blows| blows.kills),
        sum(|blows| blows.stops),
        sum(|blows| blows.fills),
        sum(|blows| blows.own_ends),
        words::duration(report.recover_ms.p50),
        words::duration(report.recover_ms.p99),
        sum(|blows| blows.not_seen_again),
    ]);
    Table::new(&columns, rows)
}

fn states(report: &Report) -> Table {
    let rows: Vec<Vec<String>> =
        report.states.iter().map(|(state, jobs)| vec![state.clone(), jobs.to_string()]).collect();
    Table::new(&[("end", Align::Left), ("jobs", Align::Right)], rows)
}

fn figures(report: &Report) -> Table {
    let mut rows = vec![
        ("seed", report.seed.to_string()),
        ("jobs", report.jobs.to_string()),
        ("nodes of the broker", report.nodes.to_string()),
        ("whole drill", words::duration(report.wall_ms)),
        (
            if report.replaced.is_empty() { "under blows" } else { "until all was replaced" },
            words::duration(report.chaos_ms),
        ),
        ("publishes", report.publishes.to_string()),
        ("longest stall", words::duration(report.longest_stall_ms)),
        ("repeated GPU runs", report.repeated_gpu_runs.to_string()),
        ("files fetched", report.artifacts.to_string()),
    ];
    let possibly = MicroUsd(report.audit.possibly_paid_micro_usd).to_string();
    rows.push(("only possibly paid", possibly));
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    for (tenant, spent) in &report.spent_micro_usd {
        rows.push(vec![format!("spent by {tenant}"), MicroUsd(*spent).to_string()]);
    }
    Table::new(&[("", Align::Left), ("", Align::Right)], rows)
}

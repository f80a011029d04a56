//! The report as tables for people.

use crate::table::{Align, Table};
use crate::text::Text;
use crate::tone::Tone;
use crate::words;
use schemas::MicroUsd;
use trials::demo::report::Report;
use trials::figures::{AuditSection, Percentiles};

/// Everything that `make demo` prints at its end.
#[must_use]
pub fn text(report: &Report) -> Text {
    let mut tables = vec![backends(report), states(report), latencies(report)];
    if !report.bought.is_empty() {
        tables.push(bought(report));
    }
    if !report.where_allowed.is_empty() {
        tables.push(savings(report));
    }
    tables.push(money(report));
    let mut text = Text::default();
    for table in tables {
        text.table(table);
        text.gap();
    }
    text.append(verdict(&report.audit));
    text
}

fn marked(name: &str, simulated: bool) -> String {
    format!("{name}{}", if simulated { " (SIMULATED)" } else { "" })
}

fn backends(report: &Report) -> Table {
    let columns = [
        ("backend", Align::Left),
        ("jobs", Align::Right),
        ("attempts", Align::Right),
        ("failed", Align::Right),
        ("retries", Align::Right),
        ("failovers", Align::Right),
        ("cost", Align::Right),
    ];
    let mut rows: Vec<Vec<String>> = report
        .backends
        .iter()
        .map(|(name, section)| {
            vec![
                marked(name, section.simulated),
                section.jobs.to_string(),
                section.attempts.to_string(),
                section.failed_attempts.to_string(),
                section.retries.to_string(),
                section.failovers.to_string(),
                MicroUsd(section.cost_micro_usd).to_string(),
            ]
        })
        .collect();
    let all = report.backends.values();
    let sum =
        |of: fn(&trials::demo::report::BackendSection) -> u64| all.clone().map(of).sum::<u64>().to_string();
    rows.push(vec![
        "total".to_owned(),
        sum(|section| section.jobs),
        sum(|section| section.attempts),
        sum(|section| section.failed_attempts),
        report.retries.to_string(),
        report.failovers.to_string(),
        MicroUsd(all.map(|section| section.cost_micro_usd).sum()).to_string(),
    ]);
    Table::new(&columns, rows)
}

fn states(report: &Report) -> Table {
    let rows: Vec<Vec<String>> =
        report.states.iter().map(|(state, jobs)| vec![state.clone(), jobs.to_string()]).collect();
    Table::new(&[("end", Align::Left), ("jobs", Align::Right)], rows)
}

fn latencies(report: &Report) -> Table {
    let columns = [
        ("", Align::Left),
        ("queue p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("whole p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
    ];
    let row = |name: &str, queue: &Percentiles, whole: &Percentiles| {
        let all = [queue.p50, queue.p95, queue.p99, whole.p50, whole.p95, whole.p99];
        std::iter::once(name.to_owned()).chain(all.map(words::duration)).collect()
    };
    let mut rows: Vec<Vec<String>> = report
        .backends
        .iter()
        .map(|(name, section)| row(name, &section.queue_wait_ms, &section.whole_ms))
        .collect();
    rows.push(row("all", &report.queue_wait_ms, &report.whole_ms));
    Table::new(&columns, rows)
}

fn bought(report: &Report) -> Table {
    let columns = [
        ("what the money was spent for", Align::Left),
        ("at", Align::Left),
        ("attempts", Align::Right),
        ("spent", Align::Right),
    ];
    let row = |why: &str, at: &str, attempts: u64, spent: i64| {
        vec![why.to_owned(), at.to_owned(), attempts.to_string(), MicroUsd(spent).to_string()]
    };
    let mut rows: Vec<Vec<String>> = report
        .bought
        .iter()
        .map(|bought| row(bought.why.words(), &bought.backend, bought.attempts, bought.cost_micro_usd))
        .collect();
    let attempts = report.bought.iter().map(|bought| bought.attempts).sum();
    rows.push(row("total", "", attempts, report.bought.iter().map(|bought| bought.cost_micro_usd).sum()));
    Table::new(&columns, rows)
}

fn savings(report: &Report) -> Table {
    let columns = [
        ("against all at", Align::Left),
        ("jobs that may", Align::Right),
        ("that may not", Align::Right),
        ("spent", Align::Right),
        ("would have cost", Align::Right),
        ("saved", Align::Right),
    ];
    let rows: Vec<Vec<String>> = report
        .where_allowed
        .iter()
        .filter(|(_, saving)| saving.baseline_micro_usd > 0)
        .map(|(against, saving)| {
            vec![
                against.clone(),
                saving.jobs.to_string(),
                saving.jobs_not_comparable.to_string(),
                MicroUsd(saving.actual_micro_usd).to_string(),
                MicroUsd(saving.baseline_micro_usd).to_string(),
                MicroUsd(saving.saving_micro_usd).to_string(),
            ]
        })
        .collect();
    Table::new(&columns, rows)
}

fn money(report: &Report) -> Table {
    let columns = [
        ("provider", Align::Left),
        ("ledger", Align::Right),
        ("its own invoice", Align::Right),
        ("difference", Align::Right),
    ];
    let invoiced = report.backends.iter().filter_map(|(name, section)| {
        let invoice = section.invoice_micro_usd?;
        let difference = MicroUsd(section.cost_micro_usd - invoice).to_string();
        let amounts =
            [MicroUsd(section.cost_micro_usd).to_string(), MicroUsd(invoice).to_string(), difference];
        Some(std::iter::once(marked(name, section.simulated)).chain(amounts).collect())
    });
    let rows: Vec<Vec<String>> = invoiced.collect();
    Table::new(&columns, rows)
}

/// What the audit says, line by line.
pub(crate) fn verdict(audit: &AuditSection) -> Text {
    let mut text = Text::default();
    text.line(format!(
        "audit: accepted {}, ended {}, lost {}, ended twice {}, paid twice {}, paid again {}, ledger {}, invoices {}, \
         start and idle {}",
        audit.accepted,
        audit.ended,
        audit.lost,
        audit.ended_twice,
        audit.paid_twice,
        audit.paid_again,
        MicroUsd(audit.ledger_micro_usd),
        MicroUsd(audit.invoice_micro_usd),
        MicroUsd(audit.overhead_micro_usd)
    ));
    audit.findings.iter().for_each(|finding| text.line(format!("broken: {finding}")));
    text.append(holds(audit.holds));
    text
}

/// Whether the promises hold.
pub(crate) fn holds(holds: bool) -> Text {
    let (words, tone) =
        if holds { ("the audit holds", Tone::Good) } else { ("THE AUDIT DOES NOT HOLD", Tone::Bad) };
    let mut text = Text::default();
    text.toned([(words.to_owned(), tone)]);
    text
}

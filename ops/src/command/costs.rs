//! `argosy costs`: what was spent, and what was saved.

use super::jobs::duration_ms;
use super::session::Session;
use crate::table::{self, Align};
use clap::Args;
use ledger_read::{CostBy, CostRow, OverheadRow, SavingRow};
use runtime::clock::now_ms;
use schemas::MicroUsd;

/// What was spent by day, backend, tenant or label, and what the same jobs would have cost elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy costs\n  argosy costs --by tenant --since 30d\n  \
    argosy costs --by label:project --json")]
pub(crate) struct Costs {
    /// Sum by: day, backend, tenant or label:KEY
    #[arg(long, default_value = "backend", value_parser = cost_by)]
    by: CostBy,
    /// Only the last: 24h, 7d, 30d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    since: Option<i64>,
}

impl Costs {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let reader = session.reader().await?;
        let since_ms = self.since.map_or(0, |ms| now_ms() - ms);
        let costs = reader.costs(&self.by, since_ms).await?;
        let savings = reader.savings(since_ms).await?;
        let overhead = reader.overhead(since_ms).await?;
        if session.json {
            return table::say_json(
                &serde_json::json!({ "costs": costs, "overhead": overhead, "savings": savings }),
            );
        }
        table::say(costs_table(&self.by, &costs));
        if !overhead.is_empty() {
            table::say(format!("\n{}", overhead_table(&overhead)));
        }
        if !savings.is_empty() {
            table::say(format!("\n{}", savings_table(&savings)));
        }
        Ok(())
    }
}

fn cost_by(text: &str) -> Result<CostBy, String> {
    match text {
        "day" => Ok(CostBy::Day),
        "backend" => Ok(CostBy::Backend),
        "tenant" => Ok(CostBy::Tenant),
        _ => match text.strip_prefix("label:") {
            Some(label) if !label.is_empty() => Ok(CostBy::Label(label.to_owned())),
            _ => Err("use day, backend, tenant or label:KEY".to_owned()),
        },
    }
}

fn costs_table(by: &CostBy, rows: &[CostRow]) -> String {
    let name = match by {
        CostBy::Day => "day",
        CostBy::Backend => "backend",
        CostBy::Tenant => "tenant",
        CostBy::Label(label) => label,
    };
    let columns = [
        (name, Align::Left),
        ("jobs", Align::Right),
        ("charges", Align::Right),
        ("spent", Align::Right),
        ("of it only possibly", Align::Right),
        ("set aside", Align::Right),
    ];
    let money = |micro_usd: i64| MicroUsd(micro_usd).to_string();
    let row = |key: &str, row: &CostRow| {
        vec![
            key.to_owned(),
            row.jobs.to_string(),
            row.charges.to_string(),
            money(row.posted_micro_usd),
            money(row.possibly_paid_micro_usd),
            money(row.open_micro_usd),
        ]
    };
    let mut lines: Vec<Vec<String>> =
        rows.iter().map(|one| row(if one.key.is_empty() { "(none)" } else { &one.key }, one)).collect();
    let sum = |of: fn(&CostRow) -> i64| rows.iter().map(of).sum();
    let total = CostRow {
        key: String::new(),
        jobs: sum(|row| row.jobs),
        charges: sum(|row| row.charges),
        posted_micro_usd: sum(|row| row.posted_micro_usd),
        possibly_paid_micro_usd: sum(|row| row.possibly_paid_micro_usd),
        open_micro_usd: sum(|row| row.open_micro_usd),
    };
    lines.push(row("total", &total));
    // A job with charges in two rows counts in both: the sum would tell of more jobs than there are.
    if let Some(cell) = lines.last_mut().and_then(|line| line.get_mut(1)) {
        cell.clear();
    }
    table::render(&columns, &lines)
}

/// What endpoints cost beside their attempts.
fn overhead_table(rows: &[OverheadRow]) -> String {
    let columns = [
        ("endpoint", Align::Left),
        ("day", Align::Left),
        ("attempts", Align::Right),
        ("start and idle", Align::Right),
        ("bill", Align::Right),
    ];
    let money = |micro_usd: i64| MicroUsd(micro_usd).to_string();
    let line = |row: &OverheadRow| {
        let amount = money(row.amount_micro_usd);
        vec![
            format!("{} {}", row.backend, row.endpoint),
            row.day.clone(),
            money(row.attempts_micro_usd),
            if row.is_estimated() { format!("{amount} estimated") } else { amount },
            row.billed_micro_usd.map_or("not known yet".to_owned(), money),
        ]
    };
    let mut lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let sum = |of: fn(&OverheadRow) -> i64| money(rows.iter().map(of).sum());
    lines.push(vec![
        "total".to_owned(),
        String::new(),
        sum(|row| row.attempts_micro_usd),
        sum(|row| row.amount_micro_usd),
        sum(|row| row.billed_micro_usd.unwrap_or_default()),
    ]);
    table::render(&columns, &lines)
}

/// What everything would have cost at one place.
pub(crate) fn savings_table(rows: &[SavingRow]) -> String {
    let columns = [
        ("against all at", Align::Left),
        ("jobs", Align::Right),
        ("not comparable", Align::Right),
        ("spent", Align::Right),
        ("would have cost", Align::Right),
        ("saved", Align::Right),
    ];
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.against.clone(),
                row.jobs.to_string(),
                row.jobs_not_comparable.to_string(),
                MicroUsd(row.actual_micro_usd).to_string(),
                MicroUsd(row.baseline_micro_usd).to_string(),
                MicroUsd(row.saving_micro_usd).to_string(),
            ]
        })
        .collect();
    table::render(&columns, &lines)
}

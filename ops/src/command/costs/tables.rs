//! Costs in tables for people.

use crate::table::{Align, Table};
use ledger_read::{CostBy, CostRow, OverheadRow, SavingRow};
use schemas::MicroUsd;

fn money(micro_usd: i64) -> String {
    MicroUsd(micro_usd).to_string()
}

fn heading(by: &CostBy) -> String {
    match by {
        CostBy::Day | CostBy::Hour => format!("{} (UTC)", by.name()),
        CostBy::Label(label) => label.clone(),
        CostBy::Backend | CostBy::Tenant | CostBy::Model | CostBy::Lane => by.name().to_owned(),
    }
}

/// Jobs, attempts and money, with their sum.
pub(super) fn costs(by: &[CostBy], rows: &[CostRow]) -> Table {
    let names: Vec<String> = by.iter().map(heading).collect();
    // A label's value is whatever somebody wrote.
    let set = |by: &CostBy| if matches!(by, CostBy::Label(_)) { Align::Words } else { Align::Left };
    let dimensions = names.iter().zip(by).map(|(name, by)| (name.as_str(), set(by)));
    let measures = ["jobs", "free", "attempts", "charges", "spent", "of it only possibly", "set aside"];
    let columns: Vec<(&str, Align)> = dimensions.chain(measures.map(|name| (name, Align::Right))).collect();
    let measured = |row: &CostRow| {
        [
            row.jobs.to_string(),
            row.free_jobs.to_string(),
            row.attempts.to_string(),
            row.charges.to_string(),
            money(row.posted_micro_usd),
            money(row.possibly_paid_micro_usd),
            money(row.open_micro_usd),
        ]
    };
    let key = |key: &String| if key.is_empty() { "(none)".to_owned() } else { key.clone() };
    let mut lines: Vec<Vec<String>> =
        rows.iter().map(|row| row.keys.iter().map(key).chain(measured(row)).collect()).collect();
    let rest = std::iter::repeat_n(String::new(), by.len().saturating_sub(1));
    let total = CostRow::total(rows);
    lines.push(std::iter::once("total".to_owned()).chain(rest).chain(measured(&total)).collect());
    Table::new(&columns, lines)
}

/// What endpoints cost beside their attempts.
pub(super) fn overhead(rows: &[OverheadRow]) -> Table {
    let columns = [
        ("endpoint", Align::Left),
        ("day (UTC)", Align::Left),
        ("attempts", Align::Right),
        ("start and idle", Align::Right),
        ("bill", Align::Right),
    ];
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
    Table::new(&columns, lines)
}

/// What everything would have cost at one place.
pub(super) fn savings(rows: &[SavingRow]) -> Table {
    let columns = [
        ("against all at", Align::Left),
        ("jobs", Align::Right),
        ("not comparable", Align::Right),
        ("spent", Align::Right),
        ("would have cost", Align::Right),
        ("saved", Align::Right),
    ];
    let line = |row: &SavingRow| {
        vec![
            row.against.clone(),
            row.jobs.to_string(),
            row.jobs_not_comparable.to_string(),
            money(row.actual_micro_usd),
            money(row.baseline_micro_usd),
            money(row.saving_micro_usd),
        ]
    };
    Table::new(&columns, rows.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Screen;

    #[test]
    fn the_last_line_is_the_sum_of_the_others() {
        let row = |keys: [&str; 2], jobs, free_jobs, posted_micro_usd| CostRow {
            keys: keys.map(str::to_owned).to_vec(),
            jobs,
            free_jobs,
            posted_micro_usd,
            ..CostRow::default()
        };
        let rows = [row(["2026-11-29", "local"], 4, 4, 0), row(["2026-11-30", ""], 2, 0, 7_220)];
        let wide = Screen { columns: None, colour: false };
        let text = costs(&[CostBy::Day, CostBy::Backend], &rows).set(wide);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..4], ["DAY", "(UTC)", "BACKEND", "JOBS"]);
        assert_eq!(lines[2][..4], ["2026-11-30", "(none)", "2", "0"]);
        assert_eq!(lines[3][..3], ["total", "6", "4"]);
        assert_eq!(lines[3][5], "$0.007220");
    }
}

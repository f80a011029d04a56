//! The report as a table for people.

use crate::table::{Align, Table};
use crate::text::Text;
use trials::bench::report::{Report, Row};
use trials::bench::targets::Target;

/// Everything that `argosy bench` prints at its end.
#[must_use]
pub fn text(report: &Report) -> Text {
    let columns = [
        ("figure", Align::Left),
        ("median", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
        ("unit", Align::Left),
        ("target", Align::Right),
        ("met", Align::Left),
    ];
    let rows: Vec<Vec<String>> = report.rows.iter().map(cells).collect();
    Table::new(&columns, rows).into()
}

fn cells(row: &Row) -> Vec<String> {
    let target = match row.target {
        Some(Target::AtLeast(least)) => format!(">= {}", number(least)),
        Some(Target::AtMost(most)) => format!("<= {}", number(most)),
        None => String::new(),
    };
    let met = match row.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    let spread = row.spread;
    let least = if row.given_up { "> " } else { "" };
    let figure = |of: f64| format!("{least}{}", number(of));
    vec![
        row.name.clone(),
        figure(spread.median),
        figure(spread.min),
        figure(spread.max),
        row.unit.clone(),
        target,
        met.to_owned(),
    ]
}

fn number(figure: f64) -> String {
    if figure.abs() >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

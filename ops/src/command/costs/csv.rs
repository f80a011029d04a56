//! Costs for spreadsheets: RFC 4180, one header, one line a row, and no total, which is the sum of the lines.

use crate::money::usd;
use ledger_read::{CostBy, CostRow};

/// The columns behind those that were asked to sum by. New ones are appended; none changes its name or place.
const COLUMNS: [&str; 13] = [
    "jobs",
    "completed_jobs",
    "free_jobs",
    "attempts",
    "charges",
    "posted_micro_usd",
    "posted_usd",
    "possibly_paid_micro_usd",
    "possibly_paid_usd",
    "open_micro_usd",
    "open_usd",
    "voided_micro_usd",
    "voided_usd",
];

/// The whole file.
pub(super) fn file(by: &[CostBy], rows: &[CostRow]) -> String {
    let names = by.iter().map(|by| match by {
        CostBy::Day => "day_utc".to_owned(),
        CostBy::Hour => "hour_utc".to_owned(),
        CostBy::Label(label) => format!("label:{label}"),
        CostBy::Backend | CostBy::Tenant | CostBy::Model | CostBy::Lane => by.name().to_owned(),
    });
    let head = line(names.chain(COLUMNS.map(str::to_owned)));
    rows.iter().fold(head, |file, row| {
        let counts = [row.jobs, row.completed_jobs, row.free_jobs, row.attempts, row.charges];
        let money =
            [row.posted_micro_usd, row.possibly_paid_micro_usd, row.open_micro_usd, row.voided_micro_usd];
        let money = money.into_iter().flat_map(|micro_usd| [micro_usd.to_string(), usd(micro_usd)]);
        let counts = counts.into_iter().map(|count| count.to_string());
        file + &line(row.keys.iter().cloned().chain(counts).chain(money))
    })
}

/// One line with its end. What could be read as more than one field is quoted.
fn line(fields: impl Iterator<Item = String>) -> String {
    let quoted = |field: String| {
        if field.contains(['"', ',', '\r', '\n']) || field.starts_with(' ') || field.ends_with(' ') {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_have_to_be() {
        for (field, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            (" padded", "\" padded\""),
            ("für", "für"),
        ] {
            assert_eq!(line([field.to_owned(), "x".to_owned()].into_iter()), format!("{written},x\r\n"));
        }
    }

    #[test]
    fn the_header_is_the_columns_in_the_order_that_was_asked_for() {
        let row = CostRow {
            keys: vec!["2026-11-30T14:00Z".into(), "sdxl".into()],
            jobs: 3,
            free_jobs: 1,
            posted_micro_usd: 7_220,
            voided_micro_usd: -1,
            ..CostRow::default()
        };
        let text = file(&[CostBy::Hour, CostBy::Model], &[row]);
        assert_eq!(
            text,
            "hour_utc,model,jobs,completed_jobs,free_jobs,attempts,charges,posted_micro_usd,posted_usd,\
             possibly_paid_micro_usd,possibly_paid_usd,open_micro_usd,open_usd,voided_micro_usd,voided_usd\r\n\
             2026-11-30T14:00Z,sdxl,3,0,1,0,0,7220,0.007220,0,0.000000,0,0.000000,-1,-0.000001\r\n"
        );
        let label = file(&[CostBy::Label("a,b".into())], &[]);
        assert!(label.starts_with("\"label:a,b\",jobs,"), "{label}");
        assert!(file(&[CostBy::Day], &[]).starts_with("day_utc,jobs,"));
    }
}

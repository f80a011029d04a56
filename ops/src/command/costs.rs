//! `argosy costs`: what was spent, and what was saved.

mod csv;
mod tables;

use super::session::Session;
use super::window::{self, WindowOptions};
use crate::exit::Usage;
use crate::moment;
use crate::money::usd;
use crate::say::{aside, say, say_data, say_json};
use crate::text::Text;
use clap::Args;
use ledger_read::{CostBy, CostRow, Window};
use runtime::clock::now_ms;
use serde_json::{Value, json};

/// What jobs cost by day, backend, tenant, model, lane or label, free ones included, and what the same jobs would have
/// cost elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  argosy costs\n  argosy costs --by tenant --since 30d\n  \
    argosy costs --by day,model --from 2026-11-01 --to 2026-12-01\n  \
    argosy costs --csv --by hour,lane --from 2026-11-30T08:00:00Z --to 2026-11-30T20:00:00Z > costs.csv\n  \
    argosy costs --by label:project --json\n\n\
    Times and days are UTC. A job counts once, when it ended and where its last attempt was.")]
pub(crate) struct Costs {
    /// Sum by: day, hour, backend, tenant, model, lane, several with commas, or label:KEY
    #[arg(long, default_value = "backend", value_delimiter = ',', value_parser = cost_by)]
    by: Vec<CostBy>,
    #[command(flatten)]
    window: WindowOptions,
    /// The first table as CSV (RFC 4180) with a header, for spreadsheets
    #[arg(long)]
    csv: bool,
}

impl Costs {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        check(&self.by)?;
        if self.csv && session.json {
            return Err(
                Usage("--csv and --json are two forms of one answer: give one of them".to_owned()).into()
            );
        }
        let window = self.window.read(now_ms())?;
        let reader = session.reader().await?;
        let costs = reader.costs(&self.by, window).await?;
        let overhead = reader.overhead(window).await?;
        if self.csv {
            say_data(&csv::file(&self.by, &costs));
            aside(format!("argosy: {}", window::words(window)));
            if !overhead.is_empty() {
                aside(
                    "argosy: what endpoints cost beside jobs is not in it: `argosy costs` and --json show it",
                );
            }
            return Ok(());
        }
        let savings = reader.savings(window).await?;
        if session.json {
            let costs: Vec<Value> = costs.iter().map(|row| row_json(&self.by, row)).collect();
            let mut all = json!({ "window": window_json(window), "costs": costs, "overhead": overhead, "savings": savings });
            add_dollars(&mut all);
            return say_json(&all);
        }
        let mut text = Text::from(window::words(window));
        text.gap();
        text.table(tables::costs(&self.by, &costs));
        if !overhead.is_empty() {
            text.gap();
            text.table(tables::overhead(&overhead));
        }
        if !savings.is_empty() {
            text.gap();
            text.table(tables::savings(&savings));
        }
        say(text);
        Ok(())
    }
}

fn cost_by(text: &str) -> Result<CostBy, String> {
    match text {
        "day" => Ok(CostBy::Day),
        "hour" => Ok(CostBy::Hour),
        "backend" => Ok(CostBy::Backend),
        "tenant" => Ok(CostBy::Tenant),
        "model" => Ok(CostBy::Model),
        "lane" => Ok(CostBy::Lane),
        _ => {
            match text.strip_prefix("label:") {
                Some(label) if !label.is_empty() => Ok(CostBy::Label(label.to_owned())),
                _ => Err("use day, hour, backend, tenant, model, lane, several with commas, or label:KEY"
                    .to_owned()),
            }
        }
    }
}

/// Each once, and a label alone: the sums of labels know no tenants and no backends.
fn check(by: &[CostBy]) -> Result<(), Usage> {
    if let Some(twice) = by.iter().enumerate().find_map(|(at, one)| by[..at].contains(one).then_some(one)) {
        return Err(Usage(format!("--by names {} twice: name it once", twice.name())));
    }
    if by.len() > 1 && by.iter().any(|by| matches!(by, CostBy::Label(_))) {
        return Err(Usage(
            "--by label:KEY stands alone: ask for it in a call of its own, or read analytics.label_costs"
                .to_owned(),
        ));
    }
    Ok(())
}

fn window_json(window: Window) -> Value {
    json!({ "from_utc": window.from_ms.map(moment::rfc3339), "to_utc": window.to_ms.map(moment::rfc3339) })
}

/// A row with a field for each key, and all of them in `key`.
fn row_json(by: &[CostBy], row: &CostRow) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("keys");
        fields.insert("key".to_owned(), row.keys.join(" ").into());
        for (by, key) in by.iter().zip(&row.keys) {
            let name = match by {
                CostBy::Day | CostBy::Hour => format!("{}_utc", by.name()),
                _ => by.name().to_owned(),
            };
            fields.insert(name, key.as_str().into());
        }
    }
    value
}

/// Beside each `…_micro_usd`, the same as `…_usd`: dollars as text, which no program rounds.
fn add_dollars(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let dollars: Vec<(String, String)> = fields
                .iter()
                .filter_map(|(name, amount)| Some((name.strip_suffix("_micro_usd")?, amount.as_i64()?)))
                .map(|(name, micro_usd)| (format!("{name}_usd"), usd(micro_usd)))
                .collect();
            fields.extend(dollars.into_iter().map(|(name, text)| (name, text.into())));
            fields.values_mut().for_each(add_dollars);
        }
        Value::Array(items) => items.iter_mut().for_each(add_dollars),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_summed_by_is_refused_with_its_cure() {
        for (text, by) in [("hour", CostBy::Hour), ("label:a", CostBy::Label("a".into()))] {
            assert_eq!(cost_by(text), Ok(by));
        }
        for text in ["", "days", "label:", "Day"] {
            assert!(cost_by(text).expect_err(text).contains("label:KEY"), "{text}");
        }
        let label = || CostBy::Label("a".into());
        assert!(check(&[CostBy::Day, CostBy::Model]).is_ok() && check(&[label()]).is_ok());
        let said = |by: &[CostBy]| check(by).unwrap_err().to_string();
        assert!(said(&[CostBy::Day, CostBy::Lane, CostBy::Day]).contains("--by names day twice"));
        assert!(said(&[CostBy::Day, label()]).contains("stands alone"));
    }

    #[test]
    fn programs_get_dollars_beside_micro_dollars() {
        let row = CostRow {
            keys: vec!["2026-11-30".into(), "sdxl".into()],
            jobs: 2,
            posted_micro_usd: 1_500_000,
            ..CostRow::default()
        };
        let by = [CostBy::Day, CostBy::Model];
        let mut value = json!({ "costs": [row_json(&by, &row)], "billed_micro_usd": null });
        add_dollars(&mut value);
        let shown = &value["costs"][0];
        assert_eq!((&shown["day_utc"], &shown["model"]), (&json!("2026-11-30"), &json!("sdxl")));
        assert_eq!(shown["key"], "2026-11-30 sdxl");
        assert_eq!((&shown["posted_usd"], &shown["open_usd"]), (&json!("1.500000"), &json!("0.000000")));
        assert!(value.get("billed_usd").is_none(), "nothing is known of it");
    }
}
